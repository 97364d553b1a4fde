"""Jobs and their events in a database: what was promised to somebody, so every call is on the disk when it returns.

Knows rows, not processes. Blocking; the ledger calls it in threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import structlog
from sqlalchemy import Connection, func, insert, select, update

from eyasd.core import document
from eyasd.core.errors import JobEnded, JobNotFound, RequestIdReused
from eyasd.core.jobs import Job, JobEvent, JobState, Progress
from eyasd.jobs.database import Database
from eyasd.jobs.tables import EVENTS, JOBS

# The whole life of a job: a change that is not drawn here is refused.
TRANSITIONS: Final[dict[JobState, frozenset[JobState]]] = {
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.CANCELLED, JobState.FAILED}),
    JobState.RUNNING: frozenset({JobState.QUEUED, JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}),
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
}


class JobStore:
    """The jobs of one daemon."""

    def __init__(self, place: str | Path, log: structlog.typing.FilteringBoundLogger, *, trial: bool = False) -> None:
        """Opens the database, and makes it if there is none; see `Database`."""
        self._database = Database(place, log, trial=trial)

    def close(self) -> None:
        """See `Database.close`."""
        self._database.close()

    def submit(self, job: Job, request_id: str | None, request: str) -> Job:
        """Adds a job with its first event, or returns the one that the same request made before.

        Args:
            job: the new job.
            request_id: chosen by the caller; None makes every request a job of its own.
            request: all that the caller asked for, to tell a repeated request from another one.

        Raises:
            RequestIdReused: `request_id` belongs to another request.
        """

        def work(connection: Connection) -> Job:
            if request_id is not None:
                columns = select(JOBS.c.request, JOBS.c.document)
                known = connection.execute(columns.where(JOBS.c.request_id == request_id)).one_or_none()
                if known is not None and known.request != request:
                    raise RequestIdReused(f"The request id {request_id!r} was used for another request: choose a new one.")
                if known is not None:
                    return document.load(Job, known.document)
            row = {"id": job.id, "request_id": request_id, "request": request, "state": job.state, "document": document.dump(job)}
            connection.execute(insert(JOBS).values(row))
            _append(connection, job.id, JobEvent(0, job.create_time, job=job))
            return job

        return self._database.write(work)

    def get(self, job: str) -> Job:
        """Returns a job.

        Raises:
            JobNotFound: there is none of this id.
        """
        return self._database.read(lambda connection: _get(connection, job))

    def page(self, before: int | None, size: int) -> tuple[list[Job], int | None]:
        """Returns jobs, newest first, and where the next page begins, or None.

        Args:
            before: the second value of the page before, or None for the first.
            size: most jobs to return.
        """
        asked = select(JOBS.c.number, JOBS.c.document).order_by(JOBS.c.number.desc()).limit(size + 1)
        if before is not None:
            asked = asked.where(JOBS.c.number < before)
        rows = self._database.read(lambda connection: connection.execute(asked).all())
        jobs = [document.load(Job, row.document) for row in rows[:size]]
        return jobs, rows[size - 1].number if len(rows) > size else None

    def in_state(self, state: JobState) -> list[Job]:
        """Returns the jobs in a state, oldest first."""
        asked = select(JOBS.c.document).where(JOBS.c.state == state).order_by(JOBS.c.number)
        return [document.load(Job, text) for text in self._database.read(lambda connection: connection.scalars(asked).all())]

    def update(self, job: str, **changes: Any) -> Job:
        """Changes fields of a job, adds the event that says so where its state is another, and returns the job.

        Raises:
            JobNotFound: there is no such job.
            JobEnded: it has reached a state that it never leaves.
        """
        return self._database.write(lambda connection: _change(connection, _get(connection, job, lock=True), **changes))

    def cancel(self, job: str) -> Job:
        """Ends a queued job, marks a running one as one that is to end, and returns the job; a cancelled one stays as it is.

        Raises:
            JobNotFound: there is no such job.
            JobEnded: it has succeeded or failed.
        """

        def work(connection: Connection) -> Job:
            current = _get(connection, job, lock=True)
            if current.state is JobState.CANCELLED:
                return current
            if current.state.ended:
                raise JobEnded(f"Job {job} has {current.state} already, so it cannot be cancelled.", job=job, state=current.state)
            if current.state is JobState.QUEUED:
                return _change(connection, current, state=JobState.CANCELLED, cancelling=True, end_time=datetime.now(UTC))
            return _change(connection, current, cancelling=True)

        return self._database.write(work)

    def record(self, job: str, events: list[JobEvent], progress_bytes: int) -> None:
        """Adds events of a job's process, and how far its progress file has been read: both or neither.

        Args:
            job: its id.
            events: their sequence numbers are given here.
            progress_bytes: where the next read begins.
        """

        def work(connection: Connection) -> None:
            current = _get(connection, job, lock=True)
            for event in events:
                _append(connection, job, event)
            newest: Progress | None = next((event.progress for event in reversed(events) if event.progress), None)
            values: dict[str, Any] = {"progress_bytes": progress_bytes}
            if newest is not None:
                values["document"] = document.dump(replace(current, progress=newest))
            connection.execute(update(JOBS).where(JOBS.c.id == job).values(values))

        self._database.write(work)

    def progress_bytes(self, job: str) -> int:
        """Returns how far the job's progress file has been read."""
        asked = select(JOBS.c.progress_bytes).where(JOBS.c.id == job)
        return int(self._database.read(lambda connection: connection.execute(asked).scalar_one()))

    def events(self, job: str, from_sequence: int, limit: int = 200) -> list[JobEvent]:
        """Returns a job's events from a sequence number on, at most `limit`.

        Raises:
            JobNotFound: there is no such job.
        """
        mine = EVENTS.c.job == job
        asked = select(EVENTS.c.document).where(mine, EVENTS.c.sequence >= from_sequence).order_by(EVENTS.c.sequence).limit(limit)

        def work(connection: Connection) -> Sequence[str]:
            found = connection.scalars(asked).all()
            if not found:
                _get(connection, job)
            return found

        return [document.load(JobEvent, text) for text in self._database.read(work)]


def _get(connection: Connection, job: str, *, lock: bool = False) -> Job:
    """Returns a job; with `lock`, nobody else changes it until the transaction ends."""
    asked = select(JOBS.c.document).where(JOBS.c.id == job)
    found = connection.scalar(asked.with_for_update() if lock else asked)
    if found is None:
        raise JobNotFound(f"There is no job {job!r}: `eyas jobs` lists them.", job=job)
    return document.load(Job, found)


def _change(connection: Connection, before: Job, **changes: Any) -> Job:
    after = replace(before, **changes)
    moved = after.state is not before.state
    if moved and after.state not in TRANSITIONS[before.state]:
        raise JobEnded(f"Job {after.id} is {before.state}, so it cannot become {after.state}.", job=after.id, state=before.state)
    connection.execute(update(JOBS).where(JOBS.c.id == after.id).values(state=after.state, document=document.dump(after)))
    if moved:
        _append(connection, after.id, JobEvent(0, datetime.now(UTC), job=after))
    return after


def _append(connection: Connection, job: str, event: JobEvent) -> None:
    """Adds an event with the next number. The job's row is locked, or new, so that nobody takes the same one."""
    last = connection.scalar(select(func.coalesce(func.max(EVENTS.c.sequence), 0)).where(EVENTS.c.job == job)) or 0
    numbered = replace(event, sequence=last + 1)
    connection.execute(insert(EVENTS).values(job=job, sequence=last + 1, document=document.dump(numbered)))
