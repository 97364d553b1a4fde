"""Which weights of a fine-tuning may be the ones to keep: the best so far, the last, their average; chosen at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from eyasd.core.evaluation import EpochMetrics
from eyasd.training.tuning.average import Candidate, Score, copy_of, follow, refine


class Weights:
    """The weights of a network that may be kept.

    Attributes:
        best: those of the least validation loss so far, at first those that the network was given with.
        average: the moving average along the way.
        logits: float32 [n, C], what the best answer on the validation split; None where that is not known.
    """

    def __init__(self, network: nn.Module) -> None:
        """Begins with the weights that the network has now."""
        self._network = network
        self._start = copy_of(network.state_dict())
        self.best, self.average = self._start, copy_of(self._start)
        self.logits: NDArray[np.float32] | None = None
        self._last_logits: NDArray[np.float32] | None = None

    def follow(self, step: int, steps: int) -> None:
        """Moves the average after a step; see `average.follow`."""
        follow(self.average, self._network.state_dict(), step, steps)

    def validated(self, logits: NDArray[np.float32], *, better: bool) -> None:
        """Notes a validation of the network as it is.

        Args:
            logits: float32 [n, C], what it answered.
            better: whether its loss is the least so far.
        """
        if better:
            self.best, self.logits = copy_of(self._network.state_dict()), logits
        self._last_logits = logits

    def restore(self, best: Mapping[str, Tensor], average: Mapping[str, Tensor], *, is_start: bool) -> None:
        """Takes up what an earlier attempt left.

        Args:
            best: its best weights.
            average: its moving average.
            is_start: whether none were better than those that the network was given with.
        """
        device = next(self._network.parameters()).device
        self.average = {name: value.to(device) for name, value in average.items()}
        if not is_start:
            self.best, self.logits = {name: value.to(device) for name, value in best.items()}, None

    def choose(self, history: Sequence[EpochMetrics], best: int, score: Score) -> Candidate:
        """Returns the best of the weights seen and of their averages.

        Args:
            history: figures of every validation, those of the start first.
            best: index of the least loss in it.
            score: see `average.refine`.
        """
        figures = history[best]
        name = f"epoch {figures.epoch}" if figures.epoch else "the head on the frozen backbone"
        found = [Candidate(name, self.best, figures, self.logits)]
        if len(history) > 1:
            if best < len(history) - 1:
                last = copy_of(self._network.state_dict())
                found.append(Candidate(f"epoch {history[-1].epoch}", last, history[-1], self._last_logits))
            # Over a single epoch it is all but the last weights, and time is short then.
            if len(history) > 2 and (average := score("the moving average", self.average)):
                found.append(average)
        return refine(found, self._start, score)
