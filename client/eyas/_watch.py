"""When, and from where, a watch that has broken off goes on. Knows the clock and nothing of gRPC."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from eyas._errors import EyasError, Unavailable
from eyas._types import JobEvent

GIVE_UP_SECONDS: Final = 60.0
# A connection that is not made fails well before; so a stream that stood for longer had reached a server, even if, as while a
# job is queued, there was nothing to say. Servers end connections every few minutes on purpose.
_STOOD_SECONDS: Final = 30.0
_FIRST_DELAY_SECONDS: Final = 0.2
_LONGEST_DELAY_SECONDS: Final = 5.0


class Watch:
    """One watch of a job, over as many streams as it takes.

    Attributes:
        sequence: number of the first update that has not been seen.
    """

    def __init__(self, from_sequence: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.sequence = max(1, from_sequence)
        self._clock = clock
        self._delay = _FIRST_DELAY_SECONDS
        self._opened = clock()
        self._heard = clock()

    def open(self) -> None:
        """A stream is asked for."""
        self._opened = self._clock()

    def receive(self, event: JobEvent) -> None:
        """An update has come."""
        self.sequence = event.sequence + 1
        self._hear()

    def break_off(self, error: EyasError) -> float:
        """Returns how long to wait before the next stream, in seconds.

        Raises:
            EyasError: the error given: it is not of the kind that passes, or no server has answered for a minute.
        """
        now = self._clock()
        if now - self._opened > _STOOD_SECONDS:
            self._hear()
        if not isinstance(error, Unavailable) or now - self._heard > GIVE_UP_SECONDS:
            raise error
        delay, self._delay = self._delay, min(2 * self._delay, _LONGEST_DELAY_SECONDS)
        return delay

    def _hear(self) -> None:
        self._heard, self._delay = self._clock(), _FIRST_DELAY_SECONDS
