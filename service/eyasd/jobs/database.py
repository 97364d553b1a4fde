"""A database, SQLite or PostgreSQL: opened, brought up to date, and used in transactions that are done once or not at all.

Knows no rows. Blocking, and safe to be called by several threads. What was lost with a connection is repeated; a transaction
whose commit nobody acknowledged is looked up first, so that it is not done twice.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import structlog
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.pool import QueuePool

from eyasd.core import room
from eyasd.core.errors import DatabaseAway, StartupFailed, StorageFailed
from eyasd.jobs.migrations import migrate
from eyasd.jobs.threads import THREADS

T = TypeVar("T")

_BUSY_SECONDS: Final = 5  # another process may write as long before SQLite gives up
_REPEAT_SECONDS: Final = (0.0, 0.05, 0.2)  # an old connection breaks at once, and a new one is there at once
_CLOSE_SECONDS: Final = 5
# SQLSTATEs of PostgreSQL: of a transaction that another one was in the way of (the last, of the same request id at the same
# moment, finds the other's job when it is repeated), and of a server that goes down or comes up.
_REPEATABLE: Final = ("40001", "40P01", "23505")
_AWAY: Final = ("08", "57P")
# A peer that is gone without a word is given up after 5 s; the server gives up what we left behind, and its locks, after 10 s.
_POSTGRES_ARGUMENTS: Final[dict[str, Any]] = {
    "application_name": "eyasd",
    "connect_timeout": 2,  # the least that libpq takes
    "tcp_user_timeout": 5000,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 2,
    "options": "-c statement_timeout=10s -c idle_in_transaction_session_timeout=10s",
}


class Database:
    """The database of one daemon's jobs, wherever it is.

    Attributes:
        is_sqlite: whether it is a file of this machine.
    """

    def __init__(self, place: str | Path, log: structlog.typing.FilteringBoundLogger, *, trial: bool = False) -> None:
        """Connects, makes the tables if there are none, and changes those that an earlier version made.

        Args:
            place: SQLite's file, or a URL: `postgresql://user@host/database` with libpq's parameters, or `sqlite:////a/file`.
            log: hears when the database goes away, and when it is back.
            trial: leaves the tables as they were, once it is known that they can be made.

        Raises:
            StartupFailed: it cannot be used.
        """
        self._log = log
        self._calls = threading.Condition()
        self._under_way = 0
        self._closed = False
        self._away = False
        url = _parsed(place)
        self.is_sqlite = url.drivername == "sqlite"
        name = str(url.database) if self.is_sqlite else url.render_as_string()  # with its password masked
        self._file = Path(name) if self.is_sqlite else None
        self._engine = _sqlite(url) if self.is_sqlite else _postgres(url)
        try:
            with self._engine.connect() as connection:
                migrate(connection, name)
                if not trial:
                    connection.commit()
        except SQLAlchemyError as error:
            self._engine.dispose()
            raise StartupFailed(f"The job database {name} cannot be used: {self._said(error)}.") from error
        except StartupFailed:
            self._engine.dispose()
            raise
        # One statement sees one state by itself, so reading from PostgreSQL takes no BEGIN and no COMMIT over the network.
        self._reading = self._engine.execution_options(
            **({"eyasd_reads": True} if self.is_sqlite else {"isolation_level": "AUTOCOMMIT"})
        )

    def close(self) -> None:
        """Closes the database, after the calls in progress; later ones raise StorageFailed."""
        with self._calls:
            self._closed = True
            self._calls.wait_for(lambda: not self._under_way, _CLOSE_SECONDS)
        self._engine.dispose()

    def read(self, work: Callable[[Connection], T]) -> T:
        """Returns what `work` finds, which may be called more than once.

        Raises:
            StorageFailed: the database cannot be read.
            DatabaseAway: it does not answer.
        """

        def once() -> T:
            with self._reading.connect() as connection:
                return work(connection)

        return self._repeated(once)

    def snapshot(self, work: Callable[[Connection], T]) -> T:
        """Does what `read` does, for work of several statements: all of them see one state."""
        seeing = self._reading if self.is_sqlite else self._engine.execution_options(isolation_level="REPEATABLE READ")

        def once() -> T:
            with seeing.connect() as connection:
                return work(connection)

        return self._repeated(once)

    def write(self, work: Callable[[Connection], T]) -> T:
        """Returns what `work` returns, once all that it wrote is on the disk; it may be called more than once, and counts once.

        Raises:
            StorageFailed: nothing was written, as the database cannot be.
            DatabaseAway: it does not answer; only it knows whether anything was written.
        """
        unheard: list[tuple[str, T]] = []  # transactions whose commit was begun, and what they came to

        def once() -> T:
            if unheard and self._committed(unheard[-1][0]):
                return unheard[-1][1]
            with self._engine.connect() as connection:
                result = work(connection)
                if not self.is_sqlite:
                    transaction = connection.scalar(text("SELECT CAST(pg_current_xact_id_if_assigned() AS text)"))
                    if transaction is not None:  # something was written
                        unheard.append((transaction, result))
                connection.commit()
            return result

        return self._repeated(once)

    def _committed(self, transaction: str) -> bool:
        """Returns whether a transaction of PostgreSQL's was committed. One that has not ended yet is away, and looked up again."""
        with self._reading.connect() as connection:
            status = connection.scalar(text("SELECT pg_xact_status(CAST(:number AS xid8))"), {"number": transaction})
        if status == "in progress":
            raise _InDoubt
        return bool(status == "committed")

    def _repeated(self, once: Callable[[], T]) -> T:
        """Calls until it works, or waiting makes no sense any more."""
        with self._call():
            for delay in (*_REPEAT_SECONDS, None):
                try:
                    result = once()
                except (SQLAlchemyError, _InDoubt) as error:
                    away = self._is_away(error)
                    if delay is not None and (away or _state(error) in _REPEATABLE):
                        time.sleep(delay)
                    elif away:
                        self._tell(away=True, error=error)
                        raise DatabaseAway("The job database does not answer: try again in some seconds.") from error
                    else:
                        raise StorageFailed(
                            f"The job database could not be used ({self._said(error)}): free or mend its disk, then try again."
                        ) from error
                else:
                    self._tell(away=False)
                    return result
        raise AssertionError  # the last delay is None

    def _is_away(self, error: Exception) -> bool:
        """Returns whether it is the connection that failed, not what was asked."""
        if self.is_sqlite:
            return False
        state = _state(error)
        return not isinstance(error, DBAPIError) or error.connection_invalidated or state is None or state.startswith(_AWAY)

    def _said(self, error: Exception) -> str:
        """Returns what the driver said, and of a full disk how much room it has."""
        if self._file is None or not isinstance(error, DBAPIError):
            return _reason(error)
        return room.told_by_sqlite(error.orig, _reason(error), self._file)

    def _tell(self, *, away: bool, error: Exception | None = None) -> None:
        if away is not self._away:
            self._away = away
            self._log.warning("job database away" if away else "job database back", error=_reason(error) if error else None)

    @contextmanager
    def _call(self) -> Iterator[None]:
        """Counts a call, so that no connection is closed under it."""
        with self._calls:
            if self._closed:
                raise StorageFailed("The job database has been closed: this daemon is going down.")
            self._under_way += 1
        try:
            yield
        finally:
            with self._calls:
                self._under_way -= 1
                self._calls.notify_all()


