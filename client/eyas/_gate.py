"""How a version that was trained on captured pictures, too, did beside the one it started from: what a caller holds."""

from __future__ import annotations

from dataclasses import dataclass

from eyas._evaluation import Interval, interval
from eyas.v1 import gate_pb2


@dataclass(frozen=True, slots=True)
class GatePart:
    """How the two did on some pictures that neither was made with; the fields are those of `eyas.v1.GatePart`.

    Attributes:
        met: whether what is demanded holds.
        finding: what was found, for a person.
        difference: the 95 % interval of the new accuracy less the base's.
    """

    met: bool
    finding: str
    both_right: int
    only_base_right: int
    only_new_right: int
    both_wrong: int
    base_accuracy: float
    new_accuracy: float
    difference: Interval


@dataclass(frozen=True, slots=True)
class RegressionGate:
    """Whether a version may take the place of the one that it started from; an alias moves by itself only if it may.

    Attributes:
        base_version: the version that it was compared with, such as `clothing/3`.
        passed: whether both parts are met.
        added_count: how many captured pictures had a part in the training.
        test: of the base's test split, on which it must not be significantly worse.
        captured: of captured pictures that were held out, on which it must be significantly better.
    """

    base_version: str
    passed: bool
    added_count: int
    test: GatePart
    captured: GatePart


def gate(message: gate_pb2.RegressionGate, base_version: str) -> RegressionGate:
    """Returns the value; `base_version` is the short name of the version it was compared with."""
    return RegressionGate(base_version, message.passed, message.added_count, _part(message.test), _part(message.captured))


def _part(message: gate_pb2.GatePart) -> GatePart:
    return GatePart(
        met=message.met,
        finding=message.finding,
        both_right=message.both_right,
        only_base_right=message.only_base_right,
        only_new_right=message.only_new_right,
        both_wrong=message.both_wrong,
        base_accuracy=message.base_accuracy,
        new_accuracy=message.new_accuracy,
        difference=interval(message.difference),
    )
