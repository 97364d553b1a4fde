"""Scores what an ONNX file answers: the headline figures, the figures of each label, calibration. numpy alone.

The test is of the very file that will be served, on pictures that came through the very preprocessing of the server.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from math import sqrt
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from eyasd.core.bundle import INPUT, OOD_SCORE, PROBABILITIES
from eyasd.core.comparison import Z_95
from eyasd.core.evaluation import Evaluation, LabelMetrics
from eyasd.core.findings import UnreadableFile
from eyasd.core.unknown import UnknownRules
from eyasd.training.data.targets import Targets
from eyasd.training.outcome.figures import Answers, headline, label_ratios, mean_average_precision
from eyasd.training.outcome.reliability import reliability

_LEAST_PROBABILITY: Final = 1e-12  # so that one certain error does not make the mean infinite
# A confusion matrix grows with the square of its labels: of 6,500 the manifest would be larger than one may be.
_MOST_IN_MATRIX: Final = 2_000

Images = NDArray[np.uint8]
# Probabilities, float32 [N, C], and the `ood_score`, float32 [N], of a file that computes it.
Predicted = tuple[NDArray[np.float32], NDArray[np.float32] | None]


def predict(session: Any, batches: Iterator[Images] | Sequence[Images]) -> Predicted:
    """Returns what a file says of uint8 [n, H, W, 3] batches."""
    scores = OOD_SCORE in {output.name for output in session.get_outputs()}
    names = [PROBABILITIES, OOD_SCORE] if scores else [PROBABILITIES]
    answers = [session.run(names, {INPUT: batch}) for batch in batches]
    return joined([(probabilities, rest[0] if rest else None) for probabilities, *rest in answers])


def joined(parts: Sequence[Predicted]) -> Predicted:
    """Returns what one file says of pictures, from what it says of parts of them, at least one."""
    probabilities, scores = zip(*parts, strict=True)
    known = [score for score in scores if score is not None]
    return np.concatenate(probabilities), np.concatenate(known) if known else None


def score(
    probabilities: NDArray[np.float32],
    targets: Targets,
    labels: Sequence[str],
    unreadable_files: tuple[UnreadableFile, ...] = (),
    leaked: NDArray[np.bool_] | None = None,
    thresholds: tuple[float, ...] | None = None,
    accepted: NDArray[np.bool_] | None = None,
) -> Evaluation:
    """Returns the figures of an evaluation.

    Args:
        probabilities: float32 [N, C].
        targets: int64 [N], true class indices; or float32 [N, C], 1 for each label that applies. N is at least 1.
        labels: in order of class index.
        unreadable_files: passed on.
        leaked: bool [N], which pictures have a copy among those that the model was made with; None is none.
        thresholds: of a multi-label model, from which probability on each label applies; `targets` are then of flags.
        accepted: bool [N], which pictures would not be called unknown; None where the version has no rule for it.
    """
    answers = answers_of(probabilities, targets, thresholds)
    if thresholds is None:
        predicted = probabilities.argmax(1)
        if len(labels) <= _MOST_IN_MATRIX:
            rows = label_metrics(confusion_matrix(predicted, targets, len(labels)), labels)
        else:
            rows = answer_metrics(predicted, targets, labels)
    else:
        rows = set_metrics(answers.applies, answers.true, labels, thresholds)
    figures = headline(answers)
    values = {figure.name: figure.value for figure in figures}
    right = answers.right
    return Evaluation(
        examples=len(targets),
        accuracy=values["accuracy"],
        accuracy_interval=wilson_interval(int(right.sum()), len(targets)),
        macro_precision=values["macro_precision"],
        macro_recall=values["macro_recall"],
        macro_f1=values["macro_f1"],
        log_loss=values["log_loss"],
        calibration_error=values["calibration_error"],
        labels=rows,
        unreadable_files=unreadable_files,
        leaked_examples=0 if leaked is None else int(leaked.sum()),
        accuracy_without_leaked=None if leaked is None or not leaked.any() or leaked.all() else float(right[~leaked].mean()),
        micro_f1=values["micro_f1"] if answers.multi_label else None,
        mean_average_precision=mean_average_precision(answers) if answers.multi_label else None,
        figures=figures,
        reliability=reliability(answers.confidences, answers.held),
        coverage=None if accepted is None else float(accepted.mean()),
        accepted_accuracy=None if accepted is None or not accepted.any() else float(right[accepted].mean()),
    )


def answers_of(probabilities: NDArray[np.float32], targets: Targets, thresholds: tuple[float, ...] | None) -> Answers:
    """Returns what a model said of pictures, beside what is so; the arguments are those of `score`."""
    if thresholds is None:
        classes, predicted = np.arange(probabilities.shape[1]), probabilities.argmax(1)
        applies, true = classes == predicted[:, None], classes == targets[:, None]
        likelihoods, confidences, held = probabilities[np.arange(len(targets)), targets], probabilities.max(1), predicted == targets
    else:
        applies, true = probabilities >= np.array(thresholds, np.float32), targets == 1
        likelihoods, confidences, held = np.where(true, probabilities, 1 - probabilities), probabilities, true
    losses = -np.log(np.clip(likelihoods.astype(np.float64), _LEAST_PROBABILITY, 1)).reshape(len(targets), -1).sum(1)
    return Answers(probabilities, applies, true, losses, confidences, held, multi_label=thresholds is not None)


def accepted_by(
    rules: UnknownRules, probabilities: NDArray[np.float32], ood_scores: NDArray[np.float32] | None
) -> NDArray[np.bool_]:
    """Returns bool [N], which pictures are not unknown.

    Args:
        rules: of the version.
        probabilities: float32 [N, C].
        ood_scores: float32 [N]; None where the network does not compute them.
    """
    best = probabilities.argmax(1)
    scores = [None] * len(best) if ood_scores is None else ood_scores.tolist()
    confidences = probabilities.max(1).tolist()
    return np.array([rules.verdict(*row) is None for row in zip(best.tolist(), confidences, scores, strict=True)], np.bool_)


def macro_means(rows: Sequence[LabelMetrics]) -> dict[str, float]:
    """Returns `macro_precision`, `macro_recall` and `macro_f1` over the labels that have an example; 0 where none has."""
    present = [row for row in rows if row.examples]
    return {
        f"macro_{name}": float(np.mean([getattr(row, name) for row in present])) if present else 0.0
        for name in ("precision", "recall", "f1")
    }


def confusion_matrix(predicted: NDArray[np.int64], targets: Targets, labels: int) -> NDArray[np.int64]:
    """Returns int64 [C, C]: how many pictures of the row's label were given the column's."""
    matrix = np.zeros((labels, labels), np.int64)
    np.add.at(matrix, (targets.astype(np.int64, copy=False), predicted), 1)
    return matrix


def label_metrics(matrix: NDArray[np.int64], labels: Sequence[str]) -> tuple[LabelMetrics, ...]:
    """Returns one row a label, from what each was taken for."""
    rows = _label_metrics(np.diag(matrix), matrix.sum(1), matrix.sum(0), labels)
    return tuple(replace(row, predicted_counts=tuple(map(int, counts))) for row, counts in zip(rows, matrix, strict=True))


def answer_metrics(predicted: NDArray[np.int64], targets: Targets, labels: Sequence[str]) -> tuple[LabelMetrics, ...]:
    """Returns one row a label, without `predicted_counts`, from int64 [N] which class each picture was given, and which it has."""
    true = targets.astype(np.int64, copy=False)
    counted = partial(np.bincount, minlength=len(labels))
    return _label_metrics(counted(true[predicted == true]), counted(true), counted(predicted), labels)


def set_metrics(
    applies: NDArray[np.bool_], true: NDArray[np.bool_], labels: Sequence[str], thresholds: tuple[float, ...] | None = None
) -> tuple[LabelMetrics, ...]:
    """Returns one row a label, from bool [N, C] what was said of each picture, and bool [N, C] what is so."""
    rows = _label_metrics((applies & true).sum(0), true.sum(0), applies.sum(0), labels)
    return tuple(replace(row, threshold=threshold) for row, threshold in zip(rows, thresholds or [None] * len(rows), strict=True))


def _label_metrics(
    right: NDArray[np.int64], examples: NDArray[np.int64], predicted: NDArray[np.int64], labels: Sequence[str]
) -> tuple[LabelMetrics, ...]:
    """Returns one row a label, from three counts int64 [C]."""
    precision, recall, f1 = label_ratios(right, examples, predicted)
    return tuple(
        LabelMetrics(label, int(examples[i]), float(precision[i]), float(recall[i]), float(f1[i])) for i, label in enumerate(labels)
    )


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """Returns the ends of the 95 % score interval of a share (Wilson, 1927); unlike the textbook's it stays within 0..1."""
    share = successes / trials
    centre = (share + Z_95**2 / (2 * trials)) / (1 + Z_95**2 / trials)
    half = Z_95 / (1 + Z_95**2 / trials) * sqrt(share * (1 - share) / trials + Z_95**2 / (4 * trials**2))
    return max(0.0, centre - half), min(1.0, centre + half)
