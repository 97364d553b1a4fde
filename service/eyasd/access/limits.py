"""How many pictures a second a caller may have classified, or calls a second make: a bucket for each, that fills while he waits.

A request is let in while there is anything in the bucket that it needs, at most all that the bucket holds, and what it takes beyond
is owed; so a request of more pictures than the burst is possible, and paid for after it.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from datetime import timedelta
from typing import Final

from eyasd.core.errors import Overloaded

_MOST_CALLERS: Final = 10_000
_NOTHING_SECONDS: Final = 1e-6  # what floating-point numbers have left over


class Limits:
    """The buckets. Belongs to one event loop."""

    def __init__(self, per_second: float, burst: float, now: Callable[[], float] = time.monotonic, what: str = "pictures") -> None:
        """Makes none yet.

        Args:
            per_second: of one caller; 0 is no bound.
            burst: most that a bucket holds.
            now: seconds.
            what: they are, for a sentence.
        """
        self._rate, self._burst, self._now, self._what = per_second, max(burst, 1.0), now, what
        # When each bucket is full; one that is full is as good as none. The one used longest ago comes first.
        self._full_at: OrderedDict[Hashable, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def spend(self, caller: Hashable, number: int) -> None:
        """Takes so many out of a caller's bucket.

        Raises:
            Overloaded: there are not enough in it.
        """
        if self._rate <= 0 or number <= 0:
            return
        now = self._now()
        full_at = max(self._full_at.get(caller, now), now)
        needed_at = full_at - (self._burst - min(number, self._burst)) / self._rate
        if (wait := needed_at - now) > _NOTHING_SECONDS:
            raise Overloaded(
                f"The caller has asked for more than {self._rate:g} {self._what}/s, and {self._burst:g} at once, which is his "
                f"share of this server: send it again in {wait:.3g} s, or fewer at a time.",
                retry_after=timedelta(seconds=wait),
                cause="rate",
            )
        self._full_at[caller] = full_at + number / self._rate
        self._full_at.move_to_end(caller)
        self._forget(now)

    def _forget(self, now: float) -> None:
        """Drops buckets that are full; of too many that are not, the one that was used longest ago."""
        while self._full_at:
            oldest = next(iter(self._full_at))
            if self._full_at[oldest] > now and len(self._full_at) <= _MOST_CALLERS:
                return
            del self._full_at[oldest]
