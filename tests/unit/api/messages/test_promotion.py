"""Policies survive the way over the wire, and what no version could meet is refused with a sentence."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from eyas.v1 import model_pb2
from eyasd.api.messages.promotion import policy_message, policy_of
from eyasd.core.errors import InvalidArgument
from eyasd.core.promotion import Policy, PolicyRecord
from eyasd.core.variants import Precision

POLICY = Policy(
    aliases=("production", "stable"),
    at_least={"accuracy": 0.9, "calibration_examples": 30.0},
    at_most={"log_loss": 1.5},
    max_label_drop=0.0,
    required_variants=(Precision.INT8,),
    no_significant_loss=True,
)


def test_a_policy_comes_back_as_it_was_sent() -> None:
    message = policy_message("colours", PolicyRecord(3, POLICY, datetime(2026, 11, 25, tzinfo=UTC), "ann"))
    assert (message.name, message.record, message.actor) == ("models/colours/policy", 3, "ann")
    assert message.update_time.ToDatetime(UTC) == datetime(2026, 11, 25, tzinfo=UTC)
    assert policy_of(message) == POLICY


def test_no_policy_demands_nothing_of_production() -> None:
    message = policy_message("colours", None)
    assert message.record == 0
    assert policy_of(message) == policy_of(model_pb2.Policy()) == Policy(aliases=("production",), at_least={}, at_most={})


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"aliases": ["Prod"]}, "'Prod' is not a name for an alias"),
        ({"bounds": [{"figure": "acuracy", "at_least": 0.9}]}, "'acuracy' is no figure of a version: did you mean accuracy?"),
        ({"bounds": [{"figure": "speed", "at_least": 0.9}]}, "'speed' is no figure of a version: the figures are accuracy, "),
        ({"bounds": [{"figure": "accuracy", "at_least": 95}]}, "at_least of accuracy is 95; it must be within 0 to 1."),
        (
            {"bounds": [{"figure": "calibration_examples", "at_least": -1}]},
            "at_least of calibration_examples is -1; it must be 0 or",
        ),
        ({"bounds": [{"figure": "log_loss", "at_most": -1}]}, "at_most of log_loss is -1; it must be 0 or more."),
        ({"bounds": [{"figure": "log_loss", "at_most": float("nan")}]}, "at_most of log_loss is nan"),
        ({"bounds": [{"figure": "macro_f1", "at_least": 0.9, "at_most": 0.8}]}, "No macro_f1 is at least 0.9 and at most 0.8."),
        ({"bounds": 2 * [{"figure": "macro_f1", "at_least": 0.9}]}, "macro_f1 is bounded twice"),
        ({"bounds": 101 * [{"figure": "macro_f1"}]}, "The policy has 101 bounds; at most 100 are allowed."),
        ({"required_variants": [1]}, "Every version is there in fp32: demand fp16 or int8."),
        ({"required_variants": [7]}, "7 is not a precision: use one of fp32, fp16, int8."),
        ({"max_label_drop": 5}, "max_label_drop is 5; it must lie within 0 to 1."),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        policy_of(model_pb2.Policy(**fields))
    assert caught.value.message.startswith(sentence)
