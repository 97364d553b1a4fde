"""Captured pictures of production, and which are kept: the client's values, and the messages they come from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from eyas import _convert
from eyas._errors import InvalidArgument
from eyas._settings import enum_name
from eyas.v1 import capture_pb2, capture_service_pb2


class CaptureReason(StrEnum):
    """Why a picture of production is kept, the most instructive first; `unspecified` is a reason that only a newer client knows."""

    WRONG = "wrong"
    SHADOW = "shadow"
    DRIFT = "drift"
    LOW_MARGIN = "low_margin"
    SAMPLE = "sample"
    UNSPECIFIED = "unspecified"


@dataclass(frozen=True, slots=True)
class CapturePolicy:
    """Which pictures that a model's versions answer are kept to learn from.

    Attributes:
        model: whose they are.
        enabled: whether any are.
        reasons: for which.
        percent: share of all pictures that is kept by chance, 0..100.
        max_margin: a picture has a low margin where the most probable label leads by less than this, 0..1.
        max_images: most that are kept at a time; the least instructive go first.
        keep_days: how long one is kept.
        record: number of this record in the policy's history; 0 where the model never had one.
        update_time: when it was set; None likewise.
        actor: who set it.
    """

    model: str
    enabled: bool
    reasons: tuple[CaptureReason, ...]
    percent: float
    max_margin: float
    max_images: int
    keep_days: float
    record: int
    update_time: datetime | None
    actor: str


@dataclass(frozen=True, slots=True)
class CapturedPrediction:
    """A label, and its calibrated probability, 0..1."""

    label: str
    probability: float


@dataclass(frozen=True, slots=True)
class GivenLabels:
    """That somebody named a picture's labels; `source` is `person`, `feedback`, or `unspecified` as of `CaptureReason`."""

    labels: tuple[str, ...]
    create_time: datetime
    source: str
    actor: str


@dataclass(frozen=True, slots=True)
class CapturedPicture:
    """A picture of production that is kept.

    Attributes:
        id: 24 hexadecimal digits, the beginning of the SHA-256 of its file.
        model: whose version answered.
        version: that answered first, such as `clothing/3`.
        create_time: when that was.
        reasons: why it is kept, the most instructive first.
        predictions: what was said of it, the most probable label first; at most 5.
        margin: by how much the first label leads, 0..1; in a multi-label model how close a label is to its threshold.
        ood_score: larger = less like the training pictures; None where the version does not compute it.
        shadow_label: what the model's shadow called it; None where that is not why it is kept.
        size_bytes: of its file.
        labels: in force; None where nobody has named them.
        worth: how instructive it is, 0..999.
    """

    id: str
    model: str
    version: str
    create_time: datetime
    reasons: tuple[CaptureReason, ...]
    predictions: tuple[CapturedPrediction, ...]
    margin: float
    ood_score: float | None
    shadow_label: str | None
    size_bytes: int
    labels: GivenLabels | None
    worth: int


@dataclass(frozen=True, slots=True)
class Labelling:
    """What became of labels that were named: of how many pictures, which were not there any more, and which labels are new."""

    labelled: int
    missing: tuple[str, ...]
    new_labels: tuple[str, ...]


def policy(message: capture_pb2.CapturePolicy) -> CapturePolicy:
    """Returns the value."""
    return CapturePolicy(
        model=_convert.short(message.name.removesuffix("/capture")),
        enabled=message.enabled,
        reasons=_reasons(message.reasons),
        percent=message.percent,
        max_margin=message.max_margin,
        max_images=message.max_images,
        keep_days=message.keep_days,
        record=message.record,
        update_time=message.update_time.ToDatetime(UTC) if message.HasField("update_time") else None,
        actor=message.actor,
    )


def picture(message: capture_pb2.CapturedPicture) -> CapturedPicture:
    """Returns the value."""
    parent, _, identity = message.name.rpartition("/captured/")
    given = message.labels
    source = enum_name(capture_pb2.LabelSource.DESCRIPTOR, given.source)
    return CapturedPicture(
        id=identity,
        model=_convert.short(parent),
        version=_convert.short(message.version),
        create_time=message.create_time.ToDatetime(UTC),
        reasons=_reasons(message.reasons),
        predictions=tuple(CapturedPrediction(one.label, one.probability) for one in message.predictions),
        margin=message.margin,
        ood_score=message.ood_score if message.HasField("ood_score") else None,
        shadow_label=message.shadow_label or None,
        size_bytes=message.size_bytes,
        labels=GivenLabels(tuple(given.labels), given.create_time.ToDatetime(UTC), source, given.actor)
        if message.HasField("labels")
        else None,
        worth=message.worth,
    )


def labelling(messages: Iterable[capture_service_pb2.LabelCapturedPicturesResponse]) -> Labelling:
    """Returns what became of all together."""
    done = list(messages)
    return Labelling(
        labelled=sum(one.labelled_count for one in done),
        missing=tuple(name.rpartition("/")[2] for one in done for name in one.missing),
        new_labels=tuple(sorted({label for one in done for label in one.new_labels})),
    )


def picture_resource(model: str, identity: str) -> str:
    """Returns `models/NAME/captured/ID`."""
    return f"{_convert.model_resource(model)}/captured/{identity}"


def reason_names(reasons: Iterable[CaptureReason | str]) -> list[str]:
    """Returns the names of reasons in the contract. Raises InvalidArgument where there is no such reason."""
    given = [reasons] if isinstance(reasons, str) else list(reasons)
    known = {name.removeprefix("CAPTURE_REASON_").lower(): name for name, number in capture_pb2.CaptureReason.items() if number}
    if unknown := [reason for reason in given if reason not in known]:
        raise InvalidArgument(f"{unknown[0]!r} is no reason to keep a picture: use one of {', '.join(known)}.")
    return [known[reason] for reason in given]


def _reasons(numbers: Iterable[int]) -> tuple[CaptureReason, ...]:
    return tuple(CaptureReason(enum_name(capture_pb2.CaptureReason.DESCRIPTOR, number)) for number in numbers)
