"""How long a pod waits for what is away: a store, or its trainer; and what is left of that once it has to make way."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from math import inf
from typing import Final, TypeVar

from eyasd.core.errors import StorageFailed
from eyasd.pod.layout import NotWhole

T = TypeVar("T")

_FIRST_PAUSE_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 15.0
_LOOK_SECONDS: Final = 0.2
_MARGIN: Final = 0.05  # of the grace, in which the process itself ends


class Pauses:
    """How long to wait between tries that fail: ever longer, and never as long as others that failed at the same time."""

    def __init__(self, first_seconds: float = _FIRST_PAUSE_SECONDS, longest_seconds: float = _LONGEST_PAUSE_SECONDS) -> None:
        self._first, self._longest = first_seconds, longest_seconds
        self._next = first_seconds

    def next(self) -> float:
        """Returns how long to wait now, in seconds."""
        pause = random.uniform(self._next / 2, self._next)  # noqa: S311 -- no secret
        self._next = min(2 * self._next, self._longest)
        return pause

    def reset(self) -> None:
        """Begins anew, as a try has succeeded."""
        self._next = self._first


class Grace:
    """The time that a pod has from SIGTERM on, after which it is killed."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Begins with `begin`; the clock is in seconds, and never jumps."""
        self._seconds, self._clock = seconds, clock
        self._deadline = inf

    def begin(self) -> None:
        """Begins, the first time that it is called."""
        self._deadline = min(self._deadline, self._clock() + self._seconds * (1 - _MARGIN))

    @property
    def begun(self) -> bool:
        """Whether the pod has to make way."""
        return self._deadline < inf

    def bound(self, seconds: float) -> Callable[[], float]:
        """Returns what says how many seconds are left of so many from now on, or of the grace."""
        limit = self._clock() + seconds
        return lambda: min(limit, self._deadline) - self._clock()


def persist(work: Callable[[], T], left: Callable[[], float]) -> T:
    """Returns what a piece of work does, which is tried again while its store is away.

    Args:
        work: that may be repeated.
        left: for how many seconds more; work under way is not cut short.

    Raises:
        StorageFailed: the store was not back in time, or does not hold what it should.
    """
    pauses = Pauses()
    while True:
        try:
            return work()
        except NotWhole:
            raise
        except StorageFailed as error:
            pause = pauses.next()
            if left() < pause:
                raise
            sys.stderr.write(f"{error}\n")
        end = time.monotonic() + pause
        while time.monotonic() < end and left() > 0:  # SIGTERM may shorten what is left
            time.sleep(_LOOK_SECONDS)
