"""When a version calls a picture unknown: the rules that its manifest holds, and what they say of one picture."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

# The threshold of a label whose answers are never relied on: no probability reaches it.
NEVER: Final = 2.0


class UnknownReason(StrEnum):
    """Why a picture is unknown."""

    OUT_OF_DISTRIBUTION = "out_of_distribution"
    LOW_CONFIDENCE = "low_confidence"


@dataclass(frozen=True, slots=True)
class Unknown:
    """Why no label of a picture is to be relied on.

    Attributes:
        reason: the rule that the picture broke.
        score: its score, or the probability of its most probable label.
        threshold: the most the score may be, or the least the probability.
        share: of known pictures within the threshold; or the precision of answers that reach it.
    """

    reason: UnknownReason
    score: float
    threshold: float
    share: float


@dataclass(frozen=True, slots=True)
class DistributionRule:
    """A bound of the score `ood_score` that the network computes, larger = less like the training pictures.

    Attributes:
        method: how it is computed, for people.
        threshold: the score above which a picture is unknown.
        known_share: share of the validation pictures within it, 0..1.
        refused: share of the test pictures above it, 0..1; None until they were scored.
    """

    method: str
    threshold: float
    known_share: float
    refused: float | None = None


@dataclass(frozen=True, slots=True)
class ConfidenceRule:
    """Bounds of the probability of a picture's most probable label.

    Attributes:
        min_precision: what was asked for, 0..1.
        thresholds: of each label the least probability, in order of class index; NEVER where its answers never have the precision.
    """

    min_precision: float
    thresholds: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class UnknownRules:
    """The rules of a version; at least one is there."""

    distribution: DistributionRule | None = None
    confidence: ConfidenceRule | None = None

    def verdict(self, label: int, probability: float, ood_score: float | None) -> Unknown | None:
        """Returns why a picture is unknown; None where it is not.

        Args:
            label: class index of its most probable label.
            probability: of that label, 0..1.
            ood_score: larger = less like the training pictures; None where the network does not compute it.
        """
        rule = self.distribution
        if rule and ood_score is not None and not ood_score <= rule.threshold:  # the form that NaN fails, too
            return Unknown(UnknownReason.OUT_OF_DISTRIBUTION, ood_score, rule.threshold, rule.known_share)
        if self.confidence and probability < (threshold := self.confidence.thresholds[label]):
            return Unknown(UnknownReason.LOW_CONFIDENCE, probability, threshold, self.confidence.min_precision)
        return None
