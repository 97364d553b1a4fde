"""What was taken for what: the whole matrix where a page has room for it, and the pairs that are confused the most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from eyasd.core.evaluation import LabelMetrics

MOST_LABELS: Final = 40  # of a matrix; one of 1,000 labels would be 60 MB
_FEW_PAIRS, _MANY_PAIRS = 5, 30
_ROWS: Final = 30
_TAKEN_FOR: Final = 5


@dataclass(frozen=True, slots=True)
class Pair:
    """How many of the pictures of the label `true` were given the label `given`, and what share of them that is."""

    true: str
    given: str
    count: int
    share: float


@dataclass(frozen=True, slots=True)
class Mistaken:
    """A label with wrong answers: the labels that its pictures were given instead, the most frequent first, at most five."""

    label: str
    examples: int
    wrong: int
    given: tuple[Pair, ...]


@dataclass(frozen=True, slots=True)
class Confusion:
    """What was taken for what.

    Attributes:
        whole: whether the labels are few enough for the matrix, which is then `LabelMetrics.predicted_counts`.
        pairs: the most frequent first.
        rows: where it is not whole, the labels with the most wrong answers.
        mistaken: number of labels that have any.
    """

    whole: bool
    pairs: tuple[Pair, ...]
    rows: tuple[Mistaken, ...]
    mistaken: int


def confusion(rows: Sequence[LabelMetrics]) -> Confusion:
    """Returns what the confusion matrix says, from its rows."""
    labels = [row.label for row in rows]
    matrix = np.array([row.predicted_counts for row in rows], np.int64)
    wrong = matrix * (1 - np.eye(len(rows), dtype=np.int64))
    whole = len(rows) <= MOST_LABELS

    def pair(true: int, given: int) -> Pair:
        count = int(wrong[true, given])
        return Pair(labels[true], labels[given], count, count / rows[true].examples)

    pairs = np.argsort(-wrong, axis=None, kind="stable")[: _FEW_PAIRS if whole else _MANY_PAIRS]
    places = [divmod(int(place), len(rows)) for place in pairs]
    of_label = wrong.sum(1)
    worst = [] if whole else np.argsort(-of_label, kind="stable")[:_ROWS].tolist()
    return Confusion(
        whole,
        tuple(pair(*place) for place in places if wrong[place]),
        tuple(
            Mistaken(
                labels[i],
                rows[i].examples,
                int(of_label[i]),
                tuple(pair(i, int(j)) for j in np.argsort(-wrong[i], kind="stable")[:_TAKEN_FOR] if wrong[i, j]),
            )
            for i in worst
            if of_label[i]
        ),
        int((of_label > 0).sum()),
    )
