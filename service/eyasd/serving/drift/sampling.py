"""Which pictures are looked at where there is no time for all: each with the same chance, whatever it shows.

The chance follows from how many came lately and what one costs. A clock alone ("the next one after so many milliseconds") would
prefer the first picture of a burst, and of a request.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from math import exp
from typing import Final

_ADJUST_SECONDS: Final = 0.1
# Long enough that the pictures of one request have one chance, short enough that a rush takes a second of a processor, and no more.
_HORIZON_SECONDS: Final = 10.0
_FIRST_GUESS_SECONDS: Final = 0.0003  # of one picture of 224 pixels a side, and more than that takes
_BLEND: Final = 0.1


class _Rate:
    """How many came lately."""

    def __init__(self) -> None:
        self.new = 0
        self._lately = 0.0

    def share(self, affordable: float, seconds: float) -> float:
        """Returns which share of them can be afforded, so many a second, after so many seconds more."""
        self._lately = self._lately * exp(-seconds / _HORIZON_SECONDS) + self.new
        self.new = 0
        return affordable / max(affordable, self._lately / _HORIZON_SECONDS)


class Sampler:
    """Draws pictures within a budget of time. Belongs to one event loop."""

    def __init__(self, budget: float, draw: Callable[[], float], clock: Callable[[], float] = time.monotonic) -> None:
        """Begins with every picture.

        Args:
            budget: seconds a second that may be spent.
            draw: returns a number in 0..1 by chance.
            clock: in seconds.
        """
        self._budget = budget
        self._draw = draw
        self._clock = clock
        self._since = clock()
        self._cost = _FIRST_GUESS_SECONDS
        self._coming, self._offered = _Rate(), _Rate()
        self._share = self._kept = 1.0

    def wants(self) -> bool:
        """Returns whether a picture that comes is to be offered."""
        self._coming.new += 1
        now = self._clock()
        if now - self._since >= _ADJUST_SECONDS:
            affordable = self._budget / self._cost
            self._share = self._coming.share(affordable, now - self._since)
            self._kept = self._offered.share(affordable, now - self._since)
            self._since = now
        return self._share >= 1 or self._draw() < self._share

    def takes(self) -> bool:
        """Returns whether a picture that is offered is to be looked at; others want pictures, too, and perhaps too many."""
        self._offered.new += 1
        return self._kept >= 1 or self._draw() < self._kept

    def spent(self, seconds: float) -> None:
        """Learns what one picture cost."""
        self._cost += _BLEND * (seconds - self._cost)
