"""What a histogram has counted: in cells so fine that classic and native buckets can both be told from them.

- Classic buckets have bounds chosen for the metric, exact, each with the newest trace that fell into it (an exemplar).
- Prometheus' native histogram of schema 3: a bucket ends at 2 to the power of n/8, so a quantile is known to 4.4 %.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Final, Literal, NamedTuple

from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Exemplar
from prometheus_client.utils import floatToGoString

# What a metric of several processes is: what each says added up, the largest, or the mean.
Join = Literal["sum", "max", "mean"]
# Buckets of a native histogram that double a value: 2 ** SCHEMA. The next schema halves the error, and doubles the page.
SCHEMA: Final = 3
PER_OCTAVE: Final = 1 << SCHEMA
# How far the cells go beyond the classic bounds, in octaves: what is smaller is as good as 0, what is larger counts into the last.
_BELOW, _ABOVE = 4, 6


class Grid:
    """Where the cells of a histogram begin and end.

    Attributes:
        bounds: of the classic buckets, ascending, without infinity; a value that is equal to one is below it.
        fences: upper bounds of the cells but the last: those of the classic and of the native buckets together.
        lowest: a native bucket n ends at 2 ** (n / PER_OCTAVE); this is the last of those that count as 0.
    """

    def __init__(self, bounds: Iterable[float]) -> None:
        self.bounds = tuple(map(float, bounds))
        self.lowest = math.floor(math.log2(self.bounds[0]) * PER_OCTAVE) - _BELOW * PER_OCTAVE
        highest = math.ceil(math.log2(self.bounds[-1]) * PER_OCTAVE) + _ABOVE * PER_OCTAVE
        native = [2.0 ** (n / PER_OCTAVE) for n in range(self.lowest, highest + 1)]
        self.fences = tuple(sorted({*native, *self.bounds}))
        self._classic = [bisect_left(self.bounds, fence) for fence in self.fences] + [len(self.bounds)]
        self._native = [self.lowest + bisect_left(native, fence) for fence in self.fences] + [highest + 1]

    @property
    def zero(self) -> float:
        """What counts as 0 in the native histogram, itself included."""
        return float(2.0 ** (self.lowest / PER_OCTAVE))

    def classic(self, cells: Iterable[tuple[int, int]]) -> list[int]:
        """Returns how many values each classic bucket has, the one to infinity last; not cumulative."""
        counts = [0] * (len(self.bounds) + 1)
        for cell, count in cells:
            counts[self._classic[cell]] += count
        return counts

    def native(self, cells: Iterable[tuple[int, int]]) -> dict[int, int]:
        """Returns how many values each native bucket has that has any, ascending; `lowest` is that of 0."""
        counts: dict[int, int] = {}
        for cell, count in sorted(cells):
            bucket = self._native[cell]
            counts[bucket] = counts.get(bucket, 0) + count
        return counts


class Tally(NamedTuple):
    """What a histogram's series has counted.

    Attributes:
        labels: of the series.
        cells: number and count of each cell that has any, ascending.
        total: sum of the values.
        exemplars: number of a classic bucket, the id of the newest trace in it, its value, and when, seconds since 1970.
    """

    labels: dict[str, str]
    cells: list[tuple[int, int]]
    total: float
    exemplars: list[tuple[int, str, float, float]]


class Distribution(Metric):
    """What a histogram has counted; as `prometheus_client` knows it, with the tallies besides."""

    def __init__(self, name: str, documentation: str, grid: Grid, tallies: Sequence[Tally]) -> None:
        super().__init__(name, documentation, "histogram")
        self.grid, self.tallies = grid, tallies
        self.join: Join = "sum"
        limits = [*map(floatToGoString, grid.bounds), "+Inf"]
        for labels, cells, total, exemplars in tallies:
            newest = {bucket: Exemplar({"trace_id": trace}, value, at) for bucket, trace, value, at in exemplars}
            below = 0
            for bucket, count in enumerate(grid.classic(cells)):
                below += count
                self.add_sample(f"{name}_bucket", labels | {"le": limits[bucket]}, below, exemplar=newest.get(bucket))
            self.add_sample(f"{name}_count", labels, below)
            self.add_sample(f"{name}_sum", labels, total)
