"""Variants and precisions -> messages of the contract, and back."""

from __future__ import annotations

from collections.abc import Collection

from eyas.v1 import variant_pb2
from eyasd.core.errors import InvalidArgument
from eyasd.core.variants import Fidelity, Precision, Variant

_MOST = 16


def precision_number(precision: Precision) -> variant_pb2.Precision:
    """Returns the enum's value."""
    return variant_pb2.Precision.Value(f"PRECISION_{precision.upper()}")  # type: ignore[return-value] # an int, says its stub


def precisions_of(numbers: Collection[int], field: str) -> tuple[Precision, ...]:
    """Returns the precisions that a caller asks for.

    Raises:
        InvalidArgument: one is none of them, or there are more than there can be.
    """
    values = variant_pb2.Precision.DESCRIPTOR.values
    known = {value.number: Precision(value.name.removeprefix("PRECISION_").lower()) for value in values if value.number}
    if len(numbers) > _MOST:
        raise InvalidArgument(field, f"{len(numbers):,} precisions are named: name each of {', '.join(known.values())} once.")
    found = tuple(numbers)
    for number in found:
        if number not in known:
            raise InvalidArgument(field, f"{number} is not a precision: use one of {', '.join(known.values())}.")
    return tuple(known[number] for number in found)


def variant_message(variant: Variant) -> variant_pb2.Variant:
    """Returns the message."""
    return variant_pb2.Variant(
        precision=precision_number(variant.precision),
        size_bytes=variant.size_bytes,
        validation=_fidelity(variant.validation),
        test=_fidelity(variant.test),
        speed=variant.speed,
        device=variant.device,
        refusal=variant.refusal,
    )


def _fidelity(measured: Fidelity | None) -> variant_pb2.Fidelity | None:
    if measured is None:
        return None
    return variant_pb2.Fidelity(
        examples=measured.examples,
        agreement=measured.agreement,
        accuracy=measured.accuracy,
        accuracy_lost=measured.accuracy_lost,
        log_loss=measured.log_loss,
        calibration_error=measured.calibration_error,
        calibration_error_grown=measured.calibration_error_grown,
    )
