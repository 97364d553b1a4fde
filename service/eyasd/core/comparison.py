"""How a version did beside another one on the same pictures: the nouns, and the test of whether one is better.

The two are called the first and the second.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from math import exp, fsum, lgamma, log, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from eyasd.core.answers import KeptAnswers
from eyasd.core.evaluation import Evaluation
from eyasd.core.names import ModelRef

Z_95: Final = 1.959963984540054  # 97.5 % quantile of the normal distribution: a 95 % interval


@dataclass(frozen=True, slots=True)
class Pairs:
    """How many pictures two versions label right: both, the first or the second alone, neither."""

    both: int
    first: int
    second: int
    neither: int

    @classmethod
    def of(cls, first: NDArray[np.bool_], second: NDArray[np.bool_]) -> Pairs:
        """Counts them, from bool [N] of each version whether it is right."""
        return cls(*(int(pictures.sum()) for pictures in (first & second, first & ~second, ~first & second, ~first & ~second)))

    @property
    def count(self) -> int:
        """How many pictures there are."""
        return self.both + self.first + self.second + self.neither

    @property
    def accuracies(self) -> tuple[float, float]:
        """Returns which share of the pictures each labels right; 0 of none."""
        count = max(1, self.count)
        return (self.both + self.first) / count, (self.both + self.second) / count

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the second's accuracy less the first's.

        That of Wald with half a picture more in each of the four cells (Agresti and Min, 2005, for small samples).
        """
        count, gained, lost = self.count + 2, self.second + 0.5, self.first + 0.5
        middle = (gained - lost) / count
        half = Z_95 * sqrt(gained + lost - (gained - lost) ** 2 / count) / count
        return max(-1.0, middle - half), min(1.0, middle + half)

    @property
    def p_value(self) -> float:
        """Two-sided p-value of McNemar's test, exact: of pictures that one alone labels right, each has an even chance to be it."""
        return min(1.0, 2 * _at_most(min(self.first, self.second), self.first + self.second))

    @property
    def p_worse(self) -> float:
        """One-sided p-value for the second being worse: how probable it is that it alone is right so rarely if it were as good."""
        return _at_most(self.second, self.first + self.second)

    @property
    def p_better(self) -> float:
        """One-sided p-value for the second being better: how probable it is that the first alone is right so rarely."""
        return _at_most(self.first, self.first + self.second)


def common(candidate: KeptAnswers, holder: KeptAnswers) -> Pairs:
    """Returns who was right, the holder first, on the pictures that both were tested on and neither was made with."""
    pictures, rows, its_rows = np.intersect1d(candidate.picture, holder.picture, return_indices=True)
    fair = ~np.isin(pictures, np.concatenate([candidate.used, holder.used]))
    return Pairs.of(holder.right[its_rows[fair]], candidate.right[rows[fair]])


def _at_most(successes: int, trials: int) -> float:
    """Returns the probability of so few heads, or fewer, in tosses of a fair coin."""
    if 2 * successes > trials:  # the sum of the fewer terms
        return 1 - _at_most(trials - successes - 1, trials)
    whole = lgamma(trials + 1) - trials * log(2)
    return fsum(exp(whole - lgamma(k + 1) - lgamma(trials - k + 1)) for k in range(successes + 1))


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure of both, and the 95 % interval, `low` to `high`, of the second's less the first's."""

    name: str
    first: float
    second: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class LabelChange:
    """Of a label's pictures, how many the second alone gets right (wins), and how many the first alone (losses)."""

    label: str
    examples: int
    wins: int
    losses: int


@dataclass(frozen=True, slots=True)
class ChangedPicture:
    """A picture to which the two give different labels.

    Attributes:
        path: relative to the dataset.
        label: the true one; of several labels a picture all of them, with `|` between, as in `first` and `second`.
        first: the first's answer.
        first_confidence: its probability, 0..1; of a set of labels, that of just this set.
        second: the second's answer.
        second_confidence: likewise.
    """

    path: str
    label: str
    first: str
    first_confidence: float
    second: str
    second_confidence: float


@dataclass(frozen=True, slots=True)
class Cost:
    """What a version costs.

    Attributes:
        size_bytes: of model.onnx.
        latency: of one picture by itself, without decoding.
        batch_latency: of a batch, divided by its pictures.
    """

    size_bytes: int
    latency: timedelta
    batch_latency: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How a version, the second, did beside the first one of an evaluation.

    Attributes:
        version: the second.
        evaluation: its figures on the pictures compared.
        pairs: who labels how many right.
        differences: of accuracy, log loss and macro F1.
        labels: one row a label that both know and a picture bears, sorted.
        changed_count: number of pictures to which they give different labels.
        changed: at most 100 of them, those that the second alone gets wrong first.
        costs: of the first, and of the second.
        device: where the latencies were measured.
        batch_size: of the batch whose latency was measured.
        left_out_count: number of pictures that are not compared, as one of the two was made with them and the other was not.
    """

    version: ModelRef
    evaluation: Evaluation
    pairs: Pairs
    differences: tuple[Difference, ...]
    labels: tuple[LabelChange, ...]
    changed_count: int
    changed: tuple[ChangedPicture, ...]
    costs: tuple[Cost, Cost]
    device: str
    batch_size: int
    left_out_count: int = 0
