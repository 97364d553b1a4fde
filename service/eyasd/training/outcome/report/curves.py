"""Precision-recall curves: of each label against the rest, and of all of them together. numpy alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from eyasd.training.outcome.thresholds import cuts

DRAWN: Final = 40  # labels, the hardest; of the others only the average precision is kept
_POINTS: Final = 120  # of a curve; more are not told apart on a page


@dataclass(frozen=True, slots=True)
class Curve:
    """How precise the answers are from each threshold on, and how many of the pictures they find.

    Attributes:
        label: whose it is; "" of all labels together.
        examples: pictures that bear it.
        average_precision: the mean of the precisions at which each of them is found.
        recalls: from 0 on, rising; empty where it is not drawn.
        precisions: at those recalls.
    """

    label: str
    examples: int
    average_precision: float
    recalls: tuple[float, ...] = ()
    precisions: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Curves:
    """The labels that a picture bears, the one of the least average precision first; and all answers about any label as one."""

    labels: tuple[Curve, ...]
    micro: Curve


def precision_recall(probabilities: NDArray[np.float32], true: NDArray[np.bool_], labels: Sequence[str]) -> Curves | None:
    """Returns the curves; None where no picture bears a label.

    Args:
        probabilities: float32 [N, C].
        true: bool [N, C], which labels each picture bears.
        labels: in order of class index.
    """
    borne = [_curve(labels[int(i)], probabilities[:, i], true[:, i]) for i in np.flatnonzero(true.any(0))]
    if not borne:
        return None
    borne.sort(key=lambda curve: curve.average_precision)
    undrawn = [replace(curve, recalls=(), precisions=()) for curve in borne[DRAWN:]]
    return Curves((*borne[:DRAWN], *undrawn), _curve("", probabilities.ravel(), true.ravel()))


def _curve(label: str, probabilities: NDArray[np.float32], true: NDArray[np.bool_]) -> Curve:
    kept, right = cuts(probabilities, true)
    examples = int(right[-1])
    more = np.diff(right, prepend=0)
    # Only where a picture more is found: between those places the recall stays, and the precision falls.
    recalls, precisions = (right / examples)[more > 0], (right / kept)[more > 0]
    area = float((more[more > 0] / examples * precisions).sum())
    if len(recalls) > _POINTS:
        chosen = np.unique(np.linspace(0, len(recalls) - 1, _POINTS).round().astype(int))
        recalls, precisions = recalls[chosen], precisions[chosen]
    return Curve(label, examples, area, (0.0, *recalls.tolist()), (float(precisions[0]), *precisions.tolist()))
