"""The metrics of several processes as if they were of one.

A process is asked for its samples when Prometheus asks the daemon, so nothing of it is left behind when it has ended, but for what
it counted: a sum that fell would be taken for a counter that began anew. Knows numbers, not processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector

# A family: its name, type and help, and its samples: name, labels, value.
Family = tuple[str, str, str, list[tuple[str, dict[str, str], float]]]

# Of these every process says the same, so they are no sums.
_ALIKE: Final = ("_info", "_ratio", "_percent", "eyas_version_load_seconds", "eyas_version_load_failures")


def families(registry: CollectorRegistry) -> list[Family]:
    """Returns what a process has counted and measured, in the form of a JSON document."""
    return [
        (family.name, family.type, family.documentation, [(s.name, s.labels, s.value) for s in family.samples])
        for family in registry.collect()
    ]


def merge(processes: Sequence[Iterable[Family]]) -> list[Family]:
    """Returns the families of several processes as those of one."""
    merged: dict[str, Family] = {}
    values: dict[str, dict[tuple[str, frozenset[tuple[str, str]]], tuple[dict[str, str], float]]] = {}
    for found in processes:
        for name, kind, documentation, samples in found:
            merged.setdefault(name, (name, kind, documentation, []))
            known = values.setdefault(name, {})
            for sample, labels, value in samples:
                key = (sample, frozenset(labels.items()))
                known[key] = labels, _rule(name, sample)((known[key][1], value)) if key in known else value
    for name, known in values.items():
        merged[name][3].extend((sample, labels, value) for (sample, _), (labels, value) in known.items())
    return list(merged.values())


def counted(found: Iterable[Family]) -> list[Family]:
    """Returns what stays of a process that has ended: what it counted, not what it had."""
    return [family for family in found if family[1] != "gauge"]


class Merged(Collector):
    """What Prometheus is shown."""

    def __init__(self, ask: Callable[[], Iterable[Family]]) -> None:
        """Remembers whom to ask, each time."""
        self._ask = ask

    def collect(self) -> Iterable[Metric]:
        """See `prometheus_client.registry.Collector`."""
        for name, kind, documentation, samples in self._ask():
            metric = Metric(name, documentation, kind)
            for sample, labels, value in samples:
                metric.add_sample(sample, labels, value)
            yield metric


def _rule(family: str, sample: str) -> Callable[[Iterable[float]], Any]:
    if sample.endswith("_created"):
        return min
    return max if family.endswith(_ALIKE) else sum
