"""How a version did beside another one on the same pictures: what a caller holds, and how it is read from messages."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from eyas._evaluation import Evaluation, Interval, interval
from eyas.v1 import comparison_pb2


@dataclass(frozen=True, slots=True)
class FigureDifference:
    """One figure of both versions, and the 95 % interval of the second's value less the first's."""

    name: str
    first: float
    second: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class LabelChange:
    """How many of a label's pictures the second version alone gets right (wins), and how many the first alone (losses)."""

    label: str
    examples: int
    wins: int
    losses: int


@dataclass(frozen=True, slots=True)
class ChangedPicture:
    """A picture to which the two versions give different labels, with the probability of each answer."""

    path: str
    label: str
    first: str
    first_confidence: float
    second: str
    second_confidence: float


@dataclass(frozen=True, slots=True)
class VersionCost:
    """What a version costs; `latency` is of one picture by itself, `batch_latency` that of a batch divided by its pictures."""

    size_bytes: int
    latency: timedelta
    batch_latency: timedelta


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a version, the second, did beside the job's own, the first; the fields are those of `eyas.v1.Comparison`.

    Attributes:
        version: the second, such as `clothing/3`.
        evaluation: its figures on the pictures compared.
        p_value: two-sided, of McNemar's exact test; small where chance hardly explains the difference in accuracy.
        differences: of accuracy, log loss and macro F1.
        labels: one row a label.
        changed_count: number of pictures to which the two give different labels.
        changed: at most 100 of them, those that the second alone gets wrong first.
        left_out_count: number of pictures not compared, as one of the two was made with them and the other was not.
    """

    version: str
    evaluation: Evaluation
    both_right: int
    only_first_right: int
    only_second_right: int
    both_wrong: int
    p_value: float
    differences: tuple[FigureDifference, ...]
    labels: tuple[LabelChange, ...]
    changed_count: int
    changed: tuple[ChangedPicture, ...]
    first_cost: VersionCost
    second_cost: VersionCost
    device: str
    batch_size: int
    left_out_count: int = 0


def comparison(message: comparison_pb2.Comparison, version: str, evaluation: Evaluation) -> Comparison:
    """Returns the value; `version` and `evaluation` are those of the message."""
    return Comparison(
        version=version,
        evaluation=evaluation,
        both_right=message.both_right,
        only_first_right=message.only_first_right,
        only_second_right=message.only_second_right,
        both_wrong=message.both_wrong,
        p_value=message.p_value,
        differences=tuple(FigureDifference(row.name, row.first, row.second, interval(row.interval)) for row in message.differences),
        labels=tuple(LabelChange(row.label, row.examples, row.wins, row.losses) for row in message.labels),
        changed_count=message.changed_count,
        changed=tuple(
            ChangedPicture(one.path, one.label, one.first, one.first_confidence, one.second, one.second_confidence)
            for one in message.changed
        ),
        first_cost=_cost(message.first_cost),
        second_cost=_cost(message.second_cost),
        device=message.device,
        batch_size=message.batch_size,
        left_out_count=message.left_out_count,
    )


def _cost(message: comparison_pb2.VersionCost) -> VersionCost:
    return VersionCost(message.size_bytes, message.latency.ToTimedelta(), message.batch_latency.ToTimedelta())
