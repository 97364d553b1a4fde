"""The processors that this process may use: its affinity, and within it the quota of its container."""

from __future__ import annotations

import os
from contextlib import suppress
from math import ceil
from pathlib import Path

from eyasd.core.cgroups import CGROUPS, OWN, folders


def cores() -> tuple[int, ...]:
    """Returns the numbers of the processors that this process may run on, in order."""
    return tuple(sorted(os.sched_getaffinity(0)))


def cpu_count(cgroups: Path = CGROUPS, own: Path = OWN) -> int:
    """Returns how many processors this process may use at once.

    A quota of one and a half is taken for two: a thread that is halted for a part of each period still does more than none.

    Args:
        cgroups: where the kernel's control groups are mounted, version 2 or 1.
        own: says which groups this process belongs to.
    """
    shares = [share for folder in folders("cpu", cgroups, own) if (share := _share(folder)) is not None]
    return max(1, min([len(cores()), *(ceil(share) for share in shares)]))


def _share(folder: Path) -> float | None:
    """Returns how many processors' time a group may take, or None where it has no bound."""
    with suppress(OSError, ValueError):  # a quota of `max` is no number
        quota, period = (folder / "cpu.max").read_text().split()
        return int(quota) / int(period)
    with suppress(OSError, ValueError):
        quota = (folder / "cpu.cfs_quota_us").read_text()
        return int(quota) / int((folder / "cpu.cfs_period_us").read_text()) if int(quota) > 0 else None
    return None
