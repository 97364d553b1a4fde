"""The events of all jobs as a tracker, such as MLflow, is told of them: see `trackers.follower`, which asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eyasd.core.jobs import JobEvent
from eyasd.core.tracks import Track
from eyasd.jobs.threads import DatabaseThreads

if TYPE_CHECKING:  # a server imports this file, too, and has no database
    from eyasd.jobs.store import JobStore
    from eyasd.jobs.tracks import Tracks


class Feed:
    """Of one tracker, at one replica. Every call raises StorageFailed where the database cannot be used."""

    def __init__(self, store: JobStore, tracks: Tracks, threads: DatabaseThreads) -> None:
        self._store, self._tracks, self._threads = store, tracks, threads

    async def hold(self) -> bool:
        """See `Tracks.hold`."""
        return await self._threads.run(self._tracks.hold)

    async def behind(self) -> tuple[list[Track], int]:
        """See `Tracks.behind`."""
        return await self._threads.run(self._tracks.behind)

    async def events(self, track: Track) -> list[JobEvent]:
        """Returns the next events of a job that were not told yet, not all if they are many."""
        return await self._threads.run(self._store.events, track.job, track.sequence + 1)

    async def advance(self, track: Track) -> None:
        """See `Tracks.advance`."""
        await self._threads.run(self._tracks.advance, track)
