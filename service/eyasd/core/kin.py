"""Processes that belong together: children that end with their parent, and all that descends from a process.

The standard library alone, so that a program which does nothing else starts at once. Linux, as the rest of the daemon.
"""

from __future__ import annotations

import ctypes
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Final

# linux/prctl.h
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_PROC: Final = Path("/proc")


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


def _prctl(option: int, value: int) -> None:
    if _LIBC.prctl(option, ctypes.c_ulong(value), 0, 0, 0):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
