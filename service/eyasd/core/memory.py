"""The memory that this process may use, and what is free of it: the machine's, and within it its container's; and its heap."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from eyasd.core.cgroups import CGROUPS, OWN, folders

_MACHINE: Final = Path("/proc/meminfo")
# From malloc.h: what mallopt is asked for.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
# A photograph of 1.4 megapixels, decoded, and less come from the heap.
_LARGE_BYTES: Final = 4 * 1024 * 1024
# By version of the kernel's control groups: the limit, what is in use, and what of that are files that can be read again.
_FILES: Final = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def memory_bytes(cgroups: Path = CGROUPS, own: Path = OWN) -> int:
    """Returns how much memory this process may use at most; the arguments are those of `cgroups.folders`."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limits = [limit for folder in folders("memory", cgroups, own) if (limit := _limit(folder)) is not None]
    return min([machine, *limits])


def free_bytes(cgroups: Path = CGROUPS, own: Path = OWN) -> int:
    """Returns how much more this process could use now before something would have to go; the arguments are as above."""
    free = [left for folder in folders("memory", cgroups, own) if (left := _left(folder)) is not None]
    with suppress(OSError, StopIteration):
        kib = next(line for line in _MACHINE.read_text().splitlines() if line.startswith("MemAvailable:"))
        free.append(int(kib.split()[1]) * 1024)
    return max(0, min(free, default=memory_bytes(cgroups, own)))


def keep_large_apart() -> None:
    """Has large pictures and messages in memory of their own from now on, which the system has back when they go.

    By itself glibc learns to take up to 32 MB from the heap, of which each thread has one, and so holds the holes between what is
    left. Of six threads that decode photographs and pictures made to cost much, 240 to 282 MB stayed after each `trim`, and
    peaks were of 593 MB; now it is 209 and 347, for the same time of a processor.
    """
    with suppress(AttributeError):  # not every C library has it
        c_library = ctypes.CDLL(None)
        c_library.mallopt(_MMAP_THRESHOLD, _LARGE_BYTES)
        c_library.mallopt(_TRIM_THRESHOLD, 2 * _LARGE_BYTES)  # which glibc would choose


def trim() -> None:
    """Gives back to the system what is free in the heap.

    Of loading tf_efficientnet_lite0 that was some 30 MiB. Of hostile pictures and bodies of 32 MB, after which glibc keeps what is
    free in an arena for each thread, it was 180 to 210 of 320 to 340 MB of an acceptor, in 19 to 27 ms of a thread.
    """
    with suppress(AttributeError):  # not every C library has it
        ctypes.CDLL(None).malloc_trim(0)


def _limit(folder: Path) -> int | None:
    """Returns the most that a group may take, or None where it has no bound."""
    for name, *_ in _FILES:
        with suppress(OSError, ValueError):  # a limit of `max` is no number
            return int((folder / name).read_text())
    return None


def _left(folder: Path) -> int | None:
    """Returns what a group may take beside what it has, or None where it has no bound."""
    limit = _limit(folder)
    if limit is None:
        return None
    for _, used, files in _FILES:
        with suppress(OSError, ValueError):
            stat = dict(line.split(" ", 1) for line in (folder / "memory.stat").read_text().splitlines())
            return limit - int((folder / used).read_text()) + int(stat.get(files, 0))
    return None
