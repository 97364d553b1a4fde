"""What the program knows of the machine it runs on: its processors, and how to make the C libraries serve training well."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from eyasd.core.processors import cpu_count

_CPU_INFORMATION: Final = Path("/proc/cpuinfo")

# Read by the C library and by OpenMP when a process starts, hence the environment.
#
# glibc gives every large block back to the kernel and asks for it again, zeroed, in the next layer. Keeping the blocks, on
# huge pages, takes training of tf_efficientnet_lite0 at 224 px from 12 to 29 pictures/s and inference from 47 to 81 (torch
# 2.15, 2 cores of an EPYC, batches of 32).
#
# OpenMP's threads wait for each other by spinning. That is quick on processors of one's own; beside another busy process each
# spin takes the time of the thread it waits for, and training at 128 px fell from 44 pictures/s to 3.
_SETTINGS: Final = {
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=17179869184",
    "OMP_WAIT_POLICY": "PASSIVE",
}


def cpu_name(information: Path = _CPU_INFORMATION) -> str:
    """Returns what the processors are called, and how many may be used at once, for people."""
    name, count = platform.machine(), cpu_count()
    with suppress(OSError):
        lines = information.read_text().splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    return f"{name}, {count} thread{'s' * (count > 1)}"


def rank_and_world() -> tuple[int, int]:
    """Returns the number of this process among those that train together, from 0, and how many they are, as torchrun says it."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    return (int(os.environ["RANK"]) if world > 1 else 0), world


def local_rank() -> int:
    """Returns the number of this process among those of its machine, from 0, as torchrun says it."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def tuned_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Returns the environment in which training is fast; what the given one decides, it keeps."""
    return {**_SETTINGS, **environment}


def restart_tuned() -> None:
    """Replaces this process by itself in the environment in which training is fast; the process id stays."""
    environment = tuned_environment(os.environ)
    if environment != dict(os.environ):
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)  # noqa: S606 -- itself, no shell
