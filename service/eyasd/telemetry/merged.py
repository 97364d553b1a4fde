"""The metrics of several processes as if they were of one.

A process is asked for its samples when Prometheus asks the daemon, so nothing of it is left behind when it has ended, but for what
it counted: a sum that fell would be taken for a counter that began anew. Knows numbers, not processes.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from statistics import fmean
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector

from eyasd.telemetry.distribution import Distribution, Grid, Join, Tally

# How long a version's series stay when it has been unloaded, so that the last of what it did is scraped; five minutes is the
# longest interval at which Prometheus still draws a line.
RETAINED_SECONDS: Final = 900.0
_JOINS: Final[dict[Join, Callable[[list[float]], float]]] = {"sum": sum, "max": max, "mean": fmean}


class Family(NamedTuple):
    """A metric of one process or of several.

    Attributes:
        join: what it is of several processes.
        samples: name, labels and value, of all but histograms.
        bounds: of a histogram's classic buckets; empty of all others.
        tallies: of a histogram's series.
    """

    name: str
    kind: str
    documentation: str
    join: Join
    samples: Sequence[tuple[str, dict[str, str], float]]
    bounds: Sequence[float] = ()
    tallies: Sequence[Tally] = ()


def families(registry: CollectorRegistry) -> list[Family]:
    """Returns what a process has counted and measured."""
    found = []
    for metric in registry.collect():
        join: Join = getattr(metric, "join", "sum")
        if isinstance(metric, Distribution):
            found.append(Family(metric.name, metric.type, metric.documentation, join, (), metric.grid.bounds, metric.tallies))
        else:
            samples = [(s.name, s.labels, s.value) for s in metric.samples]
            found.append(Family(metric.name, metric.type, metric.documentation, join, samples))
    return found


def dump(found: Iterable[Family]) -> bytes:
    """Returns families as a JSON document."""
    return json.dumps(list(found)).encode()


def load(document: bytes) -> list[Family]:
    """Returns families from a JSON document."""
    return [
        Family(name, kind, documentation, join, samples, bounds, [Tally(*tally) for tally in tallies])
        for name, kind, documentation, join, samples, bounds, tallies in json.loads(document)
    ]


def merge(processes: Sequence[Iterable[Family]]) -> list[Family]:
    """Returns the families of several processes as those of one."""
    alternatives: dict[str, list[Family]] = {}
    for found in processes:
        for family in found:
            alternatives.setdefault(family.name, []).append(family)
    return [several[0] if len(several) == 1 else _merged(several) for several in alternatives.values()]


def counted(found: Iterable[Family]) -> list[Family]:
    """Returns what stays of a process that has ended: what it counted, not what it had."""
    return [family for family in found if family.kind != "gauge"]


class Departed:
    """What processes counted that have ended. Forgets a version when no living process has had it for `RETAINED_SECONDS`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._found: list[Family] = []
        self._seen: dict[tuple[str, str], float] = {}

    def add(self, found: Iterable[Family]) -> None:
        """Takes over from a process."""
        self._found = merge([self._found, counted(found)])

    def families(self, living: Iterable[Iterable[Family]]) -> list[Family]:
        """Returns what they counted, as far as it still matters beside what the living say."""
        now = self._clock()
        self._seen |= dict.fromkeys((version for found in living for family in found for version in _versions(family)), now)
        for version in {version for family in self._found for version in _versions(family)}:
            self._seen.setdefault(version, now)
        gone = {version for version, last in self._seen.items() if now - last > RETAINED_SECONDS}
        for version in gone:
            del self._seen[version]
        if gone:
            self._found = [_without(family, gone) for family in self._found]
        return self._found


class Merged(Collector):
    """What Prometheus is shown."""

    def __init__(self, ask: Callable[[], Iterable[Family]]) -> None:
        """Remembers whom to ask, each time."""
        self._ask = ask

    def collect(self) -> Iterable[Metric]:
        """See `prometheus_client.registry.Collector`."""
        for family in self._ask():
            if family.bounds:
                yield Distribution(family.name, family.documentation, Grid(family.bounds), family.tallies)
                continue
            metric = Metric(family.name, family.documentation, family.kind)
            for sample, labels, value in family.samples:
                metric.add_sample(sample, labels, value)
            yield metric


def _merged(several: Sequence[Family]) -> Family:
    first = several[0]
    join = _JOINS[first.join]
    joined = _added if first.join == "sum" else _fuller
    labels_of: dict[tuple[str, frozenset[tuple[str, str]]], dict[str, str]] = {}
    values: defaultdict[tuple[str, frozenset[tuple[str, str]]], list[float]] = defaultdict(list)
    tallies: dict[frozenset[tuple[str, str]], Tally] = {}
    for family in several:
        for name, labels, value in family.samples:
            key = (name, frozenset(labels.items()))
            labels_of[key] = labels
            values[key].append(value)
        for tally in family.tallies:
            which = frozenset(tally.labels.items())
            tallies[which] = joined(tallies[which], tally) if which in tallies else tally
    samples = [(key[0], labels_of[key], join(found)) for key, found in values.items()]
    return first._replace(samples=samples, tallies=list(tallies.values()))


def _fuller(one: Tally, other: Tally) -> Tally:
    """Returns the one that has seen more: each has seen the same, and not at the same moment."""
    return max(one, other, key=lambda tally: sum(count for _, count in tally.cells))


def _added(one: Tally, other: Tally) -> Tally:
    cells = dict(one.cells)
    for cell, count in other.cells:
        cells[cell] = cells.get(cell, 0) + count
    newest = {bucket: (trace, value, at) for bucket, trace, value, at in one.exemplars}
    for bucket, trace, value, at in other.exemplars:
        if bucket not in newest or newest[bucket][2] < at:
            newest[bucket] = (trace, value, at)
    exemplars = [(bucket, *exemplar) for bucket, exemplar in sorted(newest.items())]
    return Tally(one.labels, sorted(cells.items()), one.total + other.total, exemplars)


def _versions(family: Family) -> Iterable[tuple[str, str]]:
    for labels in (*(tally.labels for tally in family.tallies), *(labels for _, labels, _ in family.samples)):
        if "version" in labels and "model" in labels:
            yield labels["model"], labels["version"]


def _without(family: Family, gone: set[tuple[str, str]]) -> Family:
    def stays(labels: dict[str, str]) -> bool:
        return (labels.get("model", ""), labels.get("version", "")) not in gone

    return family._replace(
        samples=[sample for sample in family.samples if stays(sample[1])],
        tallies=[tally for tally in family.tallies if stays(tally.labels)],
    )
