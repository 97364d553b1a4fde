"""A back-up of what the daemons keep, while they go on.

The jobs come first: one that had succeeded has its version in the copy; one that had not is run again once it is restored, and
takes up the version that it may have published meanwhile. Then the objects, see `_objects`.
"""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Final, TextIO

import structlog

from eyasd.backup.place import FORMAT, RANKS, Backup, Kept, Place, on_the_way, rank
from eyasd.config import Settings
from eyasd.core.errors import StorageFailed
from eyasd.machine import database_of, open_database, stores_of
from eyasd.storage.store import Store

OBJECTS_AT_ONCE: Final = 8
# Of uploads that are about to be finished, and content that is about to be collected: both are begun again.
_PASSING: Final = {"datasets": ("pending/", "doomed/")}
_TRIES: Final = 5


def back_up(settings: Settings, where: str, log: structlog.typing.FilteringBoundLogger, out: TextIO) -> None:
    """Copies what the daemons of these settings keep, reads the copy back, and says in a line what it holds.

    Args:
        settings: of the daemons.
        where: a folder, or the address of a store; may have back-ups already.
        log: hears of the database.
        out: is told.

    Raises:
        StartupFailed: the place or the database cannot be used.
        StorageFailed: a store failed. There is no new back-up then.
    """
    place, begun = Place(where), datetime.now(UTC)
    place.sweep()
    try:
        with tempfile.TemporaryDirectory(prefix="eyas-backup-") as folder:
            jobs, count, schema = _jobs(settings, place, folder, log)
            copied = [one for name, store in stores_of(settings).items() for one in _objects(name, store, place, folder)]
    except OSError as error:
        raise on_the_way(error) from error
    backup = Backup(
        format=FORMAT,
        time=begun,
        code_version=version("eyas"),
        objects=tuple(kept for kept, _ in copied),
        jobs=jobs,
        jobs_count=count,
        schema=schema,
    )
    name = f"{begun:%Y%m%dT%H%M%S.%fZ}"
    place.add(name, backup)
    out.write(f"{name}: {backup}; {sum(is_new for _, is_new in copied):,} were not in {where} yet\n")


def _jobs(settings: Settings, place: Place, folder: str, log: structlog.typing.FilteringBoundLogger) -> tuple[str, int, str]:
    """Copies the jobs; returns the SHA-256 of what they were written to, their number and their schema; "" where there are none."""
    at = database_of(settings)
    if isinstance(at, Path) and not at.exists():
        return "", 0, ""
    database = open_database(settings, log)
    from eyasd.jobs.export import revision, write_jobs  # noqa: PLC0415 - where only a server is installed, there is no SQLAlchemy

    try:
        with tempfile.NamedTemporaryFile(dir=folder) as file:
            count = write_jobs(database, file)
            file.flush()
            digest, _ = place.put(Path(file.name))
        return digest, count, database.snapshot(revision)
    finally:
        database.close()


def _objects(name: str, store: Store, place: Place, folder: str) -> list[tuple[Kept, bool]]:
    """Copies a store; returns its objects, and whether the content of each is new to the place.

    What leans on others is listed before them, so what was added meanwhile is either left out, or there with all it leans on. Where
    anything was deleted meanwhile, all is done again; what was copied already is there.
    """
    for _ in range(_TRIES):
        listed = [[key for key in store.keys("") if not key.startswith(_PASSING.get(name, ()))] for _ in RANKS]
        if not set(listed[0]) <= set(listed[-1]):
            continue
        keys = [key for one, seen in zip(RANKS, reversed(listed), strict=True) for key in seen if rank(key) == one]
        with ThreadPoolExecutor(OBJECTS_AT_ONCE) as threads:
            copied = list(threads.map(partial(_copy, place, folder, name, store), keys))
        found = [one for one in copied if one is not None]
        if len(found) == len(copied):
            return found
    raise StorageFailed(f"Of the {name} something was deleted whenever they were copied: try again when nobody deletes any.")


def _copy(place: Place, folder: str, name: str, store: Store, key: str) -> tuple[Kept, bool] | None:
    """Copies an object; returns it, and whether its content is new to the place; None where it was deleted meanwhile."""
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        try:
            store.read_into(key, file)
        except FileNotFoundError:
            return None
        file.flush()
        digest, is_new = place.put(Path(file.name))
        return Kept(name, key, digest, file.tell()), is_new
