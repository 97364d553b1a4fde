"""Processes that belong together: children that end with their parent, and all that descends from a process.

The standard library alone, so that a program which does nothing else starts at once. Linux, as the rest of the daemon.
"""

from __future__ import annotations

import ctypes
import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# linux/prctl.h
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_PROC: Final = Path("/proc")
_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used since it began.

    Attributes:
        processor_seconds: of all its threads.
        moved_bytes: read and written, whether by a disk or not; of what comes over a network, what is then written to a file.
    """

    processor_seconds: float
    moved_bytes: int


def end_with(parent: int) -> None:
    """Has the kernel kill this process once its parent has ended, however that ends; for the time between fork and exec.

    It is the parent's thread that counts, so let a process of one thread be the parent.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the kernel was told
        os.kill(os.getpid(), signal.SIGKILL)


def adopt() -> None:
    """Has the kernel make every orphan among this process's descendants its child, so that none escapes it."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def descendants(process: int, proc: Path = _PROC) -> list[int]:
    """Returns the process ids of all that descend from a process, and have not been waited for."""
    found, ancestors = list[int](), [process]
    while ancestors:
        children: list[int] = []
        for ancestor in ancestors:
            with suppress(OSError):  # it may end at any moment
                for thread in (proc / str(ancestor) / "task").iterdir():
                    children += map(int, (thread / "children").read_text().split())
        found += children
        ancestors = children
    return found


def memory_bytes(processes: list[int], proc: Path = _PROC) -> int:
    """Returns how much memory processes hold that the kernel cannot take back: their own and what they share, without files."""
    held = 0
    for process in processes:
        with suppress(OSError):
            for line in (proc / str(process) / "status").read_text().splitlines():
                name, _, value = line.partition(":")
                if name in {"RssAnon", "RssShmem"}:
                    held += int(value.split()[0]) * 1024
    return held


def usage(processes: list[int], proc: Path = _PROC) -> dict[int, Usage]:
    """Returns what each process has used; those that have ended are left out."""
    found: dict[int, Usage] = {}
    for process in processes:
        with suppress(OSError):  # it may end at any moment
            fields = (proc / str(process) / "stat").read_text().rpartition(")")[2].split()
            counts = dict(line.split(": ") for line in (proc / str(process) / "io").read_text().splitlines())
            found[process] = Usage((int(fields[11]) + int(fields[12])) / _TICKS, int(counts["rchar"]) + int(counts["wchar"]))
    return found


def catches(process: int, number: int, proc: Path = _PROC) -> bool:
    """Returns whether a process has a handler for a signal: to most others, it would be the end."""
    with suppress(OSError):
        for line in (proc / str(process) / "status").read_text().splitlines():
            if line.startswith("SigCgt:"):
                return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False


def _prctl(option: int, value: int) -> None:
    if _LIBC.prctl(option, ctypes.c_ulong(value), 0, 0, 0):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
