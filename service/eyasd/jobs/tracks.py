"""What each tracker, such as MLflow, has been told of which job: rows beside the events, so nothing is told twice or left out.

One replica at a time tells a tracker. Its lease is that of a job (`jobs.leases`), renewed with those, and each row that it writes
asks for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from sqlalchemy import Connection, Select, and_, func, insert, select, update

from eyasd.core import document
from eyasd.core.errors import LeaseLost
from eyasd.core.tracks import Track
from eyasd.jobs.database import Database
from eyasd.jobs.leases import GAP_SECONDS
from eyasd.jobs.replica import LEASE_SECONDS
from eyasd.jobs.tables import EVENTS, JOBS, TRACKERS, TRACKS

MOST_AT_ONCE: Final = 200  # jobs, so that a page of them takes little memory after any outage


class Tracks:
    """One tracker's, as one replica sees them. Blocking."""

    def __init__(self, database: Database, tracker: str, replica: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Remembers whose they are.

        Args:
            database: of the jobs.
            tracker: what it is and where.
            replica: this daemon.
            clock: in seconds, never jumps.
        """
        self._database, self._tracker, self._replica, self._clock = database, tracker, replica, clock
        self._seen: tuple[str | None, int] = (None, -1)  # holder and renewals
        self._since = self._looked = float("-inf")
        self._floor = 0  # of no job with a smaller number is there anything to tell, ever

    def hold(self) -> bool:
        """Returns whether this replica tells the tracker, which it takes over from one that renews its lease no more."""
        found = self._database.read(lambda connection: connection.execute(self._lease()).one_or_none())
        if found is None:
            new = insert(TRACKERS).values(name=self._tracker, replica=self._replica)
            self._database.write(
                lambda connection: connection.execute(new) if connection.execute(self._lease()).one_or_none() is None else None
            )
            return self.hold()
        now, seen = self._clock(), (found.replica, found.renewals)
        if seen != self._seen or now - self._looked > GAP_SECONDS:
            self._seen, self._since = seen, now
        self._looked = now
        if found.replica == self._replica:
            return True
        if found.replica is not None and now - self._since < LEASE_SECONDS:
            return False
        unchanged = TRACKERS.c.replica.is_not_distinct_from(found.replica) & (TRACKERS.c.renewals == found.renewals)
        taken = update(TRACKERS).where(TRACKERS.c.name == self._tracker, unchanged)
        taken = taken.values(replica=self._replica, renewals=found.renewals + 1)
        return self._database.write(lambda connection: connection.execute(taken).rowcount) == 1

    def behind(self) -> tuple[list[Track], int]:
        """Returns jobs with events that were not told yet, MOST_AT_ONCE and the oldest; and how many such events there are."""
        mine = and_(TRACKS.c.job == JOBS.c.id, TRACKS.c.tracker == self._tracker)
        told = func.coalesce(TRACKS.c.sequence, 0)
        newest = select(func.max(EVENTS.c.sequence)).where(EVENTS.c.job == JOBS.c.id).scalar_subquery()
        open_ones = (
            select(JOBS.c.number, JOBS.c.id, TRACKS.c.document, (newest - told).label("events"))
            .select_from(JOBS.outerjoin(TRACKS, mine))
            .where(JOBS.c.number >= self._floor, TRACKS.c.done.is_not(True))
            .subquery()
        )
        behind = open_ones.c.events > 0
        asked = select(open_ones.c.id, open_ones.c.document).where(behind).order_by(open_ones.c.number).limit(MOST_AT_ONCE)
        counted = select(func.min(open_ones.c.number), func.coalesce(func.sum(open_ones.c.events), 0))

        def work(connection: Connection) -> tuple[list[Track], int, int | None]:
            lowest, events = connection.execute(counted).one()
            found = connection.execute(asked).all() if events else []
            return [document.load(Track, text) if text else Track(job=job) for job, text in found], int(events), lowest

        tracks, events, lowest = self._database.read(work)
        self._floor = max(self._floor, lowest or 0)
        return tracks, events

    def advance(self, track: Track) -> None:
        """Notes what has been told of a job.

        Raises:
            LeaseLost: another replica tells the tracker now.
        """
        key = and_(TRACKS.c.tracker == self._tracker, TRACKS.c.job == track.job)
        values = {"sequence": track.sequence, "done": track.done, "document": document.dump(track)}

        def work(connection: Connection) -> None:
            if connection.execute(self._lease().with_for_update()).one().replica != self._replica:
                raise LeaseLost("Another trainer tells the tracker of jobs now.", job=track.job)
            if not connection.execute(update(TRACKS).where(key).values(values)).rowcount:
                connection.execute(insert(TRACKS).values(tracker=self._tracker, job=track.job, **values))

        self._database.write(work)

    def _lease(self) -> Select[tuple[str | None, int]]:
        return select(TRACKERS.c.replica, TRACKERS.c.renewals).where(TRACKERS.c.name == self._tracker)
