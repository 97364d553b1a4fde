"""From which probability on each label of a picture with several applies. numpy alone."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

DEFAULT: Final = 0.5
# Of fewer pictures with a label, or without it, one decides too much: with nine, a single one moves the recall by 11 points, and
# the best F1 on them says little of the next nine. A half is what a calibrated probability means.
_LEAST_EXAMPLES: Final = 10


def choose_thresholds(logits: NDArray[np.float32], temperature: float, targets: NDArray[np.float32]) -> tuple[float, ...]:
    """Returns a threshold for each label: that of the best F1, which is below a half where a label is hard to tell.

    The best F1 of a calibrated model lies at half of its own value (Lipton, Elkan, Narayanaswamy, 2014).

    Args:
        logits: float32 [N, C], of the validation split.
        temperature: by which they are divided, so that the probabilities are calibrated.
        targets: float32 [N, C], 1 for each label that applies.
    """
    probabilities = np.exp(-np.logaddexp(0, -logits.astype(np.float64) / temperature))
    return tuple(_best(column, true) for column, true in zip(probabilities.T, targets.T == 1, strict=True))


def _best(probabilities: NDArray[np.float64], true: NDArray[np.bool_]) -> float:
    """Returns the threshold of one label: the middle of the gap between the pictures it keeps and those it leaves out."""
    examples = int(true.sum())
    if min(examples, len(true) - examples) < _LEAST_EXAMPLES:
        return DEFAULT
    kept, right = cuts(probabilities, true)
    best = int(np.argmax(2 * right / (kept + examples)))
    ordered = np.append(np.sort(probabilities)[::-1], 0.0)
    return float((ordered[kept[best] - 1] + ordered[kept[best]]) / 2)


def cuts(
    probabilities: NDArray[np.float64] | NDArray[np.float32], true: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns, for each threshold that tells pictures apart, int64 [T] how many reach it and int64 [T] how many rightly so."""
    order = np.argsort(-probabilities, kind="stable")
    last = np.append(np.flatnonzero(np.diff(probabilities[order])), len(order) - 1)  # of equals, none is let in without the others
    return last + 1, np.cumsum(true[order])[last]
