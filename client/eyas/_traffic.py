"""What becomes of the requests for a model's alias `production`: the client's values, and the messages they come from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from eyas import _convert
from eyas.v1 import traffic_pb2


@dataclass(frozen=True, slots=True)
class Canary:
    """A version that answers a share of the requests.

    Attributes:
        target: a version or an alias of the model, as `NAME/VERSION` or `NAME@ALIAS`.
        percent: its share, 0.01..100.
        max_error_rate: share of failed requests, 0..1, above which it is rolled back if production fails less; None is the default.
        max_latency_ratio: latency as a multiple of production's above which it is rolled back; None is the default.
        min_requests: that it must have had before it is judged; None is the default.
        version: the version that the target leads to; None where it leads nowhere, or in a record of the past.
        stopped: why the server that answered has taken it off although it could not say so in the repository; "" where it has not.
    """

    target: str
    percent: float
    max_error_rate: float | None = None
    max_latency_ratio: float | None = None
    min_requests: int | None = None
    version: str | None = None
    stopped: str = ""


@dataclass(frozen=True, slots=True)
class Shadow:
    """A version that sees `percent` of the requests once they are answered; the fields are those of `Canary`."""

    target: str
    percent: float
    version: str | None = None


@dataclass(frozen=True, slots=True)
class Traffic:
    """A model's canary and shadow, each None where there is none.

    Attributes:
        record: number of this record in the history; 0 where the model never had either.
        update_time: when it was set; None likewise.
        actor: who set it; `eyasd` where a canary was rolled back or promoted.
        reason: why; of a canary that was rolled back, what was found.
    """

    model: str
    canary: Canary | None
    shadow: Shadow | None
    record: int
    update_time: datetime | None
    actor: str
    reason: str


def traffic(message: traffic_pb2.Traffic) -> Traffic:
    """Returns the value."""
    canary, shadow = message.canary, message.shadow
    return Traffic(
        model=_convert.short(message.name.removesuffix("/traffic")),
        canary=Canary(
            _convert.short(canary.target),
            canary.percent,
            canary.max_error_rate,
            canary.max_latency_ratio,
            canary.min_requests,
            _convert.short(canary.version) or None,
            canary.stopped,
        )
        if message.HasField("canary")
        else None,
        shadow=Shadow(_convert.short(shadow.target), shadow.percent, _convert.short(shadow.version) or None)
        if message.HasField("shadow")
        else None,
        record=message.record,
        update_time=message.update_time.ToDatetime(UTC) if message.HasField("update_time") else None,
        actor=message.actor,
        reason=message.reason,
    )


def traffic_message(model: str, canary: Canary | None, shadow: Shadow | None) -> traffic_pb2.Traffic:
    """Returns the message that asks for a canary and a shadow."""
    message = traffic_pb2.Traffic(name=f"{_convert.model_resource(model)}/traffic")
    if canary is not None:
        message.canary.CopyFrom(
            traffic_pb2.Canary(
                target=_convert.reference_resource(canary.target),
                percent=canary.percent,
                max_error_rate=canary.max_error_rate,
                max_latency_ratio=canary.max_latency_ratio,
                min_requests=canary.min_requests,
            )
        )
    if shadow is not None:
        message.shadow.CopyFrom(traffic_pb2.Shadow(target=_convert.reference_resource(shadow.target), percent=shadow.percent))
    return message
