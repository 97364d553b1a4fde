"""What a version scored: what a caller holds, and how it is read from messages."""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.message import Message

from eyas._findings import UnreadableFile, unreadable_files
from eyas.v1 import evaluation_pb2


@dataclass(frozen=True, slots=True)
class LabelMetrics:
    """One label's figures; `predicted_counts` is its row of the confusion matrix, in order of class index.

    Of more than 2,000 labels, and of a multi-label model, `predicted_counts` is empty. Of the latter `threshold` is the probability
    from which on the label applies.
    """

    label: str
    examples: int
    precision: float
    recall: float
    f1: float
    predicted_counts: tuple[int, ...]
    threshold: float | None = None


@dataclass(frozen=True, slots=True)
class Interval:
    """A closed interval."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of an evaluation, by the name that `eyas.v1.Figure` lists, with its 95 % interval."""

    name: str
    value: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """The answers whose confidence is in the interval, their mean confidence, and the share of them that is right."""

    confidences: Interval
    answers: int
    confidence: float
    right: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a version scored; the fields are those of `eyas.v1.Evaluation`, shares 0..1, log loss in nats.

    Attributes:
        leaked_examples: how many pictures had a part in making the version; see `eyas.v1.Evaluation`.
        accuracy_without_leaked: on the others; None where nothing leaked, or everything.
        micro_f1: of a multi-label model, whose `accuracy` is that of whole sets of labels; None for others.
        mean_average_precision: likewise.
        figures: the headline figures, each with its interval; empty if the daemon does not know it yet.
        reliability: bins of confidence from 0 to 1; empty likewise.
        test_split_looks: how often versions of the model have been scored on just these pictures; 0 where it is not known.
        missing_examples: of a split that the version was made with, how many pictures the dataset does not hold any more.
        coverage: share of pictures that would not be called unknown where that is allowed; None where the version never does.
        accepted_accuracy: accuracy on these; None where there are none.
    """

    examples: int
    accuracy: float
    accuracy_interval: Interval
    macro_precision: float
    macro_recall: float
    macro_f1: float
    log_loss: float
    calibration_error: float
    labels: tuple[LabelMetrics, ...]
    unreadable_files: tuple[UnreadableFile, ...]
    leaked_examples: int = 0
    accuracy_without_leaked: float | None = None
    micro_f1: float | None = None
    mean_average_precision: float | None = None
    figures: tuple[Figure, ...] = ()
    reliability: tuple[ReliabilityBin, ...] = ()
    missing_examples: int = 0
    test_split_looks: int = 0
    coverage: float | None = None
    accepted_accuracy: float | None = None


def evaluation(message: evaluation_pb2.Evaluation) -> Evaluation:
    """Returns the value."""
    return Evaluation(
        examples=message.examples,
        accuracy=message.accuracy,
        accuracy_interval=interval(message.accuracy_interval),
        macro_precision=message.macro_precision,
        macro_recall=message.macro_recall,
        macro_f1=message.macro_f1,
        log_loss=message.log_loss,
        calibration_error=message.calibration_error,
        labels=tuple(
            LabelMetrics(
                row.label, row.examples, row.precision, row.recall, row.f1, tuple(row.predicted_counts), optional(row, "threshold")
            )
            for row in message.labels
        ),
        unreadable_files=unreadable_files(message),
        leaked_examples=message.leaked_examples,
        accuracy_without_leaked=optional(message, "accuracy_without_leaked"),
        micro_f1=optional(message, "micro_f1"),
        mean_average_precision=optional(message, "mean_average_precision"),
        missing_examples=message.missing_examples,
        test_split_looks=message.test_split_looks,
        figures=tuple(Figure(row.name, row.value, interval(row.interval)) for row in message.figures),
        reliability=tuple(
            ReliabilityBin(interval(row.confidences), row.answers, row.confidence, row.right) for row in message.reliability
        ),
        coverage=optional(message, "coverage"),
        accepted_accuracy=optional(message, "accepted_accuracy"),
    )


def interval(message: evaluation_pb2.Interval) -> Interval:
    """Returns the value."""
    return Interval(message.low, message.high)


def optional(message: Message, field: str) -> float | None:
    """Returns a field's value; None where it is not set."""
    value: float | None = getattr(message, field) if message.HasField(field) else None
    return value
