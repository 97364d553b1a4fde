"""The memory that this process may use, and what is free of it: the machine's, and within it its container's."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from eyasd.core.cgroups import CGROUPS, OWN, folders

_MACHINE: Final = Path("/proc/meminfo")
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
