"""Which replica holds which job, so that several on one database never follow the same, and none is left behind.

A lease ends when another replica has seen no renewal of it for LEASE_SECONDS, by its own clock that never jumps, and while it
looked all the time: no clock of the database or of a machine is asked, and where the database was away, whoever holds a job
has all that time again to say so. Who may only be cut off from the database is warned before (`jobs.plates`). What a replica
writes names its lease (`core.jobs.Lease`); once that is not the row's any more, nothing it writes is taken.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Connection, func, select, update

from eyasd.core.jobs import Job, JobState
from eyasd.jobs import rows
from eyasd.jobs.database import Database
from eyasd.jobs.plates import WARN_SECONDS
from eyasd.jobs.replica import LEASE_SECONDS
from eyasd.jobs.tables import JOBS, TRACKERS

GAP_SECONDS: Final = 3.0  # who has not looked for longer does not know what happened meanwhile, and begins anew

_QUOTA_LOCK: Final = 0x65796173  # PostgreSQL's advisory locks are numbers, shared by all that use the database

_AT_WORK: Final = [state for state in JobState if state.at_work]
_Seen = tuple[str, str | None, int]  # job, replica, renewals


class Leases:
    """The leases of the jobs in a database, as one replica sees them.

    Attributes:
        silent: the replicas, of those seen at the last look, that have renewed nothing for WARN_SECONDS.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        """Remembers where they are, and a clock in seconds that never jumps."""
        self._database = database
        self._clock = clock
        self._since: dict[_Seen, float] = {}  # when a lease was first seen as it is
        self._looked = float("-inf")
        self.silent: set[str] = set()

    def claim(self, replica: str, jobs: Sequence[str], quota: int = 0) -> Job | None:
        """Begins the next attempt of the first of these jobs that is still queued, and returns it; None where none is.

        What another replica is about to claim is passed over, not waited for.

        Args:
            replica: will hold it.
            jobs: their ids, in the order of their turns.
            quota: most jobs of one owner that may be at work; a further one is passed over. 0 is no bound.
        """

        def work(connection: Connection) -> Job | None:
            if quota and not self._database.is_sqlite:  # whose transactions that write come one after the other
                # One claim at a time, until its transaction ends: two would each not see what the other begins.
                connection.execute(select(func.pg_advisory_xact_lock(_QUOTA_LOCK)))
            for job in jobs:
                wanted = select(JOBS.c.id).where(JOBS.c.id == job, JOBS.c.state == JobState.QUEUED)
                if connection.scalar(wanted.with_for_update(skip_locked=True)) is None:
                    continue
                before = rows.get(connection, job)
                at_work = select(func.count()).where(JOBS.c.state.in_(_AT_WORK), JOBS.c.owner == before.owner)
                if quota and (connection.scalar(at_work) or 0) >= quota:
                    continue
                attempt, start = before.attempt + 1, before.start_time or datetime.now(UTC)
                return rows.change(connection, before, held_by=replica, state=JobState.STARTING, attempt=attempt, start_time=start)
            return None

        return self._database.write(work) if jobs else None

    def renew(self, replica: str) -> set[str]:
        """Says that the replica lives, and returns the ids of the jobs that it still holds."""

        def work(connection: Connection) -> set[str]:
            mine = JOBS.c.replica == replica
            connection.execute(update(JOBS).where(mine).values(renewals=JOBS.c.renewals + 1))
            connection.execute(update(TRACKERS).where(TRACKERS.c.replica == replica).values(renewals=TRACKERS.c.renewals + 1))
            return set(connection.scalars(select(JOBS.c.id).where(mine)))

        return self._database.write(work)

    def take_over(self, replica: str, gone: Collection[str] = (), warned: Collection[str] | None = None) -> list[Job]:
        """Takes the jobs that nobody holds any more, with their attempts as they are, and returns them. To be called every second.

        Args:
            replica: takes them.
            gone: replicas that are known to be dead, whose leases need not be waited for.
            warned: the silent ones that have ended their processes by now, if they live; None is all.
        """
        asked = select(JOBS.c.id, JOBS.c.replica, JOBS.c.renewals).where(JOBS.c.state.in_(_AT_WORK)).order_by(JOBS.c.number)
        found: list[_Seen] = [
            (job, holder, renewals)
            for job, holder, renewals in self._database.read(lambda connection: connection.execute(asked).all())
            if holder != replica
        ]
        now = self._clock()
        if now - self._looked > GAP_SECONDS:
            self._since.clear()
        self._looked = now
        self._since = {lease: self._since.get(lease, now) for lease in found}
        silence = {lease: now - since for lease, since in self._since.items()}
        self.silent = {lease[1] for lease in found if lease[1] and lease[1] not in gone and silence[lease] >= WARN_SECONDS}
        over = [lease for lease in found if silence[lease] >= LEASE_SECONDS and (warned is None or lease[1] in warned)]
        free = [lease for lease in found if lease[1] is None or lease[1] in gone or lease in over]

        def work(connection: Connection) -> list[Job]:
            connection.execute(update(TRACKERS).where(TRACKERS.c.replica.in_(gone)).values(replica=None))
            return [job for lease in free if (job := _take(connection, lease, replica)) is not None]

        return self._database.write(work) if free or gone else []

    def release(self, replica: str) -> None:
        """Gives up every lease of a replica that goes down, so that others need not wait for their end."""

        def work(connection: Connection) -> None:
            for table in (JOBS, TRACKERS):
                connection.execute(update(table).where(table.c.replica == replica).values(replica=None))

        self._database.write(work)


def _take(connection: Connection, lease: _Seen, replica: str) -> Job | None:
    """Takes a job if its lease is still as it was seen."""
    job, holder, renewals = lease
    unchanged = JOBS.c.replica.is_(None) if holder is None else (JOBS.c.replica == holder)
    condition = (JOBS.c.id == job, JOBS.c.state.in_(_AT_WORK), unchanged, JOBS.c.renewals == renewals)
    taken = connection.execute(update(JOBS).where(*condition).values(replica=replica, renewals=renewals + 1))
    return rows.get(connection, job) if taken.rowcount else None
