"""What a version's pictures and answers are like: the reference that drift is seen against, and THE definition of each signal.

The training program measures the reference on pictures that nothing was fitted on, the server the same on those it answers, both by
the functions here. Knows values and bins; what differs by how much is for whoever compares the counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from math import floor
from typing import Final

import numpy as np
from numpy.typing import NDArray

from eyasd.core import jpeg
from eyasd.core.opening import open_picture

Floats = NDArray[np.float64]


class Signal(StrEnum):
    """What is looked at of a picture and its answer.

    `LABEL` is the most probable one; `CONFIDENCE` its probability; `ENTROPY` that of the probabilities, in nats; `BRIGHTNESS`,
    `CONTRAST` and `SHARPNESS` see `pixel_values`; `SIZE` the shorter side of the file's picture, in pixels; `OOD_SCORE` how little
    the network's features and logits are like those of the training pictures.
    """

    LABEL = "label"
    CONFIDENCE = "confidence"
    ENTROPY = "entropy"
    BRIGHTNESS = "brightness"
    CONTRAST = "contrast"
    SHARPNESS = "sharpness"
    SIZE = "size"
    OOD_SCORE = "ood_score"


OTHER: Final = "other"
# With ten, the least that one of a hundred pictures falls into is 10, and the index of 0.2 means what it means in the literature.
_BINS: Final = 10
# A bin of which fewer pictures are expected makes the index a matter of chance (Cochran, 1954).
_FEWEST: Final = 5
_MOST_LABELS: Final = 100
# Two edges are no nearer than this, so that another precision or decoder, which moves a value by less, moves no picture.
_RESOLUTIONS: Final = {
    Signal.CONFIDENCE: 0.005,
    Signal.ENTROPY: 0.01,
    Signal.BRIGHTNESS: 1.0,
    Signal.CONTRAST: 0.5,
    Signal.SHARPNESS: 0.25,
    Signal.SIZE: 1.0,
    Signal.OOD_SCORE: 0.05,
}
_UNUSUAL: Final = 0.01
_LEAST_PROBABILITY: Final = 1e-12
_LUMA: Final = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
# Three of seven rows say what all say, in less than half of the time; seven, as eight would keep step with the blocks of JPEGs.
_BAND_PX: Final = 7


@dataclass(frozen=True, slots=True)
class Histogram:
    """How often a signal had which values.

    Attributes:
        edges: float [k - 1], ascending: a bin holds what is above the edge before it, and at most its own; the ends are open.
        counts: k of them, pictures in each bin.
        low: 99 % of the pictures lie between this and `high`.
        high: see `low`.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    low: float
    high: float

    @classmethod
    def of(cls, values: Floats, resolution: float) -> Histogram:
        """Returns that of float64 [N] values: bins of a tenth of them each, fewer where many are the same.

        Args:
            values: at least one.
            resolution: the least that two edges are apart.
        """
        deciles, ties = np.unique(np.quantile(values, np.arange(1, _BINS) / _BINS), return_counts=True)
        ordered = np.sort(values)
        edges: list[float] = []

        def add(edge: float) -> None:
            if not edges or edge >= edges[-1] + 0.99 * resolution:
                edges.append(round(edge, 6))

        for decile, tied in zip(deciles.tolist(), ties.tolist(), strict=True):
            below = floor(decile / resolution) * resolution
            if tied > 1:  # what a tenth has alike is a bin of its own, so that less is told from it as well as more
                add(decile - resolution / 2)
                add(decile + resolution / 2)
            elif ordered[0] <= below < ordered[-1]:
                add(below)
        if not edges:  # all are within the resolution
            edges = [round(ordered[0] - resolution / 2, 6), round(ordered[-1] + resolution / 2, 6)]
        beyond = max(1, int(_UNUSUAL / 2 * (len(ordered) + 1)))
        counts = np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1)
        return cls(tuple(edges), tuple(counts.tolist()), float(ordered[beyond - 1]), float(ordered[-beyond]))

    def places(self, values: Floats) -> NDArray[np.int64]:
        """Returns int64 [N], the number of each value's bin; what is not a number is in the last."""
        return np.searchsorted(self.edges, values).astype(np.int64)

    @property
    def names(self) -> tuple[str, ...]:
        """What the bins are called, so that their order is that of the alphabet."""
        ends = [f"{edge:g}" for edge in self.edges]
        middle = [f"{number}: {low} to {high}" for number, (low, high) in enumerate(pairwise(ends), 1)]
        return f"0: to {ends[0]}", *middle, f"{len(ends)}: over {ends[-1]}"

    def beyond(self, value: float) -> float:
        """Returns how far a value lies outside of what 99 % of the pictures have: 0 within, towards 1 the farther."""
        over = max(self.low - value, value - self.high)
        if over <= 0:
            return 0.0
        return over / (over + self.high - self.low) if over < np.inf else 1.0  # the form that NaN fails


