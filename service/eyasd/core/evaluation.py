"""What was measured of a network: the nouns of an evaluation, and the figures of an epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from eyasd.core.findings import UnreadableFile


@dataclass(frozen=True, slots=True)
class LabelMetrics:
    """One label's figures within an evaluation.

    Attributes:
        predicted_counts: its row of the confusion matrix; empty for a multi-label model, and of more than 2,000 labels.
        threshold: the probability from which on a multi-label model says that it applies; None for others.
    """

    label: str
    examples: int
    precision: float
    recall: float
    f1: float
    predicted_counts: tuple[int, ...] = ()
    threshold: float | None = None


# The names that figures have; of a model of one label a picture, and of several, not all.
FIGURES: Final = (
    *("accuracy", "top_5_accuracy", "balanced_accuracy", "log_loss", "calibration_error", "roc_auc", "average_precision"),
    *(f"{mean}_{name}" for mean in ("macro", "micro", "weighted") for name in ("precision", "recall", "f1")),
)


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of an evaluation.

    Attributes:
        name: such as `balanced_accuracy`; see `eyas.v1.Figure`.
        value: of the pictures scored.
        low: lower end of its 95 % interval.
        high: upper end of it.
    """

    name: str
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """The answers of about the same confidence: of a picture's most probable label, or of every label of a multi-label model.

    Attributes:
        low: the confidences are above it, and at most `high`.
        answers: how many there are.
        confidence: their mean confidence, 0..1; 0 where there are none.
        right: the share of them that holds, 0..1; 0 where there are none.
    """

    low: float
    high: float
    answers: int
    confidence: float
    right: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a model version scored on labelled pictures.

    Attributes:
        examples: number of pictures scored.
        accuracy: share labelled right, 0..1; of a multi-label model, the share whose whole set of labels is right.
        accuracy_interval: ends of its 95 % Wilson score interval.
        macro_precision: unweighted mean over the labels that have an example; so `macro_recall` and `macro_f1`.
        log_loss: mean negative log-likelihood of the true label, in nats; of a multi-label model, of the whole set of labels.
        calibration_error: expected calibration error, 15 equally wide bins; of a multi-label model, over every label of every
            picture.
        labels: one row a label, in order of class index.
        unreadable_files: not scored.
        leaked_examples: how many pictures had a part in making the version: of a training's test split those that have an exact or
            near copy in train or validation, or were trained on by its base version; of an evaluation the very files.
        accuracy_without_leaked: accuracy on the others; None where nothing leaked, or everything.
        micro_f1: of a multi-label model, F1 over every label of every picture; None for others.
        mean_average_precision: of a multi-label model, the unweighted mean over the labels that have an example; it needs no
            thresholds. None for others.
        figures: the headline figures, each with its interval; empty in evaluations written before it was known.
        reliability: 15 equally wide bins from 0 to 1; empty likewise.
        missing_examples: of a stored split, how many of its pictures the dataset does not hold any more.
        test_split: digest of the pictures, see `core.answers.identity`; "" where they are no test split, or it was not noted.
        test_split_looks: how often versions of the model have been scored on them; 0 until the registry has counted.
        coverage: share of pictures that would not be called unknown where that is allowed; None where the version has no rule.
        accepted_accuracy: accuracy on these pictures; None where there are none.
    """

    examples: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    macro_precision: float
    macro_recall: float
    macro_f1: float
    log_loss: float
    calibration_error: float
    labels: tuple[LabelMetrics, ...]
    unreadable_files: tuple[UnreadableFile, ...] = ()
    leaked_examples: int = 0
    accuracy_without_leaked: float | None = None
    micro_f1: float | None = None
    mean_average_precision: float | None = None
    figures: tuple[Figure, ...] = ()
    reliability: tuple[ReliabilityBin, ...] = ()
    missing_examples: int = 0
    test_split: str = ""
    test_split_looks: int = 0
    coverage: float | None = None
    accepted_accuracy: float | None = None


@dataclass(frozen=True, slots=True)
class EpochMetrics:
    """A network's figures on the validation split; epoch 0 is the head on the frozen backbone."""

    epoch: int
    train_loss: float
    loss: float
    accuracy: float
    macro_precision: float
    macro_recall: float
    macro_f1: float
