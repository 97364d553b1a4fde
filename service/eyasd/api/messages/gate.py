"""The regression gate -> messages of the contract."""

from __future__ import annotations

from eyas.v1 import gate_pb2
from eyasd.api.messages.evaluation import interval
from eyasd.core.gate import Gate, Part
from eyasd.core.names import version_name


def gate_message(gate: Gate) -> gate_pb2.RegressionGate:
    """Returns the message."""
    return gate_pb2.RegressionGate(
        base_version=version_name(gate.base.model, gate.base.version or 0),
        passed=gate.passed,
        added_count=gate.added,
        test=_part(gate.test),
        captured=_part(gate.captured),
    )


def _part(part: Part) -> gate_pb2.GatePart:
    pairs = part.pairs
    before, after = pairs.accuracies
    return gate_pb2.GatePart(
        met=part.finding.met,
        finding=part.finding.sentence,
        both_right=pairs.both,
        only_base_right=pairs.first,
        only_new_right=pairs.second,
        both_wrong=pairs.neither,
        base_accuracy=before,
        new_accuracy=after,
        difference=interval(*pairs.interval),
    )
