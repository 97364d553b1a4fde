"""Whether a picture that was answered is worth keeping: why, and how much. Pure.

How much it is worth is a number of 0..999, whose hundreds are the reason: what was wrong teaches more than what was doubtful, and
what comes by chance is there for balance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray

from eyasd.core.capture import CapturePolicy, CaptureReason
from eyasd.core.captured import MAX_PREDICTIONS, CapturedPrediction, Sighting
from eyasd.core.unknown import UnknownReason
from eyasd.serving.question import Picture
from eyasd.serving.seen import Seen

_WORTH: Final[Mapping[CaptureReason, int]] = {
    CaptureReason.WRONG: 900,
    CaptureReason.SHADOW: 700,
    CaptureReason.DRIFT: 600,
    CaptureReason.LOW_MARGIN: 400,
    CaptureReason.SAMPLE: 100,
}

# Up to so many probabilities are sorted in less time than numpy takes to begin.
_FEW: Final = 32


@dataclass(slots=True)
class Candidate:
    """A picture that may be kept.

    Attributes:
        model: whose version answered.
        version: that answered.
        picture: as the caller sent it.
        time: when it was answered, UTC.
        prediction: nonce of its prediction id, hexadecimal; "" where it has none.
        labels: of the version, in order of class index.
        thresholds: of each label; None unless the version is multi-label.
        probabilities: float32 [C].
        ood_score: larger = less like the training pictures; None where the version does not compute it.
        reasons: why it is worth keeping; none yet of one that is only remembered.
        worth: 0..999.
        shadow_label: what the shadow called it, where that was another label.
    """

    model: str
    version: int
    picture: Picture
    time: datetime
    prediction: str
    labels: tuple[str, ...]
    thresholds: tuple[float, ...] | None
    probabilities: NDArray[np.float32]
    ood_score: float | None
    reasons: tuple[CaptureReason, ...] = ()
    worth: int = 0
    shadow_label: str | None = None

    @property
    def size_bytes(self) -> int:
        """How much memory its picture takes."""
        return len(self.picture) if isinstance(self.picture, bytes) else self.picture.nbytes

    def give(self, reason: CaptureReason, degree: float) -> None:
        """Adds a reason, and how strong it is, 0..1."""
        self.reasons = (*self.reasons, reason)
        self.worth = max(self.worth, worth_of(reason, degree))

    def sighting(self, digest: str) -> Sighting:
        """Returns what is written down of it; `digest` is what near copies share."""
        order = np.argsort(-self.probabilities, kind="stable")[:MAX_PREDICTIONS]
        best = tuple(CapturedPrediction(self.labels[i], round(float(self.probabilities[i]), 6)) for i in order)
        return Sighting(
            version=self.version,
            time=self.time,
            reasons=self.reasons,
            worth=self.worth,
            predictions=best,
            confidence=best[0].probability,
            margin=round(margin(self.probabilities, self.thresholds), 6),
            ood_score=self.ood_score,
            shadow_label=self.shadow_label,
            prediction=self.prediction,
            digest=digest,
        )


def candidate(seen: Seen, time: datetime, prediction: str) -> Candidate:
    """Returns a picture that was answered as one that may be kept, without a reason yet."""
    manifest, said = seen.loaded.manifest, seen.said
    return Candidate(
        seen.loaded.model,
        seen.loaded.version,
        seen.picture,
        time,
        prediction,
        manifest.labels,
        manifest.thresholds,
        said.probabilities.copy(),  # a row would keep its whole batch
        said.ood_score,
    )


def found(seen: Seen, policy: CapturePolicy, drawn: float, unusual: float) -> list[tuple[CaptureReason, float]]:
    """Returns why a picture is worth keeping by what was said of it, and how strong each reason is, 0..1.

    Args:
        seen: the picture.
        policy: of its model.
        drawn: by chance, 0..100.
        unusual: how unlike the training pictures it is, 0..1; 0 is as most are.
    """
    reasons = []
    wanted = policy.reasons
    if CaptureReason.DRIFT in wanted and (degree := max(unusual, _outside(seen))):
        reasons.append((CaptureReason.DRIFT, degree))
    if CaptureReason.LOW_MARGIN in wanted and policy.max_margin > 0:
        thresholds = seen.loaded.manifest.thresholds
        best = seen.labelled.predictions[0].probability
        # Of probabilities that add up to 1 the second is at most the rest, which spares most pictures the look at all of them.
        if thresholds is not None or 2 * best - 1 < policy.max_margin:
            lead = margin(seen.said.probabilities, thresholds)
            if lead < policy.max_margin:
                reasons.append((CaptureReason.LOW_MARGIN, 1 - lead / policy.max_margin))
    if CaptureReason.SAMPLE in wanted and drawn < policy.percent:
        reasons.append((CaptureReason.SAMPLE, 0.0))
    return reasons


def margin(probabilities: NDArray[np.float32], thresholds: tuple[float, ...] | None) -> float:
    """Returns by how much the most probable label leads, or of a multi-label answer how close the closest is to its threshold.

    Args:
        probabilities: float32 [C].
        thresholds: C of them; None unless the version is multi-label.
    """
    if thresholds is not None:
        return float(np.abs(probabilities - np.array(thresholds, np.float32)).min())
    if len(probabilities) < 2:
        return 1.0
    if len(probabilities) <= _FEW:
        *_, second, first = sorted(probabilities.tolist())
        return float(first - second)
    second, first = np.partition(probabilities, -2)[-2:]
    return float(first - second)


def worth_of(reason: CaptureReason, degree: float) -> int:
    """Returns how much a picture is worth for a reason of a strength of 0..1."""
    return _WORTH[reason] + int(99 * min(max(degree, 0.0), 1.0))


def _outside(seen: Seen) -> float:
    """Returns how far a picture is beyond what its version's own rule calls known, 0..1; 0 is within."""
    rules, score = seen.loaded.manifest.unknown, seen.said.ood_score
    if rules is None or rules.distribution is None or score is None:
        return 0.0
    best = seen.labelled.predictions[0]
    verdict = rules.verdict(best.class_index, best.probability, score)
    if verdict is None or verdict.reason is not UnknownReason.OUT_OF_DISTRIBUTION:
        return 0.0
    beyond = (verdict.score - verdict.threshold) / (abs(verdict.threshold) or 1.0)
    return min(1.0, max(0.01, beyond)) if beyond == beyond else 1.0  # noqa: PLR0124 - a score that is no number is as far as can be
