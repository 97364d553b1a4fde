"""What metrics show of the versions that are loaded, and for how long of those that were."""

from __future__ import annotations

import time
from collections.abc import Container

from eyasd.serving.engine.loading import EngineOptions, LoadedVersion
from eyasd.serving.traffic.routes import Version
from eyasd.telemetry.merged import RETAINED_SECONDS
from eyasd.telemetry.metrics import Metrics


class Shown:
    """The series of the versions of one fleet."""

    def __init__(self, metrics: Metrics, engine: EngineOptions) -> None:
        """Shows nothing yet.

        Args:
            metrics: where it is shown.
            engine: how versions are loaded.
        """
        self._metrics, self._engine = metrics, engine
        self._unloaded: dict[Version, float] = {}

    def show(self, loaded: LoadedVersion) -> None:
        """Shows what a version is, from now on."""
        metrics, of = self._metrics, (loaded.model, str(loaded.version))
        self._unloaded.pop((loaded.model, loaded.version), None)
        metrics.loaded_versions.labels(*of).set(1)
        metrics.queue_images.labels(*of).set_function(lambda: loaded.engine.waiting)
        metrics.precisions.labels(*of, loaded.precision).set(1)
        if loaded.speed is not None:
            metrics.variant_speed.labels(*of).set(loaded.speed)
        tested = loaded.manifest.evaluation
        for gauge, share in zip(metrics.version_accuracy, (tested.accuracy, *tested.accuracy_interval), strict=True):
            gauge.labels(*of).set(share)
        for place in self._engine.places:
            metrics.engine_info.labels(*of, self._engine.provider, place).set(1)

    def hide(self, gone: LoadedVersion) -> None:
        """Shows no more what a version is that is unloaded; what it did is shown for a while."""
        metrics, of = self._metrics, (gone.model, str(gone.version))
        self._unloaded[gone.model, gone.version] = time.monotonic()
        for gauge in (metrics.loaded_versions, metrics.queue_images, *metrics.version_accuracy):
            gauge.remove(*of)
        metrics.precisions.remove(*of, gone.precision)
        metrics.variant_speed.remove(*of)
        metrics.engine_info.forget({"model": gone.model, "version": str(gone.version)})

    def forget(self, loaded: Container[Version], now: float) -> None:
        """Shows no more what versions did that were unloaded long ago, or were only spoken of.

        Args:
            loaded: those that are.
            now: on the clock of `time.monotonic`.
        """
        for model, version in self._metrics.registry.names.versions.copy():
            if (model, int(version)) not in loaded:
                self._unloaded.setdefault((model, int(version)), now)
        for key in [key for key, last in self._unloaded.items() if now - last > RETAINED_SECONDS]:
            del self._unloaded[key]
            self._metrics.forget_version(*key)
