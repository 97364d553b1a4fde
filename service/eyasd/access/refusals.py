"""Which attempts at what a caller may not do are taken down: so many of him a minute, and of the others how many there were."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

MOST: Final = 60
SECONDS: Final = 60.0


class Refusals:
    """Belongs to one event loop. Remembers a caller for a minute from his first attempt."""

    def __init__(self, tell: Callable[[Mapping[str, Any]], None], seconds: float = SECONDS) -> None:
        """Remembers nobody yet.

        Args:
            tell: gets a line of how many attempts of a caller have none.
            seconds: the length of his minute.
        """
        self._tell, self._seconds = tell, seconds
        self._counts: dict[tuple[str, str], int] = {}

    def take(self, record: Mapping[str, Any]) -> bool:
        """Counts an attempt, and returns whether it is to be told."""
        caller = record["who"], record["by"]
        if caller not in self._counts:
            asyncio.get_running_loop().call_later(self._seconds, self._end, caller)
        self._counts[caller] = count = self._counts.get(caller, 0) + 1
        return count <= MOST

    def close(self) -> None:
        """Tells what is to be told."""
        for caller in list(self._counts):
            self._end(caller)

    def _end(self, caller: tuple[str, str]) -> None:
        if (left_out := self._counts.pop(caller, 0) - MOST) > 0:
            self._tell({"who": caller[0], "by": caller[1], "left_out": left_out})
