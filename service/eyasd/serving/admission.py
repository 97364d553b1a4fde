"""Decides, before any work is done, whether a request can be answered in time.

A refusal costs microseconds, a picture that is decoded and then thrown away costs milliseconds: so the line is here, in
front of the decoder. Knows counts and times only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

from eyasd.core.errors import Overloaded

# Weight of the newest observation in the running mean of the time per picture: it follows a change within 20 requests.
_NEWEST: Final = 0.1


class Admission:
    """A bounded count of pictures in flight, and an estimate of how fast they leave."""

    def __init__(self, max_images: int) -> None:
        self._max_images = max_images
        self._in_flight = 0
        self._seconds_per_image = 0.0

    @property
    def in_flight(self) -> int:
        """Pictures admitted and not answered yet."""
        return self._in_flight

    @contextmanager
    def admit(self, images: int, remaining_seconds: float) -> Iterator[None]:
        """Admits a request for as long as the block lasts.

        Args:
            images: number of pictures in the request.
            remaining_seconds: until the caller's deadline.

        Raises:
            Overloaded: the bound would be passed, or the estimated wait is longer than the deadline; says when to come back.
        """
        wait = self._in_flight * self._seconds_per_image
        if self._in_flight and self._in_flight + images > self._max_images:
            raise Overloaded(
                f"{self._in_flight} pictures are waiting, and at most {self._max_images} are let in: try again in {_ms(wait)} ms.",
                retry_after=timedelta(milliseconds=_ms(wait)),
            )
        if wait > remaining_seconds:
            raise Overloaded(
                f"The wait is about {_ms(wait)} ms and the deadline is in {_ms(remaining_seconds)} ms: allow more time, or try "
                "again when the load is lower.",
                retry_after=timedelta(milliseconds=_ms(wait)),
            )
        self._in_flight += images
        try:
            yield
        finally:
            self._in_flight -= images

    def observe(self, images: int, seconds: float, in_flight: int) -> None:
        """Learns from an answered request.

        Args:
            images: number of pictures in it.
            seconds: from its admission to its answer.
            in_flight: pictures in flight when it was admitted, its own included: what the machine worked on meanwhile.
        """
        newest = seconds / max(images, in_flight)
        old = self._seconds_per_image
        self._seconds_per_image = newest if old == 0.0 else old + _NEWEST * (newest - old)


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))
