"""The database's threads: its calls block, and one that hangs must hold up neither the event loop nor the threads of all others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar

from eyasd.core.errors import DatabaseAway, StorageFailed
from eyasd.core.threads import pool

T = TypeVar("T")

THREADS: Final = 8
_ANSWER_SECONDS: Final = 0.9  # so that a caller hears within a second that the database does not
_RUN_SECONDS: Final = 3.0  # so that whoever renews leases says in time to his processes that he lives


class DatabaseThreads:
    """Runs blocking calls for coroutines. Belongs to one event loop."""

    def __init__(self, *, may_hang: bool, on_failure: Callable[[str], None] = lambda _: None) -> None:
        """Starts its threads.

        Args:
            may_hang: whether the database is reached over a network; a call of another one ends by itself.
            on_failure: told the name of each call in which the database failed, or took too long.
        """
        self._on_failure = on_failure
        self._threads = pool(THREADS, "database")
        self._may_hang = may_hang

    async def run(self, call: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """Returns what a call returns, see `answer`, to somebody who has time."""
        return await self._within(_RUN_SECONDS, call.__name__, partial(call, *arguments, **named))

    async def answer(self, call: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """Returns what a call returns, to a caller who waits for it.

        Raises:
            DatabaseAway: it takes too long. What it does may be done all the same, so it must be one that can be repeated.
        """
        return await self._within(_ANSWER_SECONDS, call.__name__, partial(call, *arguments, **named))

    async def _within(self, seconds: float, name: str, call: Callable[[], T]) -> T:
        try:
            async with asyncio.timeout(seconds if self._may_hang else None):
                return await asyncio.get_running_loop().run_in_executor(self._threads, call)
        except StorageFailed:
            self._on_failure(name)
            raise
        except TimeoutError:
            self._on_failure(name)
            raise DatabaseAway("The job database does not answer: try again in some seconds.") from None
