"""From which confidence on the answers of each label have the precision that was asked for. numpy alone.

A label has few answers on a validation split: 30 of them, all right, are had with a precision of 0.92 as well as with one of 0.98.
So the precision of a label's answers is not taken as it is, but shrunk towards that of the answers of all labels with the same
confidence, which mean the same because they are calibrated; and of these, what counts is the lower end of the precision's interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Final

import numpy as np
from numpy.typing import NDArray

from eyasd.core.spec import Loss
from eyasd.core.unknown import NEVER, ConfidenceRule
from eyasd.training.data.listing import names
from eyasd.training.data.targets import Targets, as_flags
from eyasd.training.journal import Journal
from eyasd.training.outcome.calibrate import log_probabilities
from eyasd.training.outcome.thresholds import choose_thresholds, cuts

_Z: Final = 1.2815515655446004  # 90 % quantile of the normal distribution: the precision is below the lower end in 1 of 10 cases
_PRIOR: Final = 30  # answers of a label that weigh as much as what all labels show

Floats = NDArray[np.float64]
# float64 [n], how confident the answers of a label are; bool [n], which are right.
Answers = tuple[Floats, NDArray[np.bool_]]


def decide(
    logits: NDArray[np.float32],
    temperature: float,
    targets: Targets,
    loss: Loss,
    labels: Sequence[str],
    min_precision: float | None,
    journal: Journal,
) -> tuple[tuple[float, ...] | None, ConfidenceRule | None]:
    """Returns the thresholds of a multi-label model, and the rule of another that was asked for a precision.

    Args:
        logits: as in `confident_thresholds`, as the next three.
        temperature: by which they are divided.
        targets: of the validation split.
        loss: of the recipe.
        labels: in order of class index.
        min_precision: what was asked for; None is the best F1 of a multi-label model, and no rule of another.
        journal: hears of labels that never have the precision.
    """
    several = targets.ndim == 2
    if min_precision is None:
        return (choose_thresholds(logits, temperature, as_flags(targets, len(labels))) if several else None), None
    thresholds = confident_thresholds(logits, temperature, targets, loss, min_precision)
    if hopeless := [label for label, threshold in zip(labels, thresholds, strict=True) if threshold == NEVER]:
        outcome = "never applies" if several else "is always unknown where that is allowed"
        journal.message(
            f"However confident they are, answers of {names(hopeless)} do not show a precision of {min_precision:g} on the "
            f"{len(targets):,} validation pictures, so each of them {outcome}; some {fewest_answers(min_precision):,} answers "
            "without an error would show it."
        )
    return (thresholds, None) if several else (None, ConfidenceRule(min_precision, thresholds))


def confident_thresholds(
    logits: NDArray[np.float32], temperature: float, targets: Targets, loss: Loss, min_precision: float
) -> tuple[float, ...]:
    """Returns the least confidence of each label's answers from which on they have the precision; NEVER where they do not.

    Args:
        logits: float32 [N, C], of the validation split.
        temperature: by which they are divided, so that the probabilities are calibrated.
        targets: int64 [N], true class indices, where the answer is a picture's most probable label; or float32 [N, C], 1 for each
            label that applies, where each label is an answer.
        loss: decides between softmax and sigmoid.
        min_precision: above 0, below 1.
    """
    probabilities = np.exp(log_probabilities(logits.astype(np.float64) / temperature, loss))
    if targets.ndim == 2:
        return thresholds_of(list(zip(probabilities.T, targets.T == 1, strict=True)), min_precision)
    said = probabilities.argmax(1)
    rows = [said == label for label in range(probabilities.shape[1])]
    return thresholds_of([(probabilities[mine, i], targets[mine] == i) for i, mine in enumerate(rows)], min_precision)


def fewest_answers(min_precision: float) -> int:
    """Returns how many answers, all of them right, show a precision if all labels have it."""
    return ceil(_Z**2 * min_precision / (1 - min_precision))


def thresholds_of(answers: Sequence[Answers], min_precision: float) -> tuple[float, ...]:
    """Returns the threshold of each label, from the answers of each."""
    confidences, right = (np.concatenate(column) for column in zip(*answers, strict=True))
    if not len(confidences):
        return (NEVER,) * len(answers)
    kept, held = cuts(confidences, right)
    least = np.sort(confidences)[::-1][kept - 1]  # of each cut, from the most confident one down
    shared = lower_end(held, kept)
    found = []
    for own, own_right in answers:
        order = np.argsort(-own, kind="stable")
        mine = np.searchsorted(-own[order], -least, side="right")
        precision = (np.append(0, np.cumsum(own_right[order]))[mine] + _PRIOR * shared) / (mine + _PRIOR)
        reaching = np.flatnonzero(precision >= min_precision)
        found.append(float(least[reaching[-1]]) if len(reaching) else NEVER)
    return tuple(found)


def lower_end(right: NDArray[np.int64], of: NDArray[np.int64]) -> Floats:
    """Returns float64 [T], the lower end of the one-sided score interval (Wilson, 1927) of each share, at 90 %."""
    share = right / of
    half = _Z * np.sqrt(share * (1 - share) / of + _Z**2 / (4 * of**2))
    end: Floats = (share + _Z**2 / (2 * of) - half) / (1 + _Z**2 / of)
    return end
