"""Two versions side by side on the same pictures: who is right where, whether chance explains it, and what changed. numpy alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from eyasd.core.comparison import ChangedPicture, LabelChange
from eyasd.training.data.listing import SEPARATOR, File
from eyasd.training.outcome.figures import Answers

_MOST_CHANGED: Final = 100


@dataclass(frozen=True, slots=True)
class Sheet:
    """What a version said of the pictures.

    Attributes:
        labels: C of them, in order of class index.
        answers: of N pictures.
    """

    labels: tuple[str, ...]
    answers: Answers

    def said(self) -> list[str]:
        """Returns each picture's label; of a multi-label model all that apply, sorted, as one text."""
        return [
            SEPARATOR.join(sorted(label for label, applies in zip(self.labels, row, strict=True) if applies))
            for row in self.answers.applies
        ]

    def confidences(self) -> NDArray[np.float64]:
        """Returns float64 [N], the probability of each answer; of a set of labels that of just this set, were they independent."""
        probabilities = self.answers.probabilities.astype(np.float64)
        if not self.answers.multi_label:
            best: NDArray[np.float64] = probabilities.max(1)
            return best
        product: NDArray[np.float64] = np.where(self.answers.applies, probabilities, 1 - probabilities).prod(1)
        return product


def label_changes(first: Sheet, second: Sheet) -> tuple[LabelChange, ...]:
    """Returns one row a label that both know and a picture bears, sorted.

    Of one label a picture, its own pictures count; of several, every picture, by whether the label is rightly said to apply or not.
    """
    rows: list[LabelChange] = []
    places: Mapping[str, int] = {label: index for index, label in enumerate(second.labels)}
    for index, label in enumerate(first.labels):
        bears = first.answers.true[:, index]
        if label not in places or not bears.any():
            continue
        counted = np.ones_like(bears) if first.answers.multi_label else bears
        own, other = (sheet.answers.applies[:, place] == bears for sheet, place in ((first, index), (second, places[label])))
        wins, losses = int((counted & other & ~own).sum()), int((counted & own & ~other).sum())
        rows.append(LabelChange(label, int(bears.sum()), wins, losses))
    return tuple(sorted(rows, key=lambda row: row.label))


def changed_pictures(first: Sheet, second: Sheet, files: Sequence[File]) -> tuple[int, tuple[ChangedPicture, ...]]:
    """Returns how many of N files have other labels than before, and at most 100 of them.

    Those that the second alone gets wrong come first, then those that both do, and within these the most confident of the second.
    """
    before, after = first.said(), second.said()
    sure_before, sure_after = first.confidences(), second.confidences()
    rank = np.where(second.answers.right, 2, np.where(first.answers.right, 0, 1))
    rows = [row for row in np.lexsort((-sure_after, rank)) if before[row] != after[row]]
    return len(rows), tuple(
        ChangedPicture(files[row].name, files[row].label, before[row], float(sure_before[row]), after[row], float(sure_after[row]))
        for row in rows[:_MOST_CHANGED]
    )
