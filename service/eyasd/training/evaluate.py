"""Scores what an ONNX file answers: accuracy with its interval, figures of each label, calibration. numpy alone.

The test is of the very file that will be served, on pictures that came through the very preprocessing of the server.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import sqrt
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from eyasd.core.bundle import INPUT, PROBABILITIES
from eyasd.core.types import Evaluation, LabelMetrics, UnreadableFile

_BINS: Final = 15
_Z: Final = 1.959963984540054  # 97.5 % quantile of the normal distribution: a 95 % interval
_LEAST_PROBABILITY: Final = 1e-12  # so that one certain error does not make the mean infinite

Images = NDArray[np.uint8]


def predict(session: Any, batches: Iterator[Images] | Sequence[Images]) -> NDArray[np.float32]:
    """Returns float32 [N, C] probabilities of uint8 [n, H, W, 3] batches."""
    answers = [session.run([PROBABILITIES], {INPUT: batch})[0] for batch in batches]
    return np.concatenate(answers) if answers else np.empty((0, 0), np.float32)


def score(
    probabilities: NDArray[np.float32],
    targets: NDArray[np.int64],
    labels: Sequence[str],
    unreadable_files: tuple[UnreadableFile, ...] = (),
    leaked: NDArray[np.bool_] | None = None,
) -> Evaluation:
    """Returns the figures of an evaluation.

    Args:
        probabilities: float32 [N, C].
        targets: int64 [N], true class indices; N is at least 1.
        labels: in order of class index.
        unreadable_files: passed on.
        leaked: bool [N], which pictures have a copy among those that the model was made with; None is none.
    """
    predicted = probabilities.argmax(1)
    right = predicted == targets
    rows = label_metrics(confusion_matrix(predicted, targets, len(labels)), labels)
    present = [row for row in rows if row.examples]
    likelihood = np.clip(probabilities[np.arange(len(targets)), targets], _LEAST_PROBABILITY, 1)
    return Evaluation(
        examples=len(targets),
        accuracy=float(right.mean()),
        accuracy_interval=wilson_interval(int(right.sum()), len(targets)),
        macro_precision=float(np.mean([row.precision for row in present])),
        macro_recall=float(np.mean([row.recall for row in present])),
        macro_f1=float(np.mean([row.f1 for row in present])),
        log_loss=float(-np.log(likelihood.astype(np.float64)).mean()),
        calibration_error=calibration_error(probabilities.max(1), right),
        labels=rows,
        unreadable_files=unreadable_files,
        leaked_examples=0 if leaked is None else int(leaked.sum()),
        accuracy_without_leaked=None if leaked is None or not leaked.any() or leaked.all() else float(right[~leaked].mean()),
    )


def confusion_matrix(predicted: NDArray[np.int64], targets: NDArray[np.int64], labels: int) -> NDArray[np.int64]:
    """Returns int64 [C, C]: how many pictures of the row's label were given the column's."""
    matrix = np.zeros((labels, labels), np.int64)
    np.add.at(matrix, (targets, predicted), 1)
    return matrix


def label_metrics(matrix: NDArray[np.int64], labels: Sequence[str]) -> tuple[LabelMetrics, ...]:
    """Returns one row a label; a ratio without a denominator is 0, as in scikit-learn."""
    right = np.diag(matrix)
    examples, predicted = matrix.sum(1), matrix.sum(0)
    precision = right / np.maximum(predicted, 1)
    recall = right / np.maximum(examples, 1)
    f1 = 2 * right / np.maximum(examples + predicted, 1)
    return tuple(
        LabelMetrics(label, int(examples[i]), float(precision[i]), float(recall[i]), float(f1[i]), tuple(map(int, matrix[i])))
        for i, label in enumerate(labels)
    )


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """Returns the ends of the 95 % score interval of a share (Wilson, 1927); unlike the textbook's it stays within 0..1."""
    share = successes / trials
    centre = (share + _Z**2 / (2 * trials)) / (1 + _Z**2 / trials)
    half = _Z / (1 + _Z**2 / trials) * sqrt(share * (1 - share) / trials + _Z**2 / (4 * trials**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def calibration_error(confidences: NDArray[np.float32], right: NDArray[np.bool_]) -> float:
    """Returns the expected calibration error (Naeini et al., 2015) with 15 equally wide bins (lower, upper].

    Args:
        confidences: float32 [N], the largest probability of each picture.
        right: bool [N], whether its label is the true one.
    """
    bins = np.clip(np.ceil(confidences * _BINS).astype(np.int64) - 1, 0, _BINS - 1)
    gaps = np.zeros(_BINS)
    np.add.at(gaps, bins, right - confidences.astype(np.float64))
    return float(np.abs(gaps).sum() / len(right))
