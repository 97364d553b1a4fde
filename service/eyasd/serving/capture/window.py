"""The most instructive of many: what is handed on of the pictures of some seconds, within what may be kept in an hour.

Of each model and reason the best few are held until the window closes, so neither a flood nor an attack costs memory, or fills the
store: whoever sends a million doubtful pictures has as many of them kept as one who sends a hundred. Belongs to one event loop.
"""

from __future__ import annotations

import heapq
import itertools
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from eyasd.core.capture import CaptureReason
from eyasd.serving.capture.picking import Candidate

# Held of one model for one reason until the window closes: as many as could be handed on at once, within these bounds.
_FEWEST_HELD, _MOST_HELD = 8, 256
# What was handed on a while ago may come again, and is then told from what is kept by its content.
_MOST_REMEMBERED: Final = 4096
_ORDER: Final = tuple(CaptureReason)
# After a quiet time a tenth of an hour's worth may come at once.
_BURST: Final = 0.1


class Bucket:
    """Permits that come back with time."""

    def __init__(self, per_hour: float, most: float, now: float) -> None:
        self._rate, self._most = per_hour / 3600, most
        self._left, self._then = most, now

    def left(self, now: float) -> float:
        """Returns how many there are; `now` in seconds on a monotonic clock."""
        self._left = min(self._most, self._left + (now - self._then) * self._rate)
        self._then = now
        return self._left

    def take(self, count: float, now: float) -> bool:
        """Takes permits, and returns whether there were so many."""
        if self.left(now) < count:
            return False
        self._left -= count
        return True


class Window:
    """What came within the window that is open."""

    def __init__(self, hourly_images: float, now: Callable[[], float], drop: Callable[[str, str], None]) -> None:
        """Begins empty.

        Args:
            hourly_images: most that are handed on of one model for one reason in an hour.
            now: seconds on a monotonic clock.
            drop: is told of which model a picture was left out, and why.
        """
        self._hourly, self._now, self._drop = hourly_images, now, drop
        self._burst = max(1.0, hourly_images * _BURST)
        self._most_held = int(min(_MOST_HELD, max(_FEWEST_HELD, self._burst)))
        self._held: dict[tuple[str, CaptureReason], list[tuple[int, int, Candidate]]] = {}
        self._buckets: dict[tuple[str, CaptureReason], Bucket] = {}
        self._known: OrderedDict[tuple[str, CaptureReason, int], None] = OrderedDict()
        self._order = itertools.count()

    def takes(self, model: str, reason: CaptureReason, worth: int) -> bool:
        """Returns whether a picture would be held, so that nothing is made of one that would not."""
        held = self._held.get((model, reason), [])
        return len(held) < self._most_held or worth > held[0][0]

    def offer(self, candidate: Candidate) -> None:
        """Holds a candidate, which has a reason, if it is among the best of its model and reason, and not the same as before."""
        key = candidate.model, min(candidate.reasons, key=_ORDER.index)
        if not self.takes(*key, candidate.worth):
            self._drop(candidate.model, "rate")
            return
        picture = candidate.picture
        same = (*key, hash(picture if isinstance(picture, bytes) else picture.tobytes()))
        if same in self._known:
            self._drop(candidate.model, "duplicate")
            return
        self._known[same] = None
        if len(self._known) > _MOST_REMEMBERED:
            self._known.popitem(last=False)
        held = self._held.setdefault(key, [])
        entry = (candidate.worth, -next(self._order), candidate)  # of equals the first
        if len(held) < self._most_held:
            heapq.heappush(held, entry)
        else:
            heapq.heapreplace(held, entry)
            self._drop(candidate.model, "rate")

    def close(self) -> list[Candidate]:
        """Returns the best of what was held, as far as permits reach, and begins anew."""
        now, chosen = self._now(), []
        for key, held in self._held.items():
            bucket = self._buckets.get(key)
            if bucket is None:
                bucket = self._buckets[key] = Bucket(self._hourly, self._burst, now)
            for _, _, candidate in sorted(held, key=lambda entry: entry[:2], reverse=True):
                if bucket.take(1.0, now):
                    chosen.append(candidate)
                else:
                    self._drop(candidate.model, "rate")
        self._held = {}
        return chosen
