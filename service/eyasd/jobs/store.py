"""Jobs and their events in a database: what was promised to somebody, so every call is on the disk when it returns.

Knows rows, not processes. Blocking; the ledger calls it in threads.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import Connection, func, or_, select, update

from eyasd.core import document
from eyasd.core.errors import JobEnded, LeaseLost, QuotaExceeded
from eyasd.core.jobs import Job, JobEvent, JobPriority, JobState, JobType, Lease, Progress, Queued
from eyasd.core.wording import counted
from eyasd.jobs import rows
from eyasd.jobs.database import Database
from eyasd.jobs.leases import Leases
from eyasd.jobs.retries import LONGEST
from eyasd.jobs.tables import EVENTS, JOBS
from eyasd.jobs.tracks import Tracks


class JobStore:
    """The jobs of one daemon."""

    def __init__(self, place: str | Path, log: structlog.typing.FilteringBoundLogger, *, trial: bool = False) -> None:
        """Opens the database, and makes it if there is none; see `Database`."""
        self._database = Database(place, log, trial=trial)
        self.leases = Leases(self._database)

    @property
    def is_remote(self) -> bool:
        """Whether the database is another process, which may not answer."""
        return not self._database.is_sqlite

    def tracks(self, tracker: str, replica: str) -> Tracks:
        """Returns what a tracker has been told, see `Tracks`."""
        return Tracks(self._database, tracker, replica)

    def close(self) -> None:
        """See `Database.close`."""
        self._database.close()

    def submit(self, job: Job, request_id: str | None, request: str, quota: int = 0, principal: str = "") -> Job:
        """Adds a job with its first event, or returns the one that the same request made before.

        Args:
            job: the new job.
            request_id: chosen by the caller; None makes every request a job of its own.
            request: all that the caller asked for, to tell a repeated request from another one.
            quota: most jobs of the owner that may be queued; 0 is no bound.
            principal: whose request ids are his own; "" is everybody of whom nothing tells who he is.

        Raises:
            RequestIdReused: `request_id` belongs to another request of his.
            QuotaExceeded: so many are queued already.
        """

        def work(connection: Connection) -> Job:
            if request_id is not None:
                known = rows.accepted(connection, request_id, principal, request, job.owner)
                if known is not None:
                    return known
            if quota:
                rows.take_turns(connection, job.owner)
                waiting = select(func.count()).where(JOBS.c.state == JobState.QUEUED, JOBS.c.owner == job.owner)
                if (connection.scalar(waiting) or 0) >= quota:
                    raise QuotaExceeded(
                        f"{counted(quota, 'job')} of {job.owner or 'nobody in particular'} are queued, which is as many as may be: "
                        "wait until one has begun, or cancel one.",
                        owner=job.owner,
                    )
            rows.add(connection, job, rows.request_key(request_id, principal) if request_id is not None else None, request)
            return job

        return self._database.write(work)

    def get(self, job: str) -> Job:
        """Returns a job.

        Raises:
            JobNotFound: there is none of this id.
        """
        return self._database.read(lambda connection: rows.get(connection, job))

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

    def in_state(self, *states: JobState) -> list[Job]:
        """Returns the jobs in any of these states, oldest first."""
        asked = select(JOBS.c.document).where(JOBS.c.state.in_(states)).order_by(JOBS.c.number)
        return [document.load(Job, text) for text in self._database.read(lambda connection: connection.scalars(asked).all())]

    def queued(self) -> list[Queued]:
        """Returns all that is queued, oldest first, without reading a document: there may be thousands."""
        columns = (JOBS.c.id, JOBS.c.type, JOBS.c.priority, JOBS.c.owner, JOBS.c.devices, JOBS.c.create_time)
        asked = select(*columns).where(JOBS.c.state == JobState.QUEUED).order_by(JOBS.c.number)
        return [
            Queued(id_, JobType(type_), JobPriority(priority), owner, devices, datetime.fromtimestamp(created, UTC))
            for id_, type_, priority, owner, devices, created in self._database.read(lambda c: c.execute(asked).all())
        ]

    def update(self, lease: Lease, **changes: Any) -> Job:
        """Changes fields of a job that a replica holds, adds the event that says so where it moves, and returns the job.

        Raises:
            JobNotFound: there is no such job.
            LeaseLost: the replica does not hold it, or not in this attempt.
            JobEnded: it cannot come to that state.
        """
        return self._database.write(lambda connection: rows.change(connection, rows.held(connection, lease), **changes))

    def cancel(self, job: str) -> Job:
        """Ends a job that waits, marks one at work as one that is to end, and returns the job; a cancelled one stays as it is.

        Raises:
            JobNotFound: there is no such job.
            JobEnded: it has succeeded or failed.
        """

        def work(connection: Connection) -> Job:
            current = rows.get(connection, job, lock=True)
            if current.state is JobState.CANCELLED:
                return current
            _check_unended(current, "cancelled")
            if current.state.at_work:
                return rows.change(connection, current, cancelling=True)
            return rows.change(connection, current, state=JobState.CANCELLED, cancelling=True, end_time=datetime.now(UTC))

        return self._database.write(work)

    def pause(self, job: str) -> Job:
        """Interrupts a job that waits until it is resumed, marks one at work as one that is to be, and returns the job.

        Raises:
            JobNotFound: there is no such job.
            JobEnded: it has ended.
        """

        def work(connection: Connection) -> Job:
            current = rows.get(connection, job, lock=True)
            _check_unended(current, "paused")
            if current.state.at_work:
                return rows.change(connection, current, pausing=True)
            return rows.change(connection, current, state=JobState.INTERRUPTED, resume_time=None)

        return self._database.write(work)

    def resume(self, job: str) -> Job:
        """Queues an interrupted job, takes back a pause that has not come to pass, and returns the job; any other stays as it is.

        Raises:
            JobNotFound: there is no such job.
            JobEnded: it has ended.
        """

        def work(connection: Connection) -> Job:
            current = rows.get(connection, job, lock=True)
            _check_unended(current, "resumed")
            if current.state is JobState.INTERRUPTED:
                return rows.change(connection, current, state=JobState.QUEUED, resume_time=None)
            return rows.change(connection, current, pausing=False)

        return self._database.write(work)

    def wake(self) -> list[Job]:
        """Queues the interrupted jobs whose time to be resumed has come, and returns them."""
        now = time.time()
        # Nobody is to wait for longer than LONGEST: a time that is further off was reckoned before the clock was set back.
        come = or_(JOBS.c.resume_time <= now, JOBS.c.resume_time > now + LONGEST.total_seconds())
        due = (JOBS.c.state == JobState.INTERRUPTED, come)
        asked = select(JOBS.c.id).where(*due).order_by(JOBS.c.number)

        def work(connection: Connection) -> list[Job]:
            found = connection.scalars(asked.with_for_update(skip_locked=True)).all()
            jobs = [rows.get(connection, job) for job in found]
            return [rows.change(connection, job, state=JobState.QUEUED, resume_time=None) for job in jobs]

        return self._database.write(work) if self._database.read(lambda connection: connection.scalar(asked)) else []

    def record(self, lease: Lease, events: list[JobEvent], progress_bytes: int | None, since: int | None = None) -> None:
        """Adds events of a job's process, and how far its progress file has been read: both or neither.

        Args:
            lease: of the replica that has read it.
            events: their sequence numbers are given here.
            progress_bytes: where the next read begins; None where nothing was read.
            since: where this one began: if that is not where it should have, all this has been recorded before.

        Raises:
            JobNotFound: there is no such job.
            LeaseLost: the replica does not hold it, or not in this attempt.
        """

        def work(connection: Connection) -> None:
            current = rows.held(connection, lease)
            if since not in (None, connection.scalar(select(JOBS.c.progress_bytes).where(JOBS.c.id == current.id))):
                return
            for event in events:
                rows.append(connection, current.id, event)
            newest: Progress | None = next((event.progress for event in reversed(events) if event.progress), None)
            values: dict[str, Any] = {} if progress_bytes is None else {"progress_bytes": progress_bytes}
            if newest is not None:
                values["document"] = document.dump(replace(current, progress=newest))
            if values:
                connection.execute(update(JOBS).where(JOBS.c.id == current.id).values(values))

        self._database.write(work)

    def report(self, job: str, attempt: int, first: int, events: Sequence[JobEvent | None]) -> tuple[int, Job]:
        """Adds what an attempt without a progress file here has reported, each line once; whoever holds the job.

        Args:
            job: its id.
            attempt: the one that reports.
            first: number of the first line, from 1; numbers grow within the attempt, and may leave some out.
            events: of the lines; None of one that says nothing.

        Returns:
            The number of the last line that is known, which stands in the row as the position in the file would, and the job.

        Raises:
            JobNotFound: there is no such job.
            LeaseLost: the attempt is over.
        """

        def work(connection: Connection) -> tuple[int, Job]:
            current = rows.get(connection, job, lock=True)
            if current.attempt != attempt or not current.state.at_work:
                raise LeaseLost(
                    f"Attempt {attempt} of job {job} is over: nothing more is taken down of it.", job=job, attempt=attempt
                )
            known = int(connection.execute(select(JOBS.c.progress_bytes).where(JOBS.c.id == job)).scalar_one())
            last = max(known, first + len(events) - 1)
            if last == known:
                return known, current
            new = [event for event in events[max(0, known + 1 - first) :] if event is not None]
            for event in new:
                rows.append(connection, job, event)
            newest = next((event.progress for event in reversed(new) if event.progress), None)
            current = replace(current, progress=newest or current.progress)
            values = {"progress_bytes": last, "document": document.dump(current)}
            connection.execute(update(JOBS).where(JOBS.c.id == job).values(values))
            return last, current

        return self._database.write(work)

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
                rows.get(connection, job)
            return found

        return [document.load(JobEvent, text) for text in self._database.read(work)]

    def newest(self, jobs: Collection[str]) -> dict[str, int]:
        """Returns the number of the newest event of each of these jobs."""
        asked = select(EVENTS.c.job, func.max(EVENTS.c.sequence)).where(EVENTS.c.job.in_(jobs)).group_by(EVENTS.c.job)
        found = self._database.read(lambda connection: connection.execute(asked).all())
        return {str(job): int(number) for job, number in found}


def _check_unended(job: Job, done: str) -> None:
    if job.state.ended:
        raise JobEnded(f"Job {job.id} has {job.state} already, so it cannot be {done}.", job=job.id, state=job.state)
