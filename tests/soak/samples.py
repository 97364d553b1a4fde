"""What the processes of a run hold, by their roles, read from /proc; and what lies in folders."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")
# Of a command line, what says the role of a process; the first that fits.
_ROLES: Final = {
    "eyasd.acceptor": "acceptors",
    "eyasd.serving.engine": "engines",
    "eyasd.jobs.guard": "trainings",
    "eyasd.training": "trainings",
}
ROLES: Final = ("supervisor", "acceptor 1", "acceptor 2", "engine that stays", "engines that go", "trainer", "trainings", "others")


@dataclass(frozen=True)
class Process:
    """A process at a moment.

    Attributes:
        pid: its number.
        born: in ticks since the machine began.
        command: its command line.
        rss: resident memory, in bytes.
        pss: likewise, what it shares counted in parts.
        anonymous: memory that no file is behind, in bytes.
        shared: its part of memory that is shared by a descriptor, in bytes.
        files: open file descriptors.
        threads: that it has.
        cpu: seconds of a processor that it has had.
    """

    pid: int
    born: int
    command: str
    rss: int
    pss: int
    anonymous: int
    shared: int
    files: int
    threads: int
    cpu: float


def family(pid: int) -> Iterator[Process]:
    """Yields a process and all that descend from it; what ends meanwhile is left out."""
    # A process that ends while it is looked at is none: its files say ENOENT or ESRCH then, or have nothing in them.
    with suppress(OSError, IndexError, KeyError, ValueError):
        yield _look(pid)
    children: list[str] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                children += (task / "children").read_text().split()
    for child in children:
        yield from family(int(child))


def _look(pid: int) -> Process:
    place = Path(f"/proc/{pid}")
    rollup = {name: int(rest.split()[0]) * 1024 for name, _, rest in _fields(place / "smaps_rollup")}
    stat = (place / "stat").read_text().rpartition(")")[2].split()
    return Process(
        pid=pid,
        born=int(stat[19]),
        command=(place / "cmdline").read_text().replace("\0", " "),
        rss=rollup["Rss"],
        pss=rollup["Pss"],
        anonymous=rollup["Anonymous"],
        shared=rollup.get("Pss_Shmem", 0),
        files=sum(1 for _ in (place / "fd").iterdir()),
        threads=int(stat[17]),
        cpu=(int(stat[11]) + int(stat[12])) / _TICKS,
    )


def _fields(file: Path) -> Iterator[tuple[str, str, str]]:
    for line in file.read_text().splitlines()[1:]:
        yield line.partition(":")


def by_role(server: int, trainer: int) -> dict[str, list[Process]]:
    """Returns the processes of two daemons by what they are; the oldest engine is the one that stays."""
    found: dict[str, list[Process]] = {role: [] for role in (*ROLES, "acceptors", "engines")}
    for daemon, name in ((server, "supervisor"), (trainer, "trainer")):
        for process in family(daemon):
            if process.pid == daemon:
                found[name].append(process)
                continue
            role = next((role for part, role in _ROLES.items() if part in process.command), "others")
            found[role].append(process)
    acceptors, engines = (sorted(found.pop(role), key=lambda process: process.born) for role in ("acceptors", "engines"))
    found["acceptor 1"], found["acceptor 2"], found["others"] = acceptors[:1], acceptors[1:2], found["others"] + acceptors[2:]
    found["engine that stays"], found["engines that go"] = engines[:1], engines[1:]
    return found


def size(folder: Path) -> tuple[int, int]:
    """Returns how many files lie in a folder and below, and their bytes; what goes meanwhile is left out."""
    files = total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(place, name)).st_size  # noqa: PTH118 - of thousands every few seconds
                files += 1
    return files, total


def shared_memory(*daemons: int) -> tuple[int, int]:
    """Returns how many files lie in the folders of shared memory that daemons see, and their bytes.

    Where these have no folder of their own, as whoever may not mount one, it is the machine's, whoever's files they are.
    """
    folders = {(place.stat().st_dev, place) for place in (Path(f"/proc/{daemon}/root/dev/shm") for daemon in daemons)}
    each = [size(place) for place in dict(folders).values()]
    return sum(files for files, _ in each), sum(total for _, total in each)
