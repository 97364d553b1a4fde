"""How a trainer that cannot reach the database learns that another one takes its jobs over: by its plate in the repository.

To who is cut off from the database it looks as it does to all when it is down, and then training is to go on. But whoever takes a
job over has to reach the repository, where its result is to go. So each trainer has a plate there, an object; who is about to take
its jobs over takes that down first, and waits for as long as the other one may take to see it. A trainer whose leases are not
renewed looks at its plate, and ends its processes once that is down, or once it has not been seen for a while.

Whoever reads opens an object that is there, or was: a shared folder answers that from its server, where it may remember for long
that there is none.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from enum import Enum
from typing import Final

import structlog

from eyasd.core.errors import StorageFailed
from eyasd.core.threads import pool
from eyasd.storage.store import Store

WARN_SECONDS: Final = 6.0  # of silence, after which others take a plate down
HEAR_SECONDS: Final = 4.0  # from then until they take over: more than a look, its age and the end of a process take together

FRESH_SECONDS: Final = 3.5  # from a renewal, in which nobody can have doubts; a process whose daemon ends then is gone in time
SEEN_SECONDS: Final = 2.5  # that a plate counts as up after it was seen
ALONE_SECONDS: Final = 8.0  # from a renewal, until a trainer that sees nothing at all ends its processes
_LOOK_SECONDS: Final = 0.5
_WAIT_SECONDS: Final = 2.0
_UP_SECONDS: Final = 60.0  # who took it down was mistaken, perhaps


class Hold(Enum):
    """Whether the jobs of a trainer are still its own."""

    SURE = "sure"
    UNSURE = "unsure"
    LOST = "lost"


class Plates:
    """The plates of trainers that share a database and a repository. Belongs to one event loop."""

    def __init__(
        self,
        store: Store,
        replica: str,
        log: structlog.typing.FilteringBoundLogger,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Remembers where the plates are.

        Args:
            store: the repository.
            replica: whose plate is looked at.
            log: hears when that is down.
            clock: in seconds, never jumps.
        """
        self._store, self._replica, self._log, self._clock = store, replica, log, clock
        self._own, self._others = pool(1, "plate"), pool(1, "plates")
        self._up, self._seen, self._down = float("-inf"), float("-inf"), True
        self._closed = False
        self._taken: dict[str, float | None] = {}  # plates that this trainer takes down, and since when they are

    def hold(self, renewed: float) -> Hold:
        """Returns whether this trainer still holds its jobs.

        Args:
            renewed: when the last renewal of its leases that has reached the database was begun, by the clock.
        """
        now = self._clock()
        if now - renewed <= FRESH_SECONDS:
            return Hold.SURE
        if self._down:
            return Hold.LOST
        if now - self._seen <= SEEN_SECONDS:
            return Hold.SURE
        return Hold.UNSURE if now - renewed <= ALONE_SECONDS else Hold.LOST

    async def watch(self, renewed: Callable[[], float]) -> None:
        """Keeps the plate up while the leases are renewed, and looks at it while they are not, until the end."""
        while not self._closed:
            if self._clock() - renewed() > FRESH_SECONDS:
                await self._look()
            elif self._down or self._clock() - self._up > _UP_SECONDS:
                await self._put_up(renewed)
            await asyncio.sleep(_LOOK_SECONDS)

    def take_down(self, silent: Collection[str]) -> None:
        """Begins to take down the plates of those who are silent, and forgets of all others that they were."""
        for replica in self._taken.keys() - set(silent):
            del self._taken[replica]
        for replica in set() if self._closed else set(silent) - self._taken.keys():
            self._taken[replica] = None
            asyncio.get_running_loop().run_in_executor(self._others, self._take, replica)

    def warned(self) -> set[str]:
        """Returns whose plates have been down for so long that they know it."""
        now = self._clock()
        return {replica for replica, since in self._taken.items() if since is not None and now - since >= HEAR_SECONDS}

    async def close(self) -> None:
        """Takes the own plate down, as far as that is possible."""
        self._closed = True
        taken = asyncio.get_running_loop().run_in_executor(self._own, self._take, self._replica)
        await asyncio.wait({taken}, timeout=_WAIT_SECONDS)
        for threads in (self._own, self._others):
            threads.shutdown(wait=False, cancel_futures=True)

    def _take(self, replica: str) -> None:
        try:
            self._store.delete(_key(replica))
        except StorageFailed as error:
            self._log.warning("plate could not be taken down", replica=replica, error=error.message)
            self._taken.pop(replica, None)  # again
        else:
            if replica in self._taken:
                self._taken[replica] = self._clock()

    async def _look(self) -> None:
        """Looks whether the own plate is up."""
        start = self._clock()
        try:
            await asyncio.get_running_loop().run_in_executor(self._own, self._store.read, _key(self._replica))
        except FileNotFoundError:
            if not self._down:
                self._log.warning("plate is down: others take the jobs over")
            self._down = True
        except StorageFailed:
            pass  # nobody knows; `hold` decides by the time
        else:
            self._seen = start

    async def _put_up(self, renewed: Callable[[], float]) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(self._own, self._store.write, _key(self._replica), b"")
        except StorageFailed as error:
            self._log.warning("plate could not be put up", error=error.message)
            return
        self._up = self._clock()
        # What took long may have come after somebody had taken it down.
        self._down = self._up - renewed() > WARN_SECONDS - 1


def _key(replica: str) -> str:
    return f".trainers/{replica}"
