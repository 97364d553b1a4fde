"""The GPUs of this machine: which there are, and which nobody has.

A GPU that a job was given is locked, in the kernel's sense, by the job's processes. So it is free when the last of them has ended,
and a daemon that starts knows what the jobs of an earlier one have.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from itertools import takewhile
from pathlib import Path
from typing import Final
from urllib.parse import quote

from eyasd.jobs.runner import DevicesTaken

_DRIVER: Final = Path("/proc/driver/nvidia/gpus")


def gpu_count(environment: Mapping[str, str], driver: Path = _DRIVER) -> int:
    """Returns how many GPUs a process of this machine sees, see `visible_gpus`."""
    return len(visible_gpus(environment, driver))


def visible_gpus(environment: Mapping[str, str], driver: Path = _DRIVER) -> list[str]:
    """Returns what CUDA_VISIBLE_DEVICES calls the GPUs that a process sees, without the seconds that it takes to ask CUDA.

    Args:
        environment: of the process; CUDA_VISIBLE_DEVICES ends, as in CUDA, before the first entry that is none.
        driver: where NVIDIA's driver lists its GPUs.
    """
    present = [str(number) for number, _ in enumerate(driver.glob("*"))]
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return present
    named = takewhile(lambda entry: entry not in {"", "-1"}, (entry.strip() for entry in visible.split(",")))
    return list(named)[: len(present)]


def take(gpus: Sequence[str], count: int, locks: Path, files: ExitStack) -> tuple[list[str], list[int]]:
    """Locks GPUs for a process about to start.

    Args:
        gpus: those of the machine.
        count: how many are wanted; where fewer are there, all are.
        locks: folder of the locks, which daemons of the machine share.
        files: closes this process's copies of the locks.

    Returns:
        The GPUs, and the descriptors of their locks, for the process to inherit.

    Raises:
        DevicesTaken: fewer are free; none is locked any more once `files` is closed.
    """
    free, held = list[str](), list[int]()
    if gpus:
        locks.mkdir(parents=True, exist_ok=True)
    for gpu in gpus:
        if len(free) == count:
            break
        descriptor = open_lock(locks / quote(gpu, safe=""))
        files.callback(os.close, descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        free.append(gpu)
        held.append(descriptor)
    if len(free) < min(count, len(gpus)):
        are = "is" if len(free) == 1 else "are"
        raise DevicesTaken(f"It wants {min(count, len(gpus))} of {len(gpus)} GPUs, and {len(free)} {are} free: it waits for them.")
    return free, held


def taken(gpus: Sequence[str], locks: Path) -> list[str]:
    """Returns the GPUs that somebody has."""
    found = []
    with ExitStack() as files:
        for gpu in gpus:
            try:
                take([gpu], 1, locks, files)
            except DevicesTaken:
                found.append(gpu)
    return found


def open_lock(path: Path) -> int:
    """Returns the descriptor of a file that is made if need be."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
