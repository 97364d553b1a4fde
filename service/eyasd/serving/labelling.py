"""From what a network says of a picture to the labels that a request wants. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from eyasd.core.unknown import UnknownRules
from eyasd.serving.answer import Labelled, Prediction
from eyasd.serving.cache import Said
from eyasd.serving.engine.loading import LoadedVersion
from eyasd.serving.question import Question

Mint = Callable[[Prediction, NDArray[np.float32]], str]


def labelled(
    loaded: LoadedVersion, said: Said, question: Question, explanation: bytes | None = None, mint: Mint | None = None
) -> Labelled:
    """Returns what is said of a picture.

    Args:
        loaded: the version that answers.
        said: by its network.
        question: what is wanted.
        explanation: of the answer, if one is wanted.
        mint: makes the id of the answer, of its first prediction and all probabilities, float32 [C]; None is that it has none.
    """
    predictions = _top(said.probabilities, loaded.manifest.labels, loaded.manifest.thresholds, question.top_k)
    prediction_id = mint(predictions[0], said.probabilities) if mint is not None else ""
    known, rules = (
        Labelled(predictions, said.probabilities, None, said.ood_score, explanation, prediction_id),
        loaded.manifest.unknown,
    )
    return _judged(known, rules) if question.allow_unknown and rules else known


def _judged(labelled: Labelled, rules: UnknownRules) -> Labelled:
    """Returns the same with the rules' verdict; no label of an unknown picture applies."""
    best = labelled.predictions[0]
    unknown = rules.verdict(best.class_index, best.probability, labelled.ood_score)
    if unknown is None:
        return labelled
    return replace(labelled, predictions=tuple(p._replace(applies=False) for p in labelled.predictions), unknown=unknown)


def _top(
    probabilities: NDArray[np.float32], labels: Sequence[str], thresholds: Sequence[float] | None, k: int
) -> tuple[Prediction, ...]:
    """Returns the k most probable labels, most probable first; of equals the lower class index.

    Args:
        probabilities: float32 [C].
        labels: C of them.
        thresholds: C of them, in a multi-label model; None in another, where the most probable label applies.
        k: more than C is C; 0 is all that apply, but one at least.
    """
    if thresholds is None and k <= 1:  # what nearly everybody asks, in a quarter of the time
        row = probabilities.tolist()
        best = row.index(max(row))
        return (Prediction(labels[best], best, row[best], True),)
    order = np.argsort(-probabilities, kind="stable")
    applies = np.arange(len(labels)) == order[0] if thresholds is None else probabilities >= np.array(thresholds, np.float32)
    chosen = order[: k or 1] if k or not applies.any() else order[applies[order]]
    return tuple(Prediction(labels[i], int(i), float(probabilities[i]), bool(applies[i])) for i in chosen)
