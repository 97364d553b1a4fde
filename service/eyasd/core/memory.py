"""The memory that this process may use: the machine's, and within it its container's."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from eyasd.core.cgroups import CGROUPS, OWN, folders


def memory_bytes(cgroups: Path = CGROUPS, own: Path = OWN) -> int:
    """Returns how much memory this process may use at most; the arguments are those of `cgroups.folders`."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limits = [limit for folder in folders("memory", cgroups, own) if (limit := _limit(folder)) is not None]
    return min([machine, *limits])


def _limit(folder: Path) -> int | None:
    """Returns the most that a group may take, or None where it has no bound."""
    for name in ("memory.max", "memory.limit_in_bytes"):  # version 2, version 1
        with suppress(OSError, ValueError):  # a limit of `max` is no number
            return int((folder / name).read_text())
    return None
