"""A version's network in other precisions: the client's values, the messages they come from, and what a person reads of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from eyas._settings import enum_name
from eyas.v1 import variant_pb2


class Precision(StrEnum):
    """The numbers that a network computes with; `unspecified` where none is known, or only a newer client knows it."""

    UNSPECIFIED = "unspecified"
    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"


@dataclass(frozen=True, slots=True)
class Fidelity:
    """How a variant answers beside model.onnx on the same pictures; the fields are those of `eyas.v1.Fidelity`."""

    examples: int
    agreement: float
    accuracy: float
    accuracy_lost: float
    log_loss: float
    calibration_error: float
    calibration_error_grown: float


@dataclass(frozen=True, slots=True)
class Variant:
    """A version's network in another precision.

    Attributes:
        size_bytes: of its file; 0 where it could not be made.
        validation: by which it was accepted or refused; None where it was not measured.
        test: on the test split, which decided nothing; None likewise.
        speed: pictures a second as a multiple of model.onnx's on the trainer's `device`; None where that cannot run it.
        device: what the trainer measured it on.
        refusal: why it is no part of the version; "" where it is.
    """

    precision: Precision
    size_bytes: int
    validation: Fidelity | None
    test: Fidelity | None
    speed: float | None
    device: str
    refusal: str


def precision(number: int) -> Precision:
    """Returns the value of the enum's number."""
    return Precision(enum_name(variant_pb2.Precision.DESCRIPTOR, number))


def precision_name(text: str) -> str:
    """Returns the enum's name of a precision, such as `int8`. Raises ValueError."""
    name = f"PRECISION_{text.upper()}"
    if name not in variant_pb2.Precision.DESCRIPTOR.values_by_name or text == Precision.UNSPECIFIED:
        raise ValueError(f"{text!r} is not a precision: use one of fp32, fp16, int8.")
    return name


def variant(message: variant_pb2.Variant) -> Variant:
    """Returns the value."""
    return Variant(
        precision=precision(message.precision),
        size_bytes=message.size_bytes,
        validation=_fidelity(message.validation) if message.HasField("validation") else None,
        test=_fidelity(message.test) if message.HasField("test") else None,
        speed=message.speed if message.HasField("speed") else None,
        device=message.device,
        refusal=message.refusal,
    )


def _fidelity(message: variant_pb2.Fidelity) -> Fidelity:
    return Fidelity(**{field.name: getattr(message, field.name) for field in message.DESCRIPTOR.fields})


def describe(one: Variant) -> str:
    """Returns what a person reads of a variant, such as `int8: 3.6 MB, 1.4 times as fast, agrees on 0.9920, accuracy 0.8978`."""
    if one.refusal:
        return f"{one.precision}: refused, {one.refusal}"
    parts = [f"{one.size_bytes / 1e6:.1f} MB"]
    if one.speed is not None:
        parts.append(f"{one.speed:.2f} times as fast on {one.device}")
    if one.test is not None:
        parts.append(f"agrees on {one.test.agreement:.4f} of the test split, accuracy {one.test.accuracy:.4f}")
    return f"{one.precision}: {', '.join(parts)}"
