"""How long a client waits before it asks again. Knows the clock and nothing of gRPC."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Final

from eyas._errors import EyasError, Overloaded, Unavailable

GIVE_UP_SECONDS: Final = 60.0
ATTEMPTS: Final = 5
# A connection that is not made fails well before; so a stream that stood for longer had reached a server, even if, as while a
# job is queued, there was nothing to say. Servers end connections every few minutes on purpose.
_STOOD_SECONDS: Final = 30.0
_FIRST_DELAY_SECONDS: Final = 0.2
_LONGEST_DELAY_SECONDS: Final = 5.0
# A server that is full says so to many at the same moment; they are not to come back together.
_SPREAD: Final = 0.5


class Patience:
    """With a server that breaks off a stream, over as many streams as it takes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._delay = _FIRST_DELAY_SECONDS
        self._opened = clock()
        self._heard = clock()

    def open(self) -> None:
        """A stream is asked for."""
        self._opened = self._clock()

    def hear(self) -> None:
        """Something has come."""
        self._heard, self._delay = self._clock(), _FIRST_DELAY_SECONDS

    def break_off(self, error: EyasError, *, retries: bool = True) -> float:
        """Returns how long to wait before the next stream, in seconds.

        Args:
            error: how the stream ended.
            retries: whether there may be a next one.

        Raises:
            EyasError: the error given: it is not of the kind that passes, or no server has answered for a minute.
        """
        now = self._clock()
        if now - self._opened > _STOOD_SECONDS:
            self.hear()
        if not retries or not isinstance(error, Unavailable) or now - self._heard > GIVE_UP_SECONDS:
            raise error
        delay, self._delay = self._delay, min(2 * self._delay, _LONGEST_DELAY_SECONDS)
        return delay


def pause_seconds(error: EyasError, attempt: int, seconds_left: float) -> float | None:
    """Returns how long to wait before work that a full server refused is sent again.

    Args:
        error: how the call ended.
        attempt: which one it was, from 1.
        seconds_left: until the deadline.

    Returns:
        Seconds; None where it is not to be sent again: the server did not say when, the deadline comes first, or it was the last
        attempt.
    """
    if not isinstance(error, Overloaded) or error.retry_after is None or attempt >= ATTEMPTS:
        return None
    pause = error.retry_after.total_seconds() * random.uniform(1, 1 + _SPREAD)  # noqa: S311 - spreads load, hides nothing
    return pause if pause < seconds_left else None
