"""What was answered within the last minutes, so that a picture which is reported wrong can still be kept.

Bounded by memory. Where more comes than fits, some of it is remembered, by when it came, rather than only the last second.
Belongs to one event loop.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from eyasd.serving.capture.picking import Candidate

REMEMBERED_SECONDS: Final = 300.0
# What a candidate takes beside its picture: its fields, and 100 probabilities.
_ENTRY_BYTES: Final = 1_500


class Recent:
    """Candidates by the nonces of their prediction ids."""

    def __init__(self, most_bytes: int, now: Callable[[], float]) -> None:
        """Remembers nothing yet.

        Args:
            most_bytes: of memory that it may take; 0 remembers nothing.
            now: seconds on a monotonic clock.
        """
        self._most, self._now = most_bytes, now
        self._bytes = 0
        self._known: OrderedDict[str, tuple[float, Candidate]] = OrderedDict()
        # As many bytes a second as are forgotten a second once it is full, so what is there is as old as is promised; after a quiet
        # time a quarter of all at once. `_paid` is until when what came has used its share, so that a look costs one comparison.
        self._seconds_a_byte = REMEMBERED_SECONDS / most_bytes if most_bytes else 0.0
        self._paid = now()

    @property
    def size_bytes(self) -> int:
        """About how much memory it takes."""
        return self._bytes

    def takes(self) -> bool:
        """Returns whether the next picture is to be remembered."""
        return self._paid <= self._now() + REMEMBERED_SECONDS / 4 and self._most > 0

    def remember(self, candidate: Candidate) -> None:
        """Remembers a candidate that has a prediction id."""
        now = self._now()
        self._paid = max(self._paid, now) + (candidate.size_bytes + _ENTRY_BYTES) * self._seconds_a_byte
        self._known[candidate.prediction] = (now, candidate)
        self._bytes += candidate.size_bytes + _ENTRY_BYTES
        while self._known:
            then, oldest = next(iter(self._known.values()))
            if self._bytes <= self._most and now - then <= REMEMBERED_SECONDS:
                break
            self._forget(oldest.prediction)

    def take(self, prediction: str) -> Candidate | None:
        """Returns the candidate of a nonce, which is forgotten then; None where it is not remembered."""
        return self._forget(prediction)

    def _forget(self, prediction: str) -> Candidate | None:
        known = self._known.pop(prediction, None)
        if known is None:
            return None
        self._bytes -= known[1].size_bytes + _ENTRY_BYTES
        return known[1]
