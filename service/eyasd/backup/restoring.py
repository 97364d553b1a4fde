"""A back-up, brought to where daemons look for what they keep: of whichever kind those places are now."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, TextIO

import structlog

from eyasd.backup.place import RANKS, Backup, Digest, Kept, Place, on_the_way, rank
from eyasd.backup.saving import OBJECTS_AT_ONCE
from eyasd.config import Settings
from eyasd.core.errors import StartupFailed
from eyasd.machine import open_database, stores_of
from eyasd.storage.store import Store

if TYPE_CHECKING:
    from eyasd.jobs.database import Database


def restore(settings: Settings, where: str, name: str | None, log: structlog.typing.FilteringBoundLogger, out: TextIO) -> None:
    """Brings a back-up to where the daemons of these settings will look for it, and says in a line what came.

    What a restoration that was cut short has brought is taken as it is. The jobs come last, all or none.

    Args:
        settings: of the daemons, none of which runs.
        where: the place of the back-up.
        name: of the back-up; None is the newest.
        log: hears of the database.
        out: is told.

    Raises:
        StartupFailed: there is no such back-up, it is damaged, or there is something else already where it is to go.
        StorageFailed: a store failed.
    """
    place = Place(where)
    name, backup = place.get(name)
    stores = stores_of(settings)
    _check_room(backup, stores)
    database = open_database(settings, log) if backup.jobs else None
    try:
        if database is not None:
            _check_database(backup, database)
        with tempfile.TemporaryDirectory(prefix="eyas-restore-") as folder:
            with ThreadPoolExecutor(OBJECTS_AT_ONCE) as threads:
                for one in RANKS:
                    objects = [kept for kept in backup.objects if rank(kept.key) == one]
                    list(threads.map(partial(_bring, place, folder, stores), objects))
            if database is not None:
                _bring_jobs(place, folder, backup, database)
    except OSError as error:
        raise on_the_way(error) from error
    finally:
        if database is not None:
            database.close()
    for store in stores.values():
        store.tell()
    out.write(f"{name}: {backup} are restored\n")


def _check_room(backup: Backup, stores: Mapping[str, Store]) -> None:
    """Raises StartupFailed where there are other objects than the back-up's, or no store for one of these."""
    for unknown in sorted({kept.store for kept in backup.objects} - stores.keys()):
        raise StartupFailed(f"The back-up has a store {unknown!r}: restore it with Eyas {backup.code_version}, which made it.")
    for name, store in stores.items():
        other = set(store.keys("")) - {kept.key for kept in backup.objects if kept.store == name}
        if other:
            raise StartupFailed(
                f"There are {len(other):,} other objects, such as {min(other)!r}, where the {name} of the back-up are to go: "
                "restore into an empty place."
            )


def _check_database(backup: Backup, database: Database) -> None:
    """Raises StartupFailed where the database has jobs, or its tables are not those of the back-up."""
    from eyasd.jobs.export import check_empty, revision  # noqa: PLC0415 - see `saving`

    database.snapshot(check_empty)
    schema = database.snapshot(revision)
    if schema != backup.schema:
        raise StartupFailed(
            f"The back-up was made by Eyas {backup.code_version}, whose jobs have another form ({backup.schema}, here {schema}): "
            "restore it with that version, then start this one."
        )


def _bring(place: Place, folder: str, stores: Mapping[str, Store], kept: Kept) -> None:
    """Puts an object where it belongs, unless it is there."""
    store, there = stores[kept.store], Digest()
    try:
        store.read_into(kept.key, there)
    except FileNotFoundError:
        with tempfile.NamedTemporaryFile(dir=folder) as file:
            place.fetch(kept.sha256, file)
            store.write_file(kept.key, Path(file.name))
    else:
        if str(there) != kept.sha256:
            raise StartupFailed(f"There is another {kept.key!r} where the back-up's is to go: restore into an empty place.")


def _bring_jobs(place: Place, folder: str, backup: Backup, database: Database) -> None:
    from eyasd.jobs.export import read_jobs  # noqa: PLC0415 - see `saving`

    with tempfile.TemporaryFile(dir=folder) as file:
        place.fetch(backup.jobs, file)
        read_jobs(database, lambda: _lines(file))


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    file.seek(0)
    return iter(file)
