"""The kernel's control groups that bound this process: its own and those around it, in either version."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

CGROUPS: Final = Path("/sys/fs/cgroup")
OWN: Final = Path("/proc/self/cgroup")


def folders(controller: str, cgroups: Path = CGROUPS, own: Path = OWN) -> list[Path]:
    """Returns the folders of the groups that bound what a controller gives this process, up to the root.

    Args:
        controller: `cpu` or `memory`.
        cgroups: where the groups are mounted, version 2 or 1.
        own: says which groups this process belongs to.
    """
    found = [cgroups, cgroups / controller]
    with suppress(OSError):
        for line in own.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controller in controllers.split(",") or not controllers:
                root = cgroups / controller if controllers else cgroups
                # In a container the path may be the host's, of which nothing is to be seen here.
                found += [root / part for part in (Path(path.lstrip("/")), *Path(path.lstrip("/")).parents)]
    return found
