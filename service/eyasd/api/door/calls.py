"""The calls that are open and the answers that nobody takes, by the connections that hold them: how many one may have.

Each belongs to one thread: calls to that which waits for gRPC's queue, answers to the event loop's.
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
# Of answers that wait to be taken; the largest there are, reports and kept pictures, have megabytes.
MOST_UNTAKEN_BYTES: Final = 256 * 1024 * 1024
_REMEMBERED_SECONDS: Final = 1.0
# Who calls by this factor less often than connections do on average does not bring the crowd, and is not refused for it.
_SELDOM: Final = 4


class Shares:
    """Of something, what each connection holds."""

    def __init__(self, most: int) -> None:
        """Takes how much there may be, of all connections."""
        self._most = most
        self._held: Counter[str] = Counter()
        self._total = 0

    def has_room(self, peer: str) -> bool:
        """Returns whether a connection may have more: it has less than is left.

        So of connections that hold on to as much as they can each leaves some to the next one.
        """
        return self._held[peer] < self._most - self._total

    def entered(self, peer: str, amount: int = 1) -> None:
        """Notes that it has more."""
        self._held[peer] += amount
        self._total += amount

    def left(self, peer: str, amount: int = 1) -> None:
        """Notes that it has less."""
        self._total -= amount
        self._held[peer] -= amount
        if not self._held[peer]:
            del self._held[peer]


class Calls(Shares):
    """Of one kind, and who brings a crowd."""

    def __init__(self, most: int, now: Callable[[], float] = time.monotonic) -> None:
        """Takes how many there may be, of all connections, and what tells seconds."""
        super().__init__(most)
        self._now = now
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
