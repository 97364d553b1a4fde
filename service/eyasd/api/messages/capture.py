"""What is captured of a model, and captured pictures <-> messages of the contract."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from eyas.v1 import capture_pb2
from eyasd.api.messages.times import timestamp
from eyasd.core.capture import CapturePolicy, CaptureReason, CaptureRecord
from eyasd.core.captured import CapturedPicture, LabelSource, in_force
from eyasd.core.errors import InvalidArgument
from eyasd.core.names import model_name, parse_model, version_name

_REASONS: Final = {reason: getattr(capture_pb2, f"CAPTURE_REASON_{reason.upper()}") for reason in CaptureReason}
_BY_NUMBER: Final = {number: reason for reason, number in _REASONS.items()}
_SOURCES: Final = {source: getattr(capture_pb2, f"LABEL_SOURCE_{source.upper()}") for source in LabelSource}
_BOUNDS: Final = {"percent": (0, 100), "max_margin": (0, 1), "max_images": (1, 100_000), "keep_days": (0.001, 3650)}
_ID_DIGITS: Final = 24
_MOST_REASONS: Final = 16
_DIGITS: Final = frozenset("0123456789abcdef")


def capture_message(model: str, record: CaptureRecord | None) -> capture_pb2.CapturePolicy:
    """Returns the message; None is a policy by which nothing is kept."""
    policy = record.policy if record else CapturePolicy(on=False)
    message = capture_pb2.CapturePolicy(
        name=f"{model_name(model)}/capture",
        enabled=policy.on,
        reasons=[_REASONS[reason] for reason in policy.reasons],
        percent=policy.percent,
        max_margin=policy.max_margin,
        max_images=policy.max_images,
        keep_days=policy.keep_days,
    )
    if record is not None:
        message.record, message.actor = record.record, record.actor
        message.update_time.FromDatetime(record.time)
    return message


def capture_of(message: capture_pb2.CapturePolicy) -> CapturePolicy:
    """Returns the policy that a caller asks for. Raises InvalidArgument."""
    given = {name: getattr(message, name) for name in _BOUNDS if message.HasField(name)}
    for name, value in given.items():
        low, high = _BOUNDS[name]
        if not low <= value <= high:  # so that NaN fails
            raise InvalidArgument(f"policy.{name}", f"{name} is {value:g}; it must lie within {low:,} to {high:,}.")
    reasons = reasons_of(message.reasons, "policy.reasons")
    if reasons:
        given["reasons"] = reasons
    return CapturePolicy(on=message.enabled, **given)


def reasons_of(numbers: Collection[int], field: str) -> tuple[CaptureReason, ...]:
    """Returns the reasons that a caller names, each once. Raises InvalidArgument."""
    if len(numbers) > _MOST_REASONS:
        raise InvalidArgument(field, f"{len(numbers):,} reasons are named: name each once.")
    asked = set(numbers)
    if unknown := asked - _BY_NUMBER.keys():
        raise InvalidArgument(field, f"{min(unknown)} is no reason to keep a picture: see eyas.v1.CaptureReason.")
    return tuple(reason for reason in CaptureReason if _REASONS[reason] in asked)


def picture_name(model: str, picture: str) -> str:
    """Returns `models/{model}/captured/{picture}`."""
    return f"{model_name(model)}/captured/{picture}"


def parse_picture(name: str, field: str) -> tuple[str, str]:
    """Returns the model and the id of `models/{model}/captured/{picture}`. Raises InvalidArgument."""
    parent, slash, picture = name.rpartition("/captured/")
    if not slash or len(picture) != _ID_DIGITS or not set(picture) <= _DIGITS:
        raise InvalidArgument(
            field, f"{name[:200]!r} does not name a captured picture: write models/MODEL/captured/ID, of 24 hexadecimal digits."
        )
    return parse_model(parent, field), picture


def picture_message(picture: CapturedPicture) -> capture_pb2.CapturedPicture:
    """Returns the message."""
    first = picture.first
    shadow = next((seen.shadow_label for seen in picture.sightings if seen.shadow_label), "")
    message = capture_pb2.CapturedPicture(
        name=picture_name(picture.model, picture.id),
        version=version_name(picture.model, picture.version),
        create_time=timestamp(picture.time),
        reasons=[_REASONS[reason] for reason in picture.reasons],
        predictions=[capture_pb2.CapturedPrediction(label=one.label, probability=one.probability) for one in first.predictions],
        margin=first.margin,
        ood_score=first.ood_score,
        shadow_label=shadow,
        size_bytes=picture.size_bytes,
        worth=picture.worth,
    )
    given = in_force(picture.given)
    if given is not None:
        message.labels.labels.extend(given.labels)
        message.labels.create_time.FromDatetime(given.time)
        message.labels.source, message.labels.actor = _SOURCES[given.source], given.actor
    return message
