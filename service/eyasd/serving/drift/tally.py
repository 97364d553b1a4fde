"""What one version's pictures and answers are like, counted into the bins of its reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from eyasd.core.bundle import Manifest
from eyasd.core.reference import OTHER, Floats, Reference, Signal, answer_values, shares
from eyasd.serving.cache import Said
from eyasd.telemetry.metrics import Metrics


class Tally:
    """The series of a version, shown from when it is loaded until it is unloaded."""

    def __init__(self, model: str, version: int, manifest: Manifest, reference: Reference, metrics: Metrics) -> None:
        """Shows the reference, and a 0 for each bin: a counter that is born with what it counted has not grown, to Prometheus."""
        self._of = (model, str(version))
        self._manifest = manifest
        self.reference = reference
        self._metrics = metrics
        bins: dict[str, tuple[str, ...]] = {name: histogram.names for name, histogram in reference.numbers.items()}
        counts = {name: histogram.counts for name, histogram in reference.numbers.items()}
        bins[Signal.LABEL], counts[Signal.LABEL] = tuple(reference.labels), tuple(reference.labels.values())
        self._series: dict[str, list[Any]] = {}
        for signal, names in bins.items():
            self._series[signal] = [metrics.drift_images.labels(*self._of, signal, name) for name in names]
            metrics.drift_reference_images.labels(*self._of, signal).set(sum(counts[signal]))
            for name, share in zip(names, shares(counts[signal]), strict=True):
                metrics.drift_reference.labels(*self._of, signal, name).set(share)
        self._bins = bins
        places = {label: place for place, label in enumerate(reference.labels)}
        self._places = np.array([places.get(label, places.get(OTHER, 0)) for label in manifest.labels], np.int64)
        if manifest.unknown:
            self._unknown = metrics.drift_unknown.labels(*self._of)
            metrics.drift_unknown_reference.labels(*self._of).set(reference.unknown / reference.pictures)

    def hide(self) -> None:
        """Shows the reference no more, and so nothing is compared with it; what was counted stays as long as all of a version."""
        for signal, names in self._bins.items():
            self._metrics.drift_reference_images.remove(*self._of, signal)
            for name in names:
                self._metrics.drift_reference.remove(*self._of, signal, name)
        self._metrics.drift_unknown_reference.remove(*self._of)

    def answers(self, said: list[Said]) -> None:
        """Counts what the network said of some pictures, at least one."""
        probabilities = np.concatenate([one.probabilities for one in said]).reshape(len(said), -1)  # np.stack takes thrice as long
        scores = [one.ood_score for one in said]
        known = [score for score in scores if score is not None]  # all, or none
        best = probabilities.argmax(1)
        self._add(Signal.LABEL, self._places[best])
        multi_label = self._manifest.thresholds is not None
        self._count(answer_values(probabilities, np.array(known) if known else None, multi_label=multi_label))
        if rules := self._manifest.unknown:
            rows = zip(best.tolist(), probabilities.max(1).tolist(), scores, strict=True)
            self._unknown.inc(sum(rules.verdict(*row) is not None for row in rows))

    def picture(self, values: Mapping[Signal, float]) -> None:
        """Counts what a picture is like."""
        self._count({signal: np.array([value]) for signal, value in values.items()})

    def _count(self, values: Mapping[Signal, Floats]) -> None:
        for signal, found in values.items():
            if histogram := self.reference.numbers.get(signal):
                self._add(signal, histogram.places(found))

    def _add(self, signal: Signal, places: np.ndarray[Any, np.dtype[np.int64]]) -> None:
        series = self._series[signal]
        for place, count in enumerate(np.bincount(places).tolist()):
            if count:
                series[place].inc(count)
