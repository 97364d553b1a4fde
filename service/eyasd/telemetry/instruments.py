"""Counters, gauges and histograms: what `prometheus_client` shows, counted in less time and with more of a distribution kept.

A request needs a dozen of them, and `prometheus_client` takes 2 us to find a series and 1 us to observe a value. Ours are found in
one look at a dictionary. A histogram counts a value once, see `distribution`.

Knows no metric by name; `metrics` has them all.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from threading import Lock
from typing import Any, ClassVar, Final, Generic, TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from eyasd.telemetry.distribution import Distribution, Grid, Join, Tally
from eyasd.telemetry.names import Names

S = TypeVar("S")

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
