"""The jobs as lines of JSON, and back: the one form in which they go from SQLite to PostgreSQL, and the other way.

    {"table": "jobs", "rows": [{"number": 1, "id": "...", ...}, ...]}

Rows are those of the tables at one moment, in the order of their keys; a table after those that it refers to.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import IO, Any, Final

from sqlalchemy import Connection, Table, func, insert, select, text, tuple_

from eyasd.core.errors import StartupFailed
from eyasd.jobs.database import Database
from eyasd.jobs.tables import JOBS, METADATA

_ROWS_A_LINE: Final = 500


def write_jobs(database: Database, file: IO[bytes]) -> int:
    """Writes all that is in the database to an empty file, and returns the number of jobs. Raises StorageFailed, DatabaseAway."""

    def work(connection: Connection) -> int:
        file.seek(0)
        file.truncate()
        for table in METADATA.sorted_tables:
            for rows in _pages(connection, table):
                file.write(json.dumps({"table": table.name, "rows": rows}, ensure_ascii=False).encode() + b"\n")
        return _count(connection)

    return database.snapshot(work)


def read_jobs(database: Database, lines: Callable[[], Iterable[bytes]]) -> int:
    """Writes what `write_jobs` wrote into a database without jobs, all or nothing, and returns the number of jobs.

    Args:
        database: brought up to date.
        lines: returns them from the first on; called again where a lost connection is repeated.

    Raises:
        StartupFailed: the database has jobs, or the lines are of another version of Eyas.
        StorageFailed: the database cannot be written.
    """

    def work(connection: Connection) -> int:
        check_empty(connection)
        for line in lines():
            page = json.loads(line)
            table = METADATA.tables.get(page["table"])
            if table is None or not page["rows"][0].keys() <= set(table.columns.keys()):
                raise StartupFailed("The back-up's jobs were written by another version of Eyas: restore them with that one.")
            connection.execute(insert(table), page["rows"])
        count = _count(connection)
        if connection.dialect.name == "postgresql" and count:  # which counts apart from the rows
            newest = select(func.max(JOBS.c.number)).scalar_subquery()
            connection.execute(select(func.setval(func.pg_get_serial_sequence("jobs", "number"), newest)))
        return count

    return database.write(work)


def check_empty(connection: Connection) -> None:
    """Raises StartupFailed where there are jobs."""
    if count := _count(connection):
        raise StartupFailed(f"The job database has {count} jobs already: restore into an empty one, or move it away first.")


def _count(connection: Connection) -> int:
    return int(connection.scalar(select(func.count()).select_from(JOBS)) or 0)


def _pages(connection: Connection, table: Table) -> Iterable[list[dict[str, Any]]]:
    """Yields a table's rows, some at a time, so that no statement takes long and no more is in memory."""
    key = list(table.primary_key.columns)
    after: tuple[Any, ...] | None = None
    while True:
        asked = select(table).order_by(*key).limit(_ROWS_A_LINE)
        if after is not None:
            asked = asked.where(tuple_(*key) > tuple_(*after))
        rows = [dict(row) for row in connection.execute(asked).mappings()]
        if not rows:
            return
        yield rows
        after = tuple(rows[-1][column.name] for column in key)


def revision(connection: Connection) -> str:
    """Returns the newest step that the database's tables have taken."""
    return str(connection.scalar(text("SELECT version_num FROM alembic_version")))
