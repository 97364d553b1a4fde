"""What has changed of which job, for those who wait for it, whichever replica has changed it.

Changes of this replica are told at once. For those of others, the numbers of the newest events of the jobs that somebody watches
are asked for twice a second, in one query for all: that works on every database, through any pooler, needs no connection of its
own, and misses nothing. PostgreSQL's NOTIFY is quicker, but lost with the connection that listens: it would want that query too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final

from eyasd.core.errors import StorageFailed

_ELSEWHERE_SECONDS: Final = 0.5


class News:
    """Belongs to one event loop.

    Attributes:
        changes: how many this replica has told of.
    """

    def __init__(self, newest: Callable[[Collection[str]], Awaitable[Mapping[str, int]]]) -> None:
        """Remembers how to ask for the number of the newest event of each of some jobs."""
        self.changes = 0
        self._newest = newest
        self._changed = asyncio.Event()
        self._watchers: dict[str, set[asyncio.Event]] = {}
        self._elsewhere: asyncio.Task[None] | None = None

    def tell(self, job: str | None = None) -> None:
        """Wakes those who wait for any change, and those who watch the job."""
        self.changes += 1
        self._changed.set()
        self._changed = asyncio.Event()
        for watcher in self._watchers.get(job or "", ()):
            watcher.set()

    async def since(self, seen: int) -> None:
        """Waits until something has changed since `changes` was `seen`."""
        while self.changes == seen:
            await self._changed.wait()

    @contextmanager
    def of(self, job: str) -> Iterator[asyncio.Event]:
        """Gives what is set whenever there may be news of a job."""
        watcher = asyncio.Event()
        self._watchers.setdefault(job, set()).add(watcher)
        if self._elsewhere is None or self._elsewhere.done():
            self._elsewhere = asyncio.create_task(self._look_elsewhere())
        try:
            yield watcher
        finally:
            self._watchers[job].discard(watcher)
            if not self._watchers[job]:
                del self._watchers[job]

    def end(self) -> None:
        """Wakes everybody, and looks no more."""
        if self._elsewhere is not None:
            self._elsewhere.cancel()
        for job in list(self._watchers):
            self.tell(job)
        self.tell()

    async def _look_elsewhere(self) -> None:
        """Wakes those whose job has an event that was not there at the last look, while there is anybody."""
        known: Mapping[str, int] = {}
        while self._watchers:
            await asyncio.sleep(_ELSEWHERE_SECONDS)
            with suppress(StorageFailed):  # whoever reads hears of that, too
                newest = await self._newest(tuple(self._watchers))
                for job, sequence in newest.items():
                    if known.get(job) != sequence:
                        for watcher in self._watchers.get(job, ()):
                            watcher.set()
                known = newest
