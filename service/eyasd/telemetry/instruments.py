"""Counters, gauges and histograms: what `prometheus_client` shows, counted in less time and with more of a distribution kept.

A request needs a dozen of them, and `prometheus_client` takes 2 us to find a series and 1 us to observe a value. Ours are found in
one look at a dictionary. A histogram counts a value once, in a cell so fine that both forms of it can be told from the cells:

- classic buckets, with bounds chosen for the metric, exact, each with the newest trace that fell into it (an exemplar);
- Prometheus' native histogram of schema 3: a bucket ends at 2 to the power of n/8, so a quantile is known to 4.4 %.

Knows no metric by name; `metrics` has them all.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from threading import Lock
from typing import Any, ClassVar, Final, Generic, Literal, NamedTuple, TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar
from prometheus_client.utils import floatToGoString

from eyasd.telemetry.names import Names

S = TypeVar("S")
# What a metric of several processes is: what each says added up, the largest, or the mean.
Join = Literal["sum", "max", "mean"]

# Buckets of a native histogram that double a value: 2 ** SCHEMA. The next schema halves the error, and doubles the page.
SCHEMA: Final = 3
PER_OCTAVE: Final = 1 << SCHEMA
# How far the cells go beyond the classic bounds, in octaves: what is smaller is as good as 0, what is larger counts into the last.
_BELOW, _ABOVE = 4, 6
# Of these, every process that sees the same registry says the same, so they are no sums.
_ALIKE: Final = ("_info", "_ratio", "_percent")


class Registry(CollectorRegistry):
    """The instruments of a process.

    Attributes:
        names: what their labels may be.
        before: called before each look at them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.names = Names()
        self.instruments: list[Instrument[Any]] = []
        self.before: list[Callable[[], None]] = []

    def collect(self) -> Iterator[Metric]:
        """See `prometheus_client.CollectorRegistry`."""
        for bring_up_to_now in self.before:
            bring_up_to_now()
        yield from super().collect()

    def forget(self, **labels: str) -> None:
        """Removes every series that has all of these labels."""
        for instrument in self.instruments:
            instrument.forget(labels)


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


class Instrument(Collector, ABC, Generic[S]):
    """A metric: its series by the values of its labels."""

    kind: ClassVar[str]

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str] = (),
        *,
        registry: Registry,
        alike: bool | None = None,
        mean: bool = False,
        at_once: bool = True,
    ) -> None:
        """Registers it.

        Args:
            name: with its unit; a counter's ends in `_total`.
            documentation: what it tells, a sentence.
            labels: their names.
            registry: of the process.
            alike: whether processes that share the work each say all of it, so that it is no sum; None tells by the name.
            mean: whether what such processes say is a part of each, and the mean is what counts.
            at_once: whether a metric without labels is there, with 0, before anything is said of it.
        """
        self.name, self.documentation, self.label_names = name, documentation, tuple(labels)
        self.join: Join = "mean" if mean else "max" if (name.endswith(_ALIKE) if alike is None else alike) else "sum"
        self._names = registry.names
        self._series: dict[tuple[object, ...], S] = {}
        self._lock = Lock()
        registry.register(self)
        registry.instruments.append(self)
        if not labels and at_once:
            self.labels()

    def labels(self, *values: object) -> S:
        """Returns the series of these values, one for each label; beyond the bounds of `Names`, that of `other`."""
        series = self._series.get(values)
        if series is not None:
            return series
        if len(values) != len(self.label_names):
            raise ValueError(f"{self.name} has the labels {self.label_names}, and was given {values}.")
        bounded = self._names.bound(self.label_names, tuple(map(str, values)))
        with self._lock:
            if bounded not in self._series:
                self._series[bounded] = self._make()
            return self._series[bounded]

    def remove(self, *values: object) -> None:
        """Shows a series no more; nothing happens where there is none."""
        with self._lock:
            self._series.pop(tuple(map(str, values)), None)

    def forget(self, labels: dict[str, str]) -> None:
        """Removes every series that has all of these labels; none where the metric has not all of their names."""
        if not labels.keys() <= set(self.label_names):
            return
        wanted = [(self.label_names.index(name), value) for name, value in labels.items()]
        with self._lock:
            for values in [values for values in self._series if all(values[place] == value for place, value in wanted)]:
                del self._series[values]

    def collect(self) -> Iterable[Metric]:
        """See `prometheus_client.registry.Collector`."""
        with self._lock:
            found = list(self._series.items())
        family = self._family([(dict(zip(self.label_names, map(str, values), strict=True)), series) for values, series in found])
        family.join = self.join  # type: ignore[attr-defined] # of `merged`
        return [family]

    def describe(self) -> Iterable[Metric]:
        """See `prometheus_client.registry.Collector`."""
        return [Metric(self.name.removesuffix("_total"), self.documentation, self.kind)]

    @abstractmethod
    def _make(self) -> S: ...

    @abstractmethod
    def _family(self, found: Sequence[tuple[dict[str, str], S]]) -> Metric: ...


