"""Jobs and their events in SQLite: what was promised to somebody, so every call is on the disk when it returns.

Knows rows, not processes. Blocking; the ledger calls it in a thread. One connection behind one lock: a daemon writes a few
rows a second at most.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from eyasd.core import document
from eyasd.core.errors import JobEnded, JobNotFound, RequestIdReused, StartupFailed, StorageFailed
from eyasd.core.jobs import Job, JobEvent, JobState, Progress

# The whole life of a job: a change that is not drawn here is refused by the database's only writer.
TRANSITIONS: Final[dict[JobState, frozenset[JobState]]] = {
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.CANCELLED, JobState.FAILED}),
    JobState.RUNNING: frozenset({JobState.QUEUED, JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}),
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
}

_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    number         INTEGER PRIMARY KEY AUTOINCREMENT,
    id             TEXT NOT NULL UNIQUE,
    request_id     TEXT UNIQUE,
    request        TEXT NOT NULL,
    state          TEXT NOT NULL,
    progress_bytes INTEGER NOT NULL DEFAULT 0,
    document       TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS events (
    job      TEXT NOT NULL REFERENCES jobs (id),
    sequence INTEGER NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (job, sequence)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state, number);
"""
_SCHEMA_VERSION = 1


class JobStore:
    """The jobs of one daemon."""

    def __init__(self, path: Path) -> None:
        """Opens the database, and makes it if there is none.

        Raises:
            StartupFailed: the file cannot be used.
        """
        self._lock = threading.Lock()
        try:
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
            # WAL and FULL: a row is on the disk when its transaction returns, and readers never wait for a writer.
            self._connection.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
            if version not in (0, _SCHEMA_VERSION):
                raise StartupFailed(
                    f"{path} was written by another version of Eyas (schema {version}): use that one, or another data dir."
                )
            self._connection.executescript(f"{_SCHEMA} PRAGMA user_version = {_SCHEMA_VERSION};")
        except sqlite3.Error as error:
            raise StartupFailed(f"The job database {path} cannot be used: {error}.") from error

    def close(self) -> None:
        """Closes the database, after the call in progress; later ones raise StorageFailed."""
        with self._lock:  # SQLite crashes the process where a connection is closed under another thread's feet
            self._connection.close()

    def submit(self, job: Job, request_id: str | None, request: str) -> Job:
        """Adds a job with its first event, or returns the one that the same request made before.

        Args:
            job: the new job.
            request_id: chosen by the caller; None makes every request a job of its own.
            request: all that the caller asked for, to tell a repeated request from another one.

        Raises:
            RequestIdReused: `request_id` belongs to another request.
        """
        with self._transaction() as cursor:
            known = cursor.execute("SELECT request, document FROM jobs WHERE request_id = ?", (request_id,)).fetchone()
            if known is not None and known[0] != request:
                raise RequestIdReused(f"The request id {request_id!r} was used for another request: choose a new one.")
            if known is not None:
                return document.load(Job, known[1])
            cursor.execute(
                "INSERT INTO jobs (id, request_id, request, state, document) VALUES (?, ?, ?, ?, ?)",
                (job.id, request_id, request, job.state, document.dump(job)),
            )
            _append(cursor, job.id, JobEvent(0, job.create_time, job=job))
        return job

    def get(self, job: str) -> Job:
        """Returns a job.

        Raises:
            JobNotFound: there is none of this id.
        """
        with self._transaction() as cursor:
            return _get(cursor, job)

    def page(self, before: int | None, size: int) -> tuple[list[Job], int | None]:
        """Returns jobs, newest first, and where the next page begins, or None.

        Args:
            before: the second value of the page before, or None for the first.
            size: most jobs to return.
        """
        with self._transaction() as cursor:
            rows = cursor.execute(
                "SELECT number, document FROM jobs WHERE ? IS NULL OR number < ? ORDER BY number DESC LIMIT ?",
                (before, before, size + 1),
            ).fetchall()
        jobs = [document.load(Job, text) for _, text in rows[:size]]
        return jobs, rows[size - 1][0] if len(rows) > size else None

    def in_state(self, state: JobState) -> list[Job]:
        """Returns the jobs in a state, oldest first."""
        with self._transaction() as cursor:
            rows = cursor.execute("SELECT document FROM jobs WHERE state = ? ORDER BY number", (state,)).fetchall()
        return [document.load(Job, text) for (text,) in rows]

    def update(self, job: str, **changes: Any) -> Job:
        """Changes fields of a job, adds the event that says so where its state is another, and returns the job.

        Raises:
            JobNotFound: there is no such job.
            JobEnded: it has reached a state that it never leaves.
        """
        with self._transaction() as cursor:
            return _change(cursor, _get(cursor, job), **changes)

    def cancel(self, job: str) -> Job:
        """Ends a queued job, marks a running one as one that is to end, and returns the job; a cancelled one stays as it is.

        Raises:
            JobNotFound: there is no such job.
            JobEnded: it has succeeded or failed.
        """
        with self._transaction() as cursor:
            current = _get(cursor, job)
            if current.state is JobState.CANCELLED:
                return current
            if current.state.ended:
                raise JobEnded(f"Job {job} has {current.state} already, so it cannot be cancelled.", job=job, state=current.state)
            if current.state is JobState.QUEUED:
                return _change(cursor, current, state=JobState.CANCELLED, cancelling=True, end_time=datetime.now(UTC))
            return _change(cursor, current, cancelling=True)

    def record(self, job: str, events: list[JobEvent], progress_bytes: int) -> None:
        """Adds events of a job's process, and how far its progress file has been read: both or neither.

        Args:
            job: its id.
            events: their sequence numbers are given here.
            progress_bytes: where the next read begins.
        """
        with self._transaction() as cursor:
            for event in events:
                _append(cursor, job, event)
            newest: Progress | None = next((event.progress for event in reversed(events) if event.progress), None)
            if newest is not None:
                job_document = document.dump(replace(_get(cursor, job), progress=newest))
                cursor.execute("UPDATE jobs SET document = ? WHERE id = ?", (job_document, job))
            cursor.execute("UPDATE jobs SET progress_bytes = ? WHERE id = ?", (progress_bytes, job))

    def progress_bytes(self, job: str) -> int:
        """Returns how far the job's progress file has been read."""
        with self._transaction() as cursor:
            (position,) = cursor.execute("SELECT progress_bytes FROM jobs WHERE id = ?", (job,)).fetchone()
        return int(position)

    def events(self, job: str, from_sequence: int, limit: int = 200) -> list[JobEvent]:
        """Returns a job's events from a sequence number on, at most `limit`.

        Raises:
            JobNotFound: there is no such job.
        """
        with self._transaction() as cursor:
            _get(cursor, job)
            rows = cursor.execute(
                "SELECT document FROM events WHERE job = ? AND sequence >= ? ORDER BY sequence LIMIT ?", (job, from_sequence, limit)
            ).fetchall()
        return [document.load(JobEvent, text) for (text,) in rows]

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Cursor]:
        with self._lock:
            try:
                cursor = self._connection.cursor()
                # IMMEDIATE: a transaction that reads and then writes would otherwise fail at once if another process writes.
                cursor.execute("BEGIN IMMEDIATE")
                yield cursor
                cursor.execute("COMMIT")
            except sqlite3.Error as error:
                raise StorageFailed(
                    f"The job database could not be used ({error}): free or mend its disk, then try again."
                ) from error
            finally:
                with suppress(sqlite3.ProgrammingError):  # it was closed before
                    if self._connection.in_transaction:  # SQLite has rolled back by itself where the disk was full
                        self._connection.rollback()


