"""Whether answers given with a confidence are right as often as it says. numpy alone."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from eyasd.core.evaluation import ReliabilityBin

BINS: Final = 15

Floats = NDArray[np.float64]


def calibration_error(confidences: NDArray[np.float32], held: NDArray[np.bool_]) -> float:
    """Returns the expected calibration error (Naeini et al., 2015) with 15 equally wide bins (lower, upper].

    Args:
        confidences: float32 [N], the largest probability of each picture; or float32 [N, C], every probability of a sigmoid.
        held: bool, of the same shape: whether its label is the true one, or whether it is right that the label applies.
    """
    return float(np.abs(gaps(confidences, held).sum(0)).sum() / confidences.size)


def gaps(confidences: NDArray[np.float32], held: NDArray[np.bool_]) -> Floats:
    """Returns float64 [N, 15], by how much each picture's answers in each bin hold more often than they said.

    The arguments are those of `calibration_error`, which is made of their sum over the pictures.
    """
    confidences = confidences.reshape(len(confidences), -1)
    differences: Floats = held.reshape(confidences.shape) - confidences.astype(np.float64)
    bins, found = _bins_of(confidences), np.zeros((len(confidences), BINS))
    for column in range(bins.shape[1]):
        np.add.at(found, (np.arange(len(found)), bins[:, column]), differences[:, column])
    return found


def reliability(confidences: NDArray[np.float32], held: NDArray[np.bool_]) -> tuple[ReliabilityBin, ...]:
    """Returns what the bins of `calibration_error` hold; the arguments are the same."""
    bins = _bins_of(confidences).ravel()
    counts = np.bincount(bins, minlength=BINS)
    values = (confidences.ravel().astype(np.float64), held.ravel())
    means = [np.bincount(bins, value, BINS) / np.maximum(counts, 1) for value in values]
    return tuple(
        ReliabilityBin(i / BINS, (i + 1) / BINS, int(count), float(confidence), float(share))
        for i, (count, confidence, share) in enumerate(zip(counts, *means, strict=True))
    )


def _bins_of(confidences: NDArray[np.float32]) -> NDArray[np.int64]:
    """Returns the number of the bin of each confidence."""
    return np.clip(np.ceil(confidences * BINS).astype(np.int64) - 1, 0, BINS - 1)
