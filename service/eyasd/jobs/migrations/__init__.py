"""How a database of jobs came to have its tables: a file a step, in `versions`, taken by Alembic when a daemon starts.

Steps only add, so that a daemon of the version before goes on while others are renewed; a step that was released is never edited.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, text

from eyasd.core.errors import StartupFailed

REVISION: Final = "0003"  # of the newest step
_UNMARKED: Final = "0001"  # what a jobs.sqlite is that was made before there were steps, and holds no mark of them
# PRAGMA user_version: of a new file, of the first version's, and of one that has Alembic's mark, which that version refuses.
_SQLITE_VERSIONS: Final = (0, 1, 2)
_LOCK: Final = 0x65796173  # "eyas": no two daemons change one PostgreSQL database at once


def migrate(connection: Connection, name: str) -> None:
    """Takes the steps that a database lacks, in the transaction under way: all, or none.

    Args:
        connection: with a transaction.
        name: of the database, for a person.

    Raises:
        StartupFailed: a newer version of Eyas has written it.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        version = 0
    else:
        version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
    tables = inspect(connection).get_table_names()
    marked = "alembic_version" in tables
    revision = connection.scalar(text("SELECT version_num FROM alembic_version")) if marked else None
    if revision == REVISION:
        return
    foreign = StartupFailed(
        f"{name} was written by another version of Eyas (schema {revision or version}): use that one, or another database."
    )
    if version not in _SQLITE_VERSIONS:
        raise foreign
    # Alembic takes as long to import as all the rest of the store, and most starts have nothing to change.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        if "jobs" in tables and not marked:
            command.stamp(config, _UNMARKED)
        command.upgrade(config, "head")
    except CommandError as error:
        raise foreign from error
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"PRAGMA user_version = {_SQLITE_VERSIONS[-1]}")
