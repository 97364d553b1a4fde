"""Hyper-parameters <-> messages of the contract."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from eyas.v1 import training_spec_pb2
from eyasd.api.messages.times import timedelta_of
from eyasd.api.messages.variants import precision_number, precisions_of
from eyasd.core.errors import InvalidArgument
from eyasd.core.spec import Loss, Optimizer, Preset, Schedule, TrainSpec

# Enum fields of TrainingSpec: the noun's enum, and the prefix of the contract's values.
_ENUMS: Final[dict[str, tuple[type[StrEnum], str]]] = {
    "preset": (Preset, "PRESET"),
    "optimizer": (Optimizer, "OPTIMIZER"),
    "schedule": (Schedule, "SCHEDULE"),
    "loss": (Loss, "LOSS"),
}


def train_spec(message: training_spec_pb2.TrainingSpec) -> TrainSpec:
    """Returns the hyper-parameters; what is not set in the message is left to the preset.

    Raises:
        InvalidArgument: a value is out of range, or an enum's value is unknown.
    """
    values: dict[str, object] = {}
    for field, value in message.ListFields():
        if field.name in _ENUMS:
            values[field.name] = _enum(field.name, value)
        elif field.name == "budget":
            values[field.name] = timedelta_of(value, "spec.budget")
        elif field.name == "variants":
            values[field.name] = precisions_of(value, "spec.variants")
        else:
            values[field.name] = value
    return TrainSpec(**values)  # type: ignore[arg-type] # a test holds the two lists of fields together


def _enum(field: str, number: int) -> StrEnum:
    enum, prefix = _ENUMS[field]
    descriptor = training_spec_pb2.TrainingSpec.DESCRIPTOR.fields_by_name[field].enum_type
    if descriptor is None or number not in descriptor.values_by_number:
        raise InvalidArgument(f"spec.{field}", f"{number} is not a {field}: use one of {', '.join(enum)}.")
    return enum(descriptor.values_by_number[number].name.removeprefix(f"{prefix}_").lower())


def train_spec_message(spec: TrainSpec) -> training_spec_pb2.TrainingSpec:
    """Returns the message of what was asked for."""
    message = training_spec_pb2.TrainingSpec()
    for field in message.DESCRIPTOR.fields:
        value = getattr(spec, field.name)
        if value is None:
            continue
        if field.name in _ENUMS:
            setattr(message, field.name, f"{_ENUMS[field.name][1]}_{value.upper()}")
        elif field.name == "budget":
            message.budget.FromTimedelta(value)
        elif field.name == "variants":
            message.variants.extend(map(precision_number, value))
        else:
            setattr(message, field.name, value)
    return message


def asked_message(spec: TrainSpec) -> training_spec_pb2.TrainingSpec:
    """Returns the message of what the caller set, in which all that is left to the preset is not set."""
    message = train_spec_message(spec)
    for field in message.DESCRIPTOR.fields:
        if field.name not in spec.asked:
            message.ClearField(field.name)
    return message
