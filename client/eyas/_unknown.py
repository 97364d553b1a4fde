"""When and why a picture is unknown: the values, and what the contract's messages of them mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from eyas.v1 import classification_service_pb2, model_pb2


class UnknownReason(StrEnum):
    """Why a picture is unknown: it is unlike the training pictures, or its most probable label is not probable enough."""

    UNSPECIFIED = "unspecified"
    OUT_OF_DISTRIBUTION = "out_of_distribution"
    LOW_CONFIDENCE = "low_confidence"


@dataclass(frozen=True, slots=True)
class Unknown:
    """Why no label of a picture is to be relied on.

    Attributes:
        reason: the rule of the version that it broke.
        score: its `ood_score`, or the probability of its most probable label.
        threshold: the most the score may be, or the least the probability; above 1 where no answer of the label is relied on.
        share: of known pictures whose score is within the threshold; or the precision of answers whose probability reaches it.
    """

    reason: UnknownReason
    score: float
    threshold: float
    share: float


@dataclass(frozen=True, slots=True)
class DistributionRule:
    """A bound of `ood_score`.

    Attributes:
        method: how the score is computed.
        threshold: the score above which a picture is unknown.
        known_share: share of the validation pictures within it, 0..1.
        refused: share of the test pictures above it, 0..1.
    """

    method: str
    threshold: float
    known_share: float
    refused: float


@dataclass(frozen=True, slots=True)
class ConfidenceRule:
    """Bounds of the probability of a picture's most probable label.

    Attributes:
        min_precision: what the training was asked for, 0..1.
        thresholds: the least probability of each label; above 1 where its answers never have the precision.
    """

    min_precision: float
    thresholds: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class UnknownRules:
    """When a version calls a picture unknown; None is a rule that it does not have."""

    distribution: DistributionRule | None = None
    confidence: ConfidenceRule | None = None


_REASONS = {
    classification_service_pb2.UNKNOWN_REASON_OUT_OF_DISTRIBUTION: UnknownReason.OUT_OF_DISTRIBUTION,
    classification_service_pb2.UNKNOWN_REASON_LOW_CONFIDENCE: UnknownReason.LOW_CONFIDENCE,
}


def unknown(message: classification_service_pb2.Unknown) -> Unknown:
    """Returns the value."""
    return Unknown(_REASONS.get(message.reason, UnknownReason.UNSPECIFIED), message.score, message.threshold, message.share)


def unknown_rules(message: model_pb2.UnknownRules) -> UnknownRules:
    """Returns the value."""
    distribution, confidence = message.distribution, message.confidence
    thresholds = {row.label: row.threshold for row in confidence.thresholds}
    return UnknownRules(
        DistributionRule(distribution.method, distribution.threshold, distribution.known_share, distribution.refused)
        if message.HasField("distribution")
        else None,
        ConfidenceRule(confidence.min_precision, thresholds) if message.HasField("confidence") else None,
    )
