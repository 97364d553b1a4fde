"""How long the device takes for a batch, by its size, and how fast pictures arrive: learned from what happened.

Knows numbers only.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import Final

# Weight of the newest measurement, once there are five: a change is followed within ten batches.
NEWEST: Final = 0.2
# A measurement counts as at most so many times what is known, so one hiccup does not make every deadline look lost.
_MOST: Final = 2.0


def blend(known: float, newest: float, count: int) -> float:
    """Returns a running mean with a further measurement: a true mean of the first five, then with weight NEWEST.

    Args:
        known: the mean so far.
        newest: the measurement.
        count: how many the mean is of; 0 where there was none.
    """
    if not known:
        return newest
    return known + max(NEWEST, 1 / (count + 1)) * (min(newest, _MOST * known) - known)


class BatchTimes:
    """Seconds of a batch by the size that the device runs."""

    def __init__(self) -> None:
        self._sizes: list[int] = []
        self._means: dict[int, tuple[float, int]] = {}

    def observe(self, size: int, seconds: float) -> None:
        """Learns how long a batch took."""
        if size not in self._means:
            insort(self._sizes, size)
        known, count = self._means.get(size, (0.0, 0))
        self._means[size] = (blend(known, seconds, count), count + 1)

    def seconds(self, size: int) -> float:
        """Returns the expected time of a batch: on a line between two sizes, in proportion beyond the largest; 0 if unknown."""
        if not self._sizes:
            return 0.0
        place = bisect_left(self._sizes, size)
        if place == len(self._sizes):
            largest = self._sizes[-1]
            return self._means[largest][0] * size / largest
        above = self._sizes[place]
        if above == size or place == 0:
            return self._means[above][0]
        below = self._sizes[place - 1]
        low, high = self._means[below][0], self._means[above][0]
        return low + (high - low) * (size - below) / (above - below)


class Gaps:
    """The time between two arrivals."""

    def __init__(self) -> None:
        self._mean = float("inf")
        self.last = float("-inf")

    def observe(self, arrival: float) -> None:
        """Learns of an arrival. A long silence counts in full, so the first picture after it waits for nobody."""
        gap = max(0.0, arrival - self.last)
        self._mean = gap if self._mean == float("inf") else self._mean + NEWEST * (gap - self._mean)
        self.last = max(self.last, arrival)

    @property
    def seconds(self) -> float:
        """The mean gap; infinite before the second arrival."""
        return self._mean