@dataclass(frozen=True, slots=True)
class Reference:
    """What pictures and answers are like where nothing has drifted.

    Attributes:
        pictures: how many were looked at.
        split: which: `test`, or `test and validation` where the test split is small.
        unknown: how many of them the version's rules call unknown.
        labels: pictures of which a label is the most probable; those of less than 5, and beyond 100 labels, are under `other`.
        numbers: by signal.
    """

    pictures: int
    split: str
    unknown: int
    labels: Mapping[str, int]
    numbers: Mapping[str, Histogram]

    def unusual(self, values: Mapping[Signal, float]) -> float:
        """Returns how far the farthest of a picture's values lies outside of what is usual, see `Histogram.beyond`.

        A picture that is more like the training pictures than others is no unusual one.
        """
        found = 0.0
        for signal, value in values.items():
            histogram = self.numbers.get(signal)
            if histogram and not (signal == Signal.OOD_SCORE and value < histogram.low):
                found = max(found, histogram.beyond(value))
        return found


def summarise(
    labels: Sequence[str],
    predicted: NDArray[np.int64],
    values: Mapping[Signal, Floats],
    *,
    split: str,
    unknown: int,
) -> Reference:
    """Returns the reference of pictures.

    Args:
        labels: in order of class index.
        predicted: int64 [N], the most probable class of each.
        values: float64 [n] of each signal but the label, at least one of each; n may be less than N.
        split: where the pictures are from.
        unknown: how many of them are called unknown.
    """
    counts = np.bincount(predicted, minlength=len(labels))
    often = set(np.argsort(-counts, kind="stable")[:_MOST_LABELS].tolist())
    kept = [index for index in range(len(labels)) if index in often and counts[index] >= _FEWEST]
    bins = {labels[index]: int(counts[index]) for index in kept}
    if len(kept) < len(labels):  # a label of that very name is in it, too
        bins[OTHER] = bins.get(OTHER, 0) + int(counts.sum() - counts[kept].sum())
    numbers = {str(signal): Histogram.of(found, _RESOLUTIONS[signal]) for signal, found in values.items()}
    return Reference(len(predicted), split, unknown, bins, numbers)


def shares(counts: Sequence[int]) -> list[float]:
    """Returns the share of each bin, after half a picture more in each, so that none is 0 and every logarithm is finite."""
    total = sum(counts) + len(counts) / 2
    return [(count + 0.5) / total for count in counts]


def answer_values(probabilities: NDArray[np.float32], ood_scores: Floats | None, *, multi_label: bool) -> dict[Signal, Floats]:
    """Returns float64 [N] of each signal of answers.

    Args:
        probabilities: float32 [N, C].
        ood_scores: float64 [N]; None where the network does not compute them.
        multi_label: whether any number of labels may apply; the entropy is then the mean over the labels.
    """
    wide = np.clip(probabilities.astype(np.float64), _LEAST_PROBABILITY, 1)
    entropies = -(wide * np.log(wide)).sum(1)
    if multi_label:
        rest = np.clip(1 - wide, _LEAST_PROBABILITY, 1)
        entropies = (entropies - (rest * np.log(rest)).sum(1)) / wide.shape[1]
    values = {Signal.CONFIDENCE: wide.max(1), Signal.ENTROPY: entropies}
    return values if ood_scores is None else values | {Signal.OOD_SCORE: ood_scores}


def pixel_values(image: NDArray[np.uint8]) -> dict[Signal, float]:
    """Returns the signals of a picture as the network sees it, uint8 [H, W, 3].

    Brightness is the mean of its luma, contrast the standard deviation, 0 to 255; sharpness the standard deviation of the luma's
    Laplacian, which is what focus is measured by (Pech-Pacheco et al., 2000), and 0 where a pixel has no neighbours.
    """
    height, width = image.shape[:2]
    band = min(_BAND_PX, height)
    bands = image[: height // band * band].reshape(height // band, band, width, 3)[:, :3]
    luma = bands.astype(np.float32) @ _LUMA  # [bands, 3, W]
    sharpness = 0.0
    if band >= 3 and width >= 3:  # a pixel and its neighbours
        above, row, below = luma[:, 0], luma[:, 1], luma[:, 2]
        edges = 4 * row[:, 1:-1] - row[:, :-2] - row[:, 2:] - above[:, 1:-1] - below[:, 1:-1]
        sharpness = float(edges.std())
    return {Signal.BRIGHTNESS: float(luma.mean()), Signal.CONTRAST: float(luma.std()), Signal.SHARPNESS: sharpness}


def shorter_side(encoded: bytes) -> int | None:
    """Returns the shorter side of a file's picture, in pixels; None where the file is none."""
    size = jpeg.plain_size(encoded)
    if size is None:
        try:
            with open_picture(encoded) as picture:  # reads no pixels
                size = picture.size
        except Exception:  # noqa: BLE001 - Pillow raises anything on damaged files
            return None
    return min(size)
