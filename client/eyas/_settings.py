"""The hyper-parameters of a training: by name, as people write them, and the message that has them.

Text is read as the field's type needs, so that values of a command line and of Python serve alike.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from eyas._errors import InvalidArgument
from eyas.v1 import training_spec_pb2

SettingValue = str | int | float | bool | timedelta


def training_spec(settings: Mapping[str, SettingValue | None]) -> training_spec_pb2.TrainingSpec:
    """Returns the message of settings given by name.

    Args:
        settings: field of `eyas.v1.TrainingSpec` -> value. Text is read as the field's type needs, so that values of a command
            line and of Python serve alike; an enum's value is its short name in lower case, such as `sgd`, several are separated
            by commas. None leaves it to be decided.

    Raises:
        InvalidArgument: there is no such field, or the value is of another kind.
    """
    spec = training_spec_pb2.TrainingSpec()
    fields = spec.DESCRIPTOR.fields_by_name
    for name, value in settings.items():
        if name not in fields:
            close = difflib.get_close_matches(name, fields, n=3)
            advice = f"did you mean {' or '.join(close)}?" if close else f"use one of {', '.join(fields)}."
            raise InvalidArgument(f"{name!r} is not a setting of a training: {advice}")
        if value is not None:
            _set(spec, fields[name], value)
    return spec


def _set(spec: training_spec_pb2.TrainingSpec, field: Any, value: SettingValue) -> None:
    try:
        if field.message_type is not None:
            getattr(spec, field.name).FromTimedelta(value if isinstance(value, timedelta) else parse_duration(str(value)))
        elif _is_list(getattr(spec, field.name)):
            name = field.name.removesuffix("s")
            getattr(spec, field.name).extend(_number(field.enum_type, name, part) for part in str(value).split(","))
        elif field.enum_type is not None:
            setattr(spec, field.name, _number(field.enum_type, field.name, value))
        else:
            setattr(spec, field.name, _scalar(field, value))
    except (TypeError, ValueError, OverflowError):
        raise InvalidArgument(f"{field.name} cannot be {value!r}: it is {_KINDS.get(field.cpp_type, 'a whole number')}.") from None


def _is_list(value: Any) -> bool:
    # A field's descriptor says it under another name in protobuf 5 than in 7.
    return hasattr(value, "extend")


def _number(enum: Any, name: str, value: SettingValue) -> int:
    numbers = {enum_name(enum, v.number): v.number for v in enum.values if v.number}
    if value not in numbers:
        raise InvalidArgument(f"{value!r} is not a {name}: use one of {', '.join(numbers)}.")
    return int(numbers[str(value)])


_KINDS = {
    FieldDescriptor.CPPTYPE_STRING: "a text",
    FieldDescriptor.CPPTYPE_BOOL: "true or false",
    FieldDescriptor.CPPTYPE_UINT32: "a whole number, 0 or more",
    FieldDescriptor.CPPTYPE_DOUBLE: "a number",
    FieldDescriptor.CPPTYPE_MESSAGE: "a time, such as 90s, 10m or 1h30m",
}


_BOOLS = {"true": True, "false": False}


def _scalar(field: Any, value: SettingValue) -> str | bool | int | float:
    text = str(value)
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING:
            return text
        case FieldDescriptor.CPPTYPE_DOUBLE:
            return float(text)
        case FieldDescriptor.CPPTYPE_BOOL if text.lower() in _BOOLS:
            return _BOOLS[text.lower()]
        case FieldDescriptor.CPPTYPE_BOOL:
            raise ValueError(text)
    return int(text)


def parse_duration(text: str) -> timedelta:
    """Returns the time that `90`, `90s`, `10m`, `1h30m` or `90d` says; a bare number is seconds.

    Raises:
        ValueError: it says none.
    """
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        return _timedelta(seconds=float(text))
    match = re.fullmatch(r"(?:([0-9]+)d)?(?:([0-9]+)h)?(?:([0-9]+)m)?(?:([0-9]+(?:\.[0-9]+)?)s)?", text)
    if not text or match is None:
        raise ValueError(f"{text!r} is not a time: write 90s, 10m, 1h30m or 90d.")
    days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return _timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def format_duration(time: timedelta) -> str:
    """Returns a time as `parse_duration` reads it: `1h30m`, or `0.5s`."""
    minutes, rest = divmod(time, timedelta(minutes=1))
    hours, minutes = divmod(minutes, 60)
    seconds = f"{rest.seconds}.{rest.microseconds:06d}".rstrip("0").rstrip(".")
    parts = ((f"{hours}", "h"), (f"{minutes}", "m"), (seconds, "s"))
    return "".join(f"{value}{unit}" for value, unit in parts if value != "0") or "0s"


def _timedelta(**parts: float) -> timedelta:
    try:
        return timedelta(**parts)
    except OverflowError:
        raise ValueError("The time is longer than any job may take.") from None


def settings(spec: training_spec_pb2.TrainingSpec) -> dict[str, SettingValue]:
    """Returns what is set in a specification, in the form that `training_spec` reads."""
    values: dict[str, SettingValue] = {}
    for field, value in spec.ListFields():
        if _is_list(value):
            values[field.name] = ",".join(enum_name(field.enum_type, number) for number in value)
        elif field.enum_type is not None:
            values[field.name] = enum_name(field.enum_type, value)
        else:
            values[field.name] = value.ToTimedelta() if field.message_type is not None else value
    return values


def enum_name(enum: Any, number: int) -> str:
    """Returns the short name of an enum's value: `JOB_STATE_RUNNING` is `running`; an unknown one is `unspecified`."""
    names = enum.values_by_number
    prefix = names[0].name.removesuffix("UNSPECIFIED")
    name: str = names[number if number in names else 0].name
    return name.removeprefix(prefix).lower()