class _InDoubt(Exception):
    """Whether a transaction will be committed is not decided yet."""


def _parsed(place: str | Path) -> URL:
    if isinstance(place, Path):
        return URL.create("sqlite", database=str(place))
    try:
        url = make_url(place)
    except ArgumentError:
        raise StartupFailed(
            "jobs.database is no URL: set it to postgresql://user@host/database, or leave it unset for SQLite in data_dir."
        ) from None
    if url.drivername in {"postgresql", "postgres"}:
        return url.set(drivername="postgresql+psycopg")
    if url.drivername != "sqlite" or not url.database or url.database == ":memory:":
        raise StartupFailed(
            f"jobs.database is of {url.drivername!r}, or names no file: set it to postgresql://user@host/database, to "
            "sqlite:////a/file, or leave it unset for SQLite in data_dir."
        )
    return url


def _sqlite(url: URL) -> Engine:
    """Returns an engine with one connection, which calls take turns at: a daemon writes a few rows a second."""
    engine = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=1,
        max_overflow=0,
        connect_args={"timeout": _BUSY_SECONDS, "check_same_thread": False, "isolation_level": None},
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: Any) -> None:
        # WAL and FULL: a row is on the disk when its transaction returns, and readers never wait for a writer.
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # IMMEDIATE: a transaction that reads and then writes would otherwise fail at once if another process writes.
        reads = connection.get_execution_options().get("eyasd_reads", False)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine


def _postgres(url: URL) -> Engine:
    arguments = {name: value for name, value in _POSTGRES_ARGUMENTS.items() if name not in url.query}
    try:
        return create_engine(url, pool_size=THREADS, max_overflow=0, connect_args=arguments)
    except ModuleNotFoundError:
        raise StartupFailed("jobs.database is PostgreSQL, which needs psycopg: install 'eyas[postgres]'.") from None


def _state(error: Exception) -> str | None:
    """Returns the SQLSTATE of an error of PostgreSQL's; None where it is not the server's, as where nobody answered."""
    return getattr(error.orig, "sqlstate", None) if isinstance(error, DBAPIError) else None


def _reason(error: Exception) -> str:
    """Returns what the driver said, in a line."""
    said = str(error.orig if isinstance(error, DBAPIError) else error).strip()
    return said.splitlines()[0].rstrip(".") if said else type(error).__name__
