"""Canary and shadow survive the way over the wire, and what makes no sense is refused with a sentence."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from eyas.v1 import traffic_pb2
from eyasd.api.messages.traffic import canary_of, shadow_of, traffic_message
from eyasd.core.errors import InvalidArgument
from eyasd.core.names import ModelRef
from eyasd.core.traffic import Bounds, Canary, Shadow, TrafficRecord

NOW = datetime(2026, 11, 25, tzinfo=UTC)
CANARY = Canary(ModelRef("colours", version=7), 0.01, Bounds(max_error_rate=0.0, max_latency_ratio=2.0, min_requests=10))
SHADOW = Shadow(ModelRef("colours", alias="next"), 100.0)


def test_a_record_comes_back_as_it_was_sent() -> None:
    message = traffic_message(
        "colours", TrafficRecord(3, CANARY, SHADOW, NOW, "ann", "try it"), lambda ref: ref.version, "too slow"
    )
    assert (canary_of("colours", message), shadow_of("colours", message)) == (CANARY, SHADOW)
    assert (message.name, message.record, message.actor, message.reason) == ("models/colours/traffic", 3, "ann", "try it")
    assert message.update_time.ToDatetime(UTC) == NOW
    assert (message.canary.version, message.shadow.version) == ("models/colours/versions/7", "")
    assert message.canary.stopped == "too slow"


def test_what_is_not_set_is_not_there() -> None:
    message = traffic_message("colours", None)
    assert (message.record, canary_of("colours", message), shadow_of("colours", message)) == (0, None, None)
    asked = traffic_pb2.Traffic(canary={"target": "models/colours/versions/7", "percent": 5})
    assert canary_of("colours", asked) == Canary(ModelRef("colours", version=7), 5.0, Bounds())


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"percent": 0}, "percent is 0; it must lie within 0.01 to 100."),
        ({"percent": 100.5}, "percent is 100.5; it must lie"),
        ({"percent": float("nan")}, "percent is nan"),
        ({"target": "7"}, "'7' does not name a model version"),
        ({"target": "models/other/versions/7"}, "'models/other/versions/7' is not of 'colours': a canary is a version of the same"),
        ({"target": "models/colours"}, "A canary is beside production, so it cannot be production"),
        ({"max_error_rate": 2}, "max_error_rate is 2; it must lie within 0 to 1."),
        ({"max_latency_ratio": 0.5}, "max_latency_ratio is 0.5; it must lie within 1 to 1,000."),
        ({"max_latency_ratio": float("nan")}, "max_latency_ratio is nan"),
        ({"min_requests": 1}, "min_requests is 1; it must lie within 10 to 100,000."),
    ],
)
def test_a_canary_that_makes_no_sense_is_refused(fields: dict[str, Any], sentence: str) -> None:
    asked = {"target": "models/colours/versions/7", "percent": 5} | fields
    with pytest.raises(InvalidArgument) as caught:
        canary_of("colours", traffic_pb2.Traffic(canary=asked))
    assert caught.value.message.startswith(sentence)
    assert caught.value.field == f"traffic.canary.{next(iter(fields))}"


def test_a_shadow_is_checked_likewise() -> None:
    with pytest.raises(InvalidArgument, match="percent is 0; it must lie"):
        shadow_of("colours", traffic_pb2.Traffic(shadow={"target": "models/colours/versions/7"}))
