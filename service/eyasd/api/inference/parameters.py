"""Parameters of requests and of their tensors -> values. Pure. Those that nobody here asks for are ignored."""

from __future__ import annotations

from typing import Final

from eyasd.api.asking import check_routing_key
from eyasd.api.inference.messages import Message
from eyasd.core.errors import InvalidArgument
from eyasd.serving.question import Priority

# Triton counts priorities from 1, the first to go; 0 is the default.
LEVELS: Final = 3
DEFAULT_LEVEL: Final = 2


def timeout_seconds(request: Message, remaining_seconds: float | None, default_seconds: float) -> float:
    """Returns how long the request may take: the shorter of its parameter `timeout` and of what is left of the call's deadline.

    Args:
        request: with `timeout` in microseconds, or 0 or none at all.
        remaining_seconds: of the call; None where it has no deadline.
        default_seconds: where there is neither.

    Raises:
        InvalidArgument: `timeout` is no such number.
    """
    limits = [] if remaining_seconds is None else [remaining_seconds]
    if microseconds := whole_number(request.parameters, "timeout", "parameters"):
        limits.append(microseconds / 1e6)
    return min(limits, default=default_seconds)


def priority(request: Message) -> Priority:
    """Returns who goes first: 1 is high, 2 normal, more is low.

    Raises:
        InvalidArgument: `priority` is no such number.
    """
    level = whole_number(request.parameters, "priority", "parameters") or DEFAULT_LEVEL
    return (Priority.HIGH, Priority.NORMAL, Priority.LOW)[min(level, LEVELS) - 1]


def routing_key(request: Message) -> str:
    """Returns whose requests a canary's version keeps together; "" where the request does not say.

    Raises:
        InvalidArgument: `routing_key` is no text, or too long a one.
    """
    if "routing_key" not in request.parameters:
        return ""
    parameter = request.parameters["routing_key"]
    if parameter.WhichOneof("parameter_choice") != "string_param":
        raise InvalidArgument(
            "parameters['routing_key']", f"The parameter 'routing_key' is {_shown(parameter)}; it must be a text."
        )
    return check_routing_key(parameter.string_param)


def whole_number(parameters: Message, name: str, field: str) -> int:
    """Returns a parameter that is 0 or more; one that is not there is 0.

    Raises:
        InvalidArgument: it is less, or no whole number.
    """
    if name not in parameters:
        return 0
    parameter = parameters[name]
    kind = parameter.WhichOneof("parameter_choice")
    value = getattr(parameter, kind) if kind in {"int64_param", "uint64_param"} else None
    if value is None or value < 0:
        raise InvalidArgument(
            f"{field}[{name!r}]", f"The parameter {name!r} is {_shown(parameter)}; it must be a whole number of 0 or more."
        )
    return int(value)


def _shown(parameter: Message) -> str:
    kind = parameter.WhichOneof("parameter_choice")
    return "nothing" if kind is None else repr(getattr(parameter, kind))[:80]
