"""The rules of k8s/monitoring/rules/drift.yaml in numpy, for whoever wants them evaluated a million times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from eyasd.core.reference import Reference, Signal, shares

Floats = NDArray[np.float64]
Found = dict[str, Floats]  # by signal, of each picture; the label as a class index

# The constants of drift.yaml.
FLOOR, UNKNOWN_FLOOR, QUANTILE, FEWEST, ALIKE = 0.2, 0.05, 4.0, 100, 5
STEP_SECONDS, HELD_STEPS, WINDOWS = 120, 15, {"1h": 30, "1d": 720}
UNKNOWN: Final = "unknown"  # beside the signals: 1 where the version's rules call a picture so


def binned(
    reference: Reference, found: Sequence[Found], labels: Sequence[str]
) -> dict[str, tuple[list[NDArray[np.int64]], Floats]]:
    """Returns for each signal the bin of each picture of each of `found`, int64 [n], and the reference's shares, float64 [k]."""
    names = list(reference.labels)
    place = np.array([names.index(label if label in names else "other") for label in labels])
    bins = {str(Signal.LABEL): ([place[one[Signal.LABEL].astype(int)] for one in found], list(reference.labels.values()))}
    for signal, histogram in reference.numbers.items():
        bins[signal] = [histogram.places(one[signal]) for one in found], list(histogram.counts)
    share = reference.unknown / reference.pictures
    known = {signal: (places, np.array(shares(counts))) for signal, (places, counts) in bins.items()}
    return known | {UNKNOWN: ([one[UNKNOWN].astype(np.int64) for one in found], np.array([1 - share, share]))}


def holds(signal: str, counts: NDArray[Any], expected: Floats, reference: Reference) -> NDArray[np.bool_]:
    """Returns bool [R], whether the condition of an alert is true of counts [R, k]."""
    return index(signal, counts, expected) > bound(signal, counts, expected, reference)


def index(signal: str, counts: NDArray[Any], expected: Floats) -> Floats:
    """Returns float64 [R], what is compared: the share of unknown pictures, or the index of a signal."""
    return counts[:, 1] / np.maximum(counts.sum(1), 1) if signal == UNKNOWN else stability(counts, expected)


def bound(signal: str, counts: NDArray[Any], expected: Floats, reference: Reference) -> Floats:
    """Returns float64 [R], what it is compared with."""
    if signal != UNKNOWN:
        return threshold(counts, reference)
    total, pictures = counts.sum(1), reference.pictures
    deviations = np.sqrt((ALIKE / np.maximum(total, 1) + 1 / pictures) * (expected[1] + 0.5 / pictures))
    return np.where(total >= FEWEST, expected[1] + np.maximum(UNKNOWN_FLOOR, QUANTILE * deviations), np.inf)


def stability(counts: NDArray[Any], expected: Floats) -> Floats:
    """Returns the population stability index, float64 [R], of counts [R, k] against shares float64 [k]."""
    live = (counts + ALIKE / 2) / (counts.sum(1, keepdims=True) + counts.shape[1] * ALIKE / 2)
    index: Floats = ((live - expected) * np.log(live / expected)).sum(1)
    return index


def threshold(counts: NDArray[Any], reference: Reference) -> Floats:
    """Returns float64 [R], what the index of counts [R, k] must exceed."""
    total, freedom = counts.sum(1), counts.shape[1] - 1
    quantile = (
        freedom * (1 - 2 / (9 * freedom) + QUANTILE * (2 / (9 * freedom)) ** 0.5) ** 3
    )  # of chi-square (Wilson, Hilferty, 1931)
    least: Floats = np.maximum(FLOOR, quantile * (ALIKE / np.maximum(total, 1) + 1 / reference.pictures))
    return np.where(total >= FEWEST, least, np.inf)
