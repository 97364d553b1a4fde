"""What is taken down of a change: who, from where, and what its request says, but for content, credentials and callers' paths."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Final

from google.protobuf.message import Message

from eyasd.api.gate import caller
from eyasd.telemetry.redaction import place, redacted, without_credentials

_MOST_LISTED: Final = 32
_MOST_CHARACTERS: Final = 200
_MOST_DEPTH: Final = 4


def record(method: str, peer: str, says: str, request_id: str, request: Message | None) -> Mapping[str, Any]:
    """Returns what is taken down of a change by `caller`, but how it ended.

    Args:
        method: its name.
        peer: the address he calls from.
        says: what he calls himself, which nobody has checked; "" is nothing.
        request_id: by which the log has the call.
        request: told but for its content, and without credentials and callers' paths; None where it is a stream.
    """
    identity = caller().identity
    return {
        "who": identity.name or identity.kind.value,
        "by": identity.kind.value,
        **({"says": redacted(says[:_MOST_CHARACTERS])} if says else {}),
        "peer": peer,
        "method": method,
        "request_id": request_id,
        "what": _fields(request, _MOST_DEPTH) if request is not None else {},
    }


def _fields(message: Any, depth: int) -> dict[str, Any]:
    told = {}
    for field, value in message.ListFields():
        listed = not isinstance(value, str | bytes) and hasattr(value, "extend")
        if field.type == field.TYPE_BYTES:
            continue
        told[field.name] = _list(field, value, depth) if listed else _value(field, value, depth)
    return told


def _list(field: Any, values: Iterable[Any], depth: int) -> list[Any]:
    several = list(values)
    more = [f"and {len(several) - _MOST_LISTED} more"] if len(several) > _MOST_LISTED else []
    return [_value(field, value, depth) for value in several[:_MOST_LISTED]] + more


def _value(field: Any, value: Any, depth: int) -> Any:
    if isinstance(value, str):
        told = value[:_MOST_CHARACTERS]
        return redacted(told) if " " in told else without_credentials(place(told))
    if isinstance(value, Message):
        if hasattr(value, "ToJsonString"):
            with suppress(ValueError, OverflowError):  # what is no time is told as it came, and refused later
                return value.ToJsonString()
        return _fields(value, depth - 1) if depth > 1 else "..."
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return known.name if known is not None else value
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # which JSON has no number for
    return value
