"""Canary and shadow of a model <-> messages of the contract."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from eyas.v1 import traffic_pb2
from eyasd.core.errors import InvalidArgument
from eyasd.core.names import PRODUCTION, ModelRef, alias_name, model_name, parse_model_ref, version_name
from eyasd.core.traffic import Bounds, Canary, Shadow, TrafficRecord

# One bucket of `serving.traffic.routing`; less would be none.
_LEAST_PERCENT: Final = 0.01
_BOUNDS: Final = {"max_error_rate": (0, 1), "max_latency_ratio": (1, 1000), "min_requests": (10, 100_000)}


def traffic_message(
    model: str, record: TrafficRecord | None, version_of: Callable[[ModelRef], int | None] = lambda _: None, stopped: str = ""
) -> traffic_pb2.Traffic:
    """Returns the message.

    Args:
        model: whose traffic it is.
        record: None where it never had a canary or a shadow.
        version_of: where a target leads now; None where it is not told, or leads nowhere any more.
        stopped: why this server has taken the canary off by itself; "" where it has not.
    """
    message = traffic_pb2.Traffic(name=f"{model_name(model)}/traffic")
    if record is None:
        return message
    message.record, message.actor, message.reason = record.record, record.actor, record.reason
    message.update_time.FromDatetime(record.time)
    if record.canary:
        canary, bounds = record.canary, record.canary.bounds
        message.canary.target, message.canary.percent, message.canary.stopped = _name(canary.target), canary.percent, stopped
        message.canary.max_error_rate = bounds.max_error_rate
        message.canary.max_latency_ratio = bounds.max_latency_ratio
        message.canary.min_requests = bounds.min_requests
    if record.shadow:
        message.shadow.target, message.shadow.percent = _name(record.shadow.target), record.shadow.percent
    for part, field in ((record.canary, message.canary), (record.shadow, message.shadow)):
        version = version_of(part.target) if part else None
        if version is not None:
            field.version = version_name(model, version)
    return message


def canary_of(model: str, message: traffic_pb2.Traffic) -> Canary | None:
    """Returns the canary that a caller asks for. Raises InvalidArgument."""
    if not message.HasField("canary"):
        return None
    asked = message.canary
    given = {name: getattr(asked, name) for name in _BOUNDS if asked.HasField(name)}
    for name, value in given.items():
        low, high = _BOUNDS[name]
        if not low <= value <= high:  # so that NaN fails
            raise InvalidArgument(f"traffic.canary.{name}", f"{name} is {value:g}; it must lie within {low:,} to {high:,}.")
    return Canary(_target(model, asked.target, "canary"), _percent(asked.percent, "canary"), Bounds(**given))


def shadow_of(model: str, message: traffic_pb2.Traffic) -> Shadow | None:
    """Returns the shadow that a caller asks for. Raises InvalidArgument."""
    if not message.HasField("shadow"):
        return None
    return Shadow(_target(model, message.shadow.target, "shadow"), _percent(message.shadow.percent, "shadow"))


def _target(model: str, name: str, part: str) -> ModelRef:
    ref = parse_model_ref(name, f"traffic.{part}.target")
    if ref.model != model:
        raise InvalidArgument(
            f"traffic.{part}.target", f"{name[:200]!r} is not of {model!r}: a {part} is a version of the same model."
        )
    if ref.alias == PRODUCTION:
        raise InvalidArgument(
            f"traffic.{part}.target", f"A {part} is beside production, so it cannot be production: name a version or another alias."
        )
    return ref


def _percent(percent: float, part: str) -> float:
    if not _LEAST_PERCENT <= percent <= 100:
        raise InvalidArgument(f"traffic.{part}.percent", f"percent is {percent:g}; it must lie within {_LEAST_PERCENT:g} to 100.")
    return percent


def _name(ref: ModelRef) -> str:
    return alias_name(ref.model, ref.alias) if ref.alias is not None else version_name(ref.model, ref.version or 0)
