"""The calls that are open, by the connections that hold them: how many one may have, and who brings a crowd.

Belongs to the thread that waits for gRPC's queue.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Final

# Of each call that is open, HTTP/2's first window may lie there unread (`api.window_bytes`). Probes, and whatever else everybody
# may call, have a quarter to themselves: neither takes the place of the other.
MOST_CALLS: Final = 1536
MOST_PROBES: Final = 512
_REMEMBERED_SECONDS: Final = 1.0
# Who calls by this factor less often than connections do on average does not bring the crowd, and is not refused for it.
_SELDOM: Final = 4


class Calls:
    """Of one kind."""

    def __init__(self, most: int, now: Callable[[], float] = time.monotonic) -> None:
        """Takes how many there may be, of all connections, and what tells seconds."""
        self._most, self._now = most, now
        self._open: Counter[str] = Counter()
        self._total = 0
        self._came: Counter[str] = Counter()  # lately: halved every second
        self._all_came = 0
        self._since = now()

    def came(self, peer: str) -> bool:
        """Notes that a call has come, and returns whether its connection makes few, compared with others."""
        self._all_came += 1
        self._came[peer] += 1
        if self._now() - self._since > _REMEMBERED_SECONDS:
            self._since = self._now()
            self._came = Counter({of: count // 2 for of, count in self._came.items() if count > 1})
            self._all_came = self._came.total()
        return self._came[peer] * len(self._came) * _SELDOM < self._all_came

    def has_room(self, peer: str) -> bool:
        """Returns whether a connection may have one more: it has fewer than are left.

        So of connections that hold on to as many as they can each leaves some to the next one.
        """
        return self._open[peer] < self._most - self._total

    def entered(self, peer: str) -> None:
        """Notes that one is open."""
        self._open[peer] += 1
        self._total += 1

    def left(self, peer: str) -> None:
        """Notes that it is not any more."""
        self._total -= 1
        self._open[peer] -= 1
        if not self._open[peer]:
            del self._open[peer]