class Count:
    """A series of a counter."""

    __slots__ = ("_lock", "value")

    def __init__(self) -> None:
        self.value = 0.0
        self._lock = Lock()

    def inc(self, amount: float = 1.0) -> None:
        """Adds."""
        with self._lock:
            self.value += amount


class Counter(Instrument[Count]):
    """A sum that only grows."""

    kind = "counter"

    def inc(self, amount: float = 1.0) -> None:
        """Adds, where there are no labels."""
        self.labels().inc(amount)

    def _make(self) -> Count:
        return Count()

    def _family(self, found: Sequence[tuple[dict[str, str], Count]]) -> Metric:
        family = Metric(self.name.removesuffix("_total"), self.documentation, "counter")
        for labels, series in found:
            family.add_sample(self.name, labels, series.value)
        return family


class Value:
    """A series of a gauge."""

    __slots__ = ("_ask", "_lock", "_value")

    def __init__(self) -> None:
        self._value = 0.0
        self._ask: Callable[[], float] | None = None
        self._lock = Lock()

    @property
    def value(self) -> float:
        """What it is now."""
        return self._value if self._ask is None else float(self._ask())

    def set(self, value: float) -> None:
        """Says what it is."""
        self._value = float(value)

    def inc(self, amount: float = 1.0) -> None:
        """Adds."""
        with self._lock:
            self._value += amount

    def dec(self, amount: float = 1.0) -> None:
        """Takes away."""
        self.inc(-amount)

    def set_function(self, ask: Callable[[], float]) -> None:
        """Says who is asked what it is, each time."""
        self._ask = ask


class Gauge(Instrument[Value]):
    """What is now."""

    kind = "gauge"

    def set(self, value: float) -> None:
        """Says what it is, where there are no labels."""
        self.labels().set(value)

    def inc(self, amount: float = 1.0) -> None:
        """Adds, where there are no labels."""
        self.labels().inc(amount)

    def dec(self, amount: float = 1.0) -> None:
        """Takes away, where there are no labels."""
        self.labels().dec(amount)

    def set_function(self, ask: Callable[[], float]) -> None:
        """Says who is asked, where there are no labels."""
        self.labels().set_function(ask)

    def _make(self) -> Value:
        return Value()

    def _family(self, found: Sequence[tuple[dict[str, str], Value]]) -> Metric:
        family = Metric(self.name, self.documentation, "gauge")
        for labels, series in found:
            family.add_sample(self.name, labels, series.value)
        return family


class Cells:
    """A series of a histogram."""

    __slots__ = ("_bounds", "_counts", "_exemplars", "_fences", "_lock", "_total")

    def __init__(self, grid: Grid) -> None:
        self._bounds, self._fences = grid.bounds, grid.fences
        self._counts = [0] * (len(grid.fences) + 1)
        self._total = 0.0
        self._exemplars: dict[int, tuple[str, float, float]] = {}
        self._lock = Lock()

    def observe(self, value: float, trace_id: str = "") -> None:
        """Counts a value, of the trace of that id if there is one."""
        cell = bisect_left(self._fences, value)
        with self._lock:
            self._counts[cell] += 1
            self._total += value
        if trace_id:
            self._exemplars[bisect_left(self._bounds, value)] = (trace_id, value, time.time())

    def tally(self, labels: dict[str, str]) -> Tally:
        """Returns what was counted."""
        with self._lock:
            counts, total = self._counts.copy(), self._total
        exemplars = [(bucket, *newest) for bucket, newest in sorted(self._exemplars.copy().items())]
        return Tally(labels, [(cell, count) for cell, count in enumerate(counts) if count], total, exemplars)


class Histogram(Instrument[Cells]):
    """How values are distributed."""

    kind = "histogram"

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str] = (),
        *,
        buckets: Iterable[float],
        registry: Registry,
        alike: bool | None = None,
    ) -> None:
        """See `Instrument`; `buckets` are the upper bounds of the classic ones, each positive."""
        self._grid = Grid(buckets)
        super().__init__(name, documentation, labels, registry=registry, alike=alike)

    def observe(self, value: float, trace_id: str = "") -> None:
        """Counts a value, where there are no labels."""
        self.labels().observe(value, trace_id)

    def _make(self) -> Cells:
        return Cells(self._grid)

    def _family(self, found: Sequence[tuple[dict[str, str], Cells]]) -> Metric:
        return Distribution(self.name, self.documentation, self._grid, [series.tally(labels) for labels, series in found])
