"""The nouns of an answer: the labels of each picture, and where the time went.

Most are named tuples: a frozen dataclass takes twice as long to make, and each request makes a few.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eyasd.core.errors import UndecodableImage
from eyasd.core.unknown import Unknown


class Prediction(NamedTuple):
    """A label, its class index, its calibrated probability, 0..1, and whether it applies: by its threshold, or as the likeliest."""

    label: str
    class_index: int
    probability: float
    applies: bool


class Timing(NamedTuple):
    """How long one picture, or the slowest of several, took in each stage, in seconds."""

    preprocessing: float = 0.0
    queue: float = 0.0
    inference: float = 0.0

    def longest(self, other: Timing) -> Timing:
        """Returns the longer of the two, stage by stage."""
        return Timing(
            max(self.preprocessing, other.preprocessing), max(self.queue, other.queue), max(self.inference, other.inference)
        )


@dataclass(frozen=True, slots=True)
class Labelled:
    """What is said of one picture.

    Attributes:
        predictions: the most probable labels first.
        probabilities: float32 [C], of every label, in order of class index.
        unknown: why none of them applies; None where the picture is not unknown, or must not be.
        ood_score: larger = less like the training pictures; None where the version does not compute it.
        explanation: the picture with the class-activation map of the first prediction over it, a PNG file; None where nobody asked.
        prediction_id: by which the caller can say later what would have been right; "" where answers have none.
    """

    predictions: tuple[Prediction, ...]
    probabilities: NDArray[np.float32] = field(compare=False, repr=False)
    unknown: Unknown | None = None
    ood_score: float | None = None
    explanation: bytes | None = None
    prediction_id: str = ""


class Classified(NamedTuple):
    """The answer to one request.

    Attributes:
        results: one a picture, in order: its labels, or why there are none.
        timing: the longest of each stage.
        multi_label: whether any number of labels may apply to a picture.
    """

    model: str
    version: int
    results: tuple[Labelled | UndecodableImage, ...]
    timing: Timing
    multi_label: bool
