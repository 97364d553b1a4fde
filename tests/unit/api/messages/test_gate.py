"""A verdict comes to a caller as the training gave it."""

from __future__ import annotations

import pytest

from eyas import _gate
from eyasd.api.messages.gate import gate_message
from eyasd.core.comparison import Pairs
from eyasd.core.gate import judge_regression
from eyasd.core.names import ModelRef


@pytest.mark.parametrize("captured", [Pairs(30, 2, 15, 13), Pairs(0, 0, 0, 0)])
def test_a_verdict_survives_the_trip(captured: Pairs) -> None:
    told = judge_regression(ModelRef("clothing", version=3), 140, Pairs(90, 3, 4, 3), captured)
    message = gate_message(told)
    assert message.base_version == "models/clothing/versions/3"
    gate = _gate.gate(message, "clothing/3")
    assert (gate.passed, gate.added_count, gate.base_version) == (told.passed, 140, "clothing/3")
    for part, had in ((gate.test, told.test), (gate.captured, told.captured)):
        pairs = had.pairs
        assert (part.both_right, part.only_base_right, part.only_new_right, part.both_wrong) == (
            *(pairs.both, pairs.first),
            *(pairs.second, pairs.neither),
        )
        assert (part.base_accuracy, part.new_accuracy) == pairs.accuracies
        assert (part.difference.low, part.difference.high) == pairs.interval
        assert (part.met, part.finding) == (had.finding.met, had.finding.sentence)
