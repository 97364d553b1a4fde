"""Work that is elsewhere a job of its own, as a part of one stage of another."""

from __future__ import annotations

from typing import Final

from eyasd.core.evaluation import EpochMetrics
from eyasd.training.journal import FAST_SHARES, Journal

_STAGES: Final = ("weights", "decode", "head")


class Part(Journal):
    """A journal that keeps its words to itself: its progress alone is heard, as that of the stage that it is a part of."""

    def __init__(self, whole: Journal, first: float, last: float) -> None:
        """Begins the part.

        Args:
            whole: the journal of the job.
            first: how much of the stage is done when it begins, 0..1.
            last: how much is done when it ends.
        """
        self._whole, self._first, self._last = whole, first, last
        self._begun, self._share = 0.0, 1.0

    def check(self) -> None:
        """Raises Interrupted once somebody asked the program to stop."""
        self._whole.check()

    def stage(self, stage: str) -> None:
        """Begins one of the stages of a start, which are then stages of the part."""
        self.check()
        shares = [FAST_SHARES[name] for name in _STAGES]
        index = _STAGES.index(stage)
        self._begun, self._share = sum(shares[:index]) / sum(shares), shares[index] / sum(shares)

    def advance(self, fraction: float, *, images_per_second: float = 0.0, loss: float | None = None) -> None:
        """Says how much of the part, or of its stage, is done."""
        done = self._begun + self._share * min(fraction, 1.0)
        self._whole.advance(self._first + done * (self._last - self._first), images_per_second=images_per_second, loss=loss)

    def message(self, text: str) -> None:
        """Is not heard."""

    def expect(self, seconds: float) -> None:
        """Is not heard."""

    def stepped(self, step: int, learning_rate: float) -> None:
        """Is not heard."""

    def epoch(self, epoch: int, epochs: int) -> None:
        """Is not heard."""

    def measured(self, validation: EpochMetrics) -> None:
        """Is not heard."""
