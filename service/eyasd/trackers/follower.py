"""Tells a tracker what the ledger has taken down, in order and once, whatever becomes of the tracker, of this daemon or of others.

The events stay in the database, and beside them how much was told of each job, so nothing waits in memory: after an outage they are
read again. What was told and not noted, as somebody was killed in between, is told again, and a tracker takes that for the same.
No job waits for it, and none hears of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Protocol

import structlog

from eyasd.core.errors import LeaseLost, StorageFailed
from eyasd.core.jobs import JobEvent
from eyasd.core.tracks import Track
from eyasd.telemetry.metrics import Metrics
from eyasd.trackers.story import Chapter, chapter

PAUSE_SECONDS: Final = 1.0  # between looks
_LONGEST_PAUSE_SECONDS: Final = 30.0  # during an outage


class TrackerAway(Exception):
    """The tracker does not answer, or cannot take anything now: all that it was not told of waits."""


class TrackerRefuses(Exception):
    """The tracker will never take what it was told of this job: it has been deleted there, or is too much of something."""


class TrackLost(Exception):
    """What the tracker had of this job is gone: it is to be told from the beginning."""


class Feed(Protocol):
    """Where the events come from, see `jobs.feed`."""

    async def hold(self) -> bool:
        """Returns whether this daemon tells the tracker."""

    async def behind(self) -> tuple[list[Track], int]:
        """Returns jobs with events that were not told yet, and how many these are in all."""

    async def events(self, track: Track) -> list[JobEvent]:
        """Returns the next events of a job."""

    async def advance(self, track: Track) -> None:
        """Notes what has been told; raises LeaseLost where somebody else does so now."""


class Tracker(Protocol):
    """What is told.

    Attributes:
        name: what it is.
        place: where it is; without a secret.
    """

    name: str
    place: str

    async def tell(self, track: Track, told: Chapter) -> Track:
        """Takes events of a job, those that it knows already without effect, and returns `told.after` with what it needs to go on.

        Raises:
            TrackerAway: they are to be told again, later.
            TrackerRefuses: nothing of the job is to be told any more.
            TrackLost: the job is to be told from the beginning.
        """

    async def tend(self) -> None:
        """Does what is not of a job; called after each look. Raises TrackerAway."""

    async def check(self) -> str:
        """Returns a sentence's part on the tracker, which could be told now. Raises TrackerAway, TrackerRefuses."""

    async def close(self) -> None:
        """Lets go of what it holds."""


class Follower:
    """Of one tracker. Belongs to one event loop."""

    def __init__(
        self,
        feed: Feed,
        tracker: Tracker,
        metrics: Metrics,
        log: structlog.typing.FilteringBoundLogger,
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        """Begins nothing yet.

        Args:
            feed: the events.
            tracker: is told of them.
            metrics: counts.
            log: hears of each outage once.
            pause_seconds: between looks; doubled with each failure of an outage.
        """
        self._feed, self._tracker, self._log, self._pause = feed, tracker, log, pause_seconds
        self._behind = metrics.tracker_behind.labels(tracker.name)
        self._errors = metrics.tracker_errors.labels(tracker.name)
        self._failures = 0

    async def run(self) -> None:
        """Tells until cancelled."""
        try:
            while True:
                pause = await self._look()
                await asyncio.sleep(pause)
        finally:
            await self._tracker.close()

    async def _look(self) -> float:
        """Tells what there is to tell; returns in how many seconds to look again."""
        try:
            if await self._feed.hold():
                await self._tell()
                await self._tracker.tend()
                self._back()
            else:
                self._behind.set(0)
        except LeaseLost:
            self._behind.set(0)
        except StorageFailed:
            pass  # of which whoever has jobs to run tells
        except TrackerAway as error:
            return self._away(str(error))
        except Exception as error:  # noqa: BLE001 - nothing that a tracker does ends a daemon
            return self._away(f"{type(error).__name__}: {error}")
        return self._pause

    async def _tell(self) -> None:
        """Tells a page of each job that is behind, and again while there are whole pages."""
        while True:
            tracks, events = await self._feed.behind()
            self._behind.set(events)
            told, failed = 0, None
            for track in tracks:
                try:
                    told += await self._tell_of(track)
                except (TrackerAway, LeaseLost, StorageFailed):
                    raise
                except Exception as error:  # noqa: BLE001 - what nobody foresaw of one job must not keep the others waiting
                    self._log.exception("tracker could not be told of a job", tracker=self._tracker.name, job=track.job)
                    failed = error
            if failed is not None:
                raise failed
            if told >= events:
                self._behind.set(0)
                return

    async def _tell_of(self, track: Track) -> int:
        """Tells the next events of a job, and returns how many."""
        events: Sequence[JobEvent] = await self._feed.events(track)
        told = chapter(track, events)
        try:
            after = await self._tracker.tell(track, told)
        except TrackerRefuses as error:
            self._errors.inc()
            self._log.warning("tracker refuses a job", tracker=self._tracker.name, job=track.job, error=str(error))
            after = replace(told.after, done=True)
        except TrackLost:
            self._log.info("tracker is told of a job anew", tracker=self._tracker.name, job=track.job)
            await self._feed.advance(Track(job=track.job))
            return 0
        await self._feed.advance(after)
        return len(events)

    def _away(self, error: str) -> float:
        self._errors.inc()
        if not self._failures:
            self._log.warning("tracker away", tracker=self._tracker.name, place=self._tracker.place, error=error)
        self._failures += 1
        return min(self._pause * float(2**self._failures), _LONGEST_PAUSE_SECONDS)

    def _back(self) -> None:
        if self._failures:
            self._log.info("tracker back", tracker=self._tracker.name)
        self._failures = 0
