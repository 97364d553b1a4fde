"""Whether a curve is flat: the rule by which a soak is judged.

What a process holds goes up and down with what it does at the moment, so single samples say little and are no independent draws.
Of the last two thirds of a run, after what warms up has warmed up, each of 24 stretches gives its median, or of what has peaks that
last its lowest sample, which a leak raises as it raises the peaks; through these goes the line of Theil and Sen (the median of the
slopes of all pairs), which a quarter of outliers does not move, with Sen's interval.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import theilslopes

STRETCHES: Final = 24
_FEWEST: Final = 12  # stretches with samples, below which nothing is said
_SURE: Final = 0.95
_HOUR: Final = 3600.0


class Word(StrEnum):
    """What is said of a curve."""

    FLAT = "flat"
    GROWS = "grows"
    UNSURE = "unsure"


@dataclass(frozen=True)
class Verdict:
    """What a curve came to.

    Attributes:
        word: `grows` where all of the interval is above what is allowed, `flat` where none of it is, `unsure` in between.
        level: of the last two thirds, the median of what the stretches gave.
        slope: its growth in an hour.
        low: lower end of the 95 % interval of that.
        high: the upper end.
        allowed: growth in an hour up to which it is flat.
    """

    word: Word
    level: float
    slope: float
    low: float
    high: float
    allowed: float


def judge(seconds: ArrayLike, values: ArrayLike, allowed: float, share: float = 0.0, quantile: float = 0.5) -> Verdict:
    """Judges a curve, or the sum of several.

    Args:
        seconds: since the start of the run, of each sample, ascending, [samples].
        values: of each sample, [samples] or [curves, samples]; NaN where there was nothing to be measured.
        allowed: growth in an hour up to which it is flat.
        share: the same as a share of its level; the larger one counts.
        quantile: of the samples of a stretch, which stands for all of them; of several curves, each one's.
    """
    times, levels = _stretches(np.asarray(seconds, float), np.atleast_2d(np.asarray(values, float)), quantile)
    level = float(np.median(levels)) if len(levels) else np.nan
    if len(levels) < _FEWEST:
        return Verdict(Word.UNSURE, level, np.nan, np.nan, np.nan, allowed)
    allowed = max(allowed, share * level)
    slope, _, low, high = (float(one) * _HOUR for one in theilslopes(levels, times, _SURE))
    word = Word.GROWS if low > allowed else Word.FLAT if high <= allowed else Word.UNSURE
    return Verdict(word, level, slope, low, high, allowed)


def _stretches(seconds: np.ndarray, values: np.ndarray, quantile: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns the middle of each stretch in which every curve has a sample, and the sum of their quantiles there."""
    kept = ~np.isnan(values)
    edges = np.linspace(seconds[-1] / 3, seconds[-1], STRETCHES + 1)
    places = np.clip(np.searchsorted(edges, seconds, side="right") - 1, -1, STRETCHES - 1)
    filled = [place for place in range(STRETCHES) if kept[:, places == place].any(axis=1).all()]
    middles = (edges[:-1] + edges[1:]) / 2
    return middles[filled], np.array([np.nanquantile(values[:, places == place], quantile, axis=1).sum() for place in filled])
