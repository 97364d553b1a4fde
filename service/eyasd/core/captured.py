"""A picture of production that was kept to learn from, and what is known of it.

Everything that is written down of one is written once: that it was seen, and each time that somebody named its labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from eyasd.core.capture import CaptureReason

# Of a picture's predictions so many are kept, the most probable.
MAX_PREDICTIONS: Final = 5


class LabelSource(StrEnum):
    """Who named the labels of a picture: a person who looked at it, or a caller who learnt what was right."""

    PERSON = "person"
    FEEDBACK = "feedback"


@dataclass(frozen=True, slots=True)
class CapturedPrediction:
    """A label, and its calibrated probability, 0..1."""

    label: str
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """That a picture was answered, and why it is kept.

    Attributes:
        version: of the model, that answered.
        time: when, UTC.
        reasons: why, at least one.
        worth: how instructive it is, 0..999; larger is kept rather.
        predictions: the most probable labels first, at most `MAX_PREDICTIONS`.
        confidence: probability of the first.
        margin: by how much the first label leads, or of a multi-label model how close the closest label is to its threshold, 0..1.
        ood_score: larger = less like the training pictures; None where the version does not compute it.
        shadow_label: what the shadow called it, where that was another label.
        prediction: names the answer among those of the model, 16 hexadecimal digits, so that feedback finds it; "" where none is
            known.
        digest: what near copies share, 64 hexadecimal digits, see `core.likeness`; "" where it has no contrast.
    """

    version: int
    time: datetime
    reasons: tuple[CaptureReason, ...]
    worth: int
    predictions: tuple[CapturedPrediction, ...]
    confidence: float
    margin: float
    ood_score: float | None = None
    shadow_label: str | None = None
    prediction: str = ""
    digest: str = ""


@dataclass(frozen=True, slots=True)
class GivenLabels:
    """That somebody named a picture's labels.

    Attributes:
        labels: sorted; one, unless the model is multi-label.
        time: when, UTC.
        source: who.
        actor: the person, as the server knows callers; "" for feedback, whose callers are not noted.
    """

    labels: tuple[str, ...]
    time: datetime
    source: LabelSource
    actor: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturedPicture:
    """A picture that is kept.

    Attributes:
        id: the first 24 hexadecimal digits of the SHA-256 of its file.
        model: whose version answered.
        size_bytes: of its file.
        sightings: at least one, oldest first.
        given: every naming of its labels, oldest first.
    """

    id: str
    model: str
    size_bytes: int
    sightings: tuple[Sighting, ...]
    given: tuple[GivenLabels, ...] = ()

    @property
    def first(self) -> Sighting:
        """When it was seen for the first time."""
        return self.sightings[0]

    @property
    def version(self) -> int:
        """The version that answered first."""
        return self.first.version

    @property
    def time(self) -> datetime:
        """When that was, UTC."""
        return self.first.time

    @property
    def reasons(self) -> tuple[CaptureReason, ...]:
        """Why it is kept, the most instructive first."""
        found = {reason for sighting in self.sightings for reason in sighting.reasons}
        return tuple(reason for reason in CaptureReason if reason in found)

    @property
    def worth(self) -> int:
        """How instructive it is, 0..999."""
        return max(sighting.worth for sighting in self.sightings)

    @property
    def labels(self) -> tuple[str, ...] | None:
        """The labels in force: the newest that a person named, else the newest by feedback; None where nobody has."""
        given = in_force(self.given)
        return given.labels if given else None


def in_force(given: Sequence[GivenLabels]) -> GivenLabels | None:
    """Returns which of the namings of a picture's labels, oldest first, holds; None where there is none.

    A person has seen the picture, so what he says is not undone by what a program reports later.
    """
    by_person = [one for one in given if one.source is LabelSource.PERSON]
    return next(reversed(by_person or list(given)), None)


class Outcome(StrEnum):
    """What became of a picture that was to be kept."""

    KEPT = "kept"
    DUPLICATE = "duplicate"
    NEAR_COPY = "near_copy"
    DELETED = "deleted"
    FULL = "full"