def _get(cursor: sqlite3.Cursor, job: str) -> Job:
    row = cursor.execute("SELECT document FROM jobs WHERE id = ?", (job,)).fetchone()
    if row is None:
        raise JobNotFound(f"There is no job {job!r}: `eyas jobs` lists them.", job=job)
    return document.load(Job, row[0])


def _change(cursor: sqlite3.Cursor, before: Job, **changes: Any) -> Job:
    after = replace(before, **changes)
    moved = after.state is not before.state
    if moved and after.state not in TRANSITIONS[before.state]:
        raise JobEnded(f"Job {after.id} is {before.state}, so it cannot become {after.state}.", job=after.id, state=before.state)
    cursor.execute("UPDATE jobs SET state = ?, document = ? WHERE id = ?", (after.state, document.dump(after), after.id))
    if moved:
        _append(cursor, after.id, JobEvent(0, datetime.now(UTC), job=after))
    return after


def _append(cursor: sqlite3.Cursor, job: str, event: JobEvent) -> None:
    (last,) = cursor.execute("SELECT COALESCE(MAX(sequence), 0) FROM events WHERE job = ?", (job,)).fetchone()
    numbered = replace(event, sequence=last + 1)
    cursor.execute("INSERT INTO events (job, sequence, document) VALUES (?, ?, ?)", (job, last + 1, document.dump(numbered)))
