"""The versions that are loaded, and the aliases that lead to them.

Looks at the registry a few times a second. An alias that moves leads to its old version until the new one has been verified,
loaded, warmed and has given the golden answers; if it cannot, the old one stays and the failure is reported. A version is
unloaded only when its last answer is out. Knows the registry through the port `Catalog` alone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

import structlog

from eyasd.core.bundle import Manifest
from eyasd.core.capture import CapturePolicy
from eyasd.core.errors import BrokenBundle, EyasError, Unavailable
from eyasd.core.names import PRODUCTION, ModelRef
from eyasd.core.variants import Precision
from eyasd.serving.catalog import Catalog, FleetOptions, LoadFailure, ServingState
from eyasd.serving.demand import Demand, estimate_bytes
from eyasd.serving.engine.loading import LoadedVersion, Loader
from eyasd.serving.engine.remote import RemoteLoader
from eyasd.serving.shown import Shown
from eyasd.serving.statistics import Statistics
from eyasd.serving.traffic.routes import Routes, Version
from eyasd.serving.traffic.routing import Router
from eyasd.telemetry.metrics import Metrics


class Fleet:
    """Loads, finds and unloads versions. Belongs to one event loop."""

    def __init__(
        self,
        catalog: Catalog,
        options: FleetOptions,
        metrics: Metrics,
        log: structlog.typing.FilteringBoundLogger,
        loader: Loader | RemoteLoader | None = None,
    ) -> None:
        """Prepares an empty fleet.

        Args:
            catalog: the registry.
            options: how versions are kept.
            metrics: shows them.
            log: hears of them.
            loader: loads them; None is by the options, in this process.
        """
        self._catalog = catalog
        self._options = options
        self._loader = loader or Loader(catalog, options.engine, metrics, log)
        self._metrics = metrics
        self._log = log
        self._loaded: dict[Version, LoadedVersion] = {}
        self._loading: dict[Version, asyncio.Task[LoadedVersion]] = {}
        self._failed: dict[Version, LoadFailure] = {}
        self._series = Shown(metrics, options.engine)
        self._routes = Routes(log, lambda model, seconds: metrics.swap_seconds.labels(model).observe(seconds))
        self.router = Router(catalog, metrics, log)
        self._shown: Mapping[str, bool] = {}
        self._demand = Demand(options.memory_bytes)
        self._reserved: dict[Version, int] = {}
        self._closing: set[asyncio.Task[None]] = set()
        # One load at a time: each takes the processors for a moment, and memory twice.
        self._load_lock = asyncio.Lock()
        self.on_change: Callable[[Mapping[str, bool]], None] = lambda _: None
        self.on_load: list[Callable[[LoadedVersion], None]] = []
        self.on_unload: list[Callable[[LoadedVersion], None]] = []

    @property
    def readiness(self) -> dict[str, bool]:
        """For each model with an alias, whether each of its aliases leads to a version that answers."""
        return self._routes.readiness

    def state(self, model: str, version: int) -> tuple[ServingState, EyasError | None]:
        """Returns what the fleet does with a version, and why it failed if it did."""
        key = (model, version)
        if key in self._loaded:
            return ServingState.READY, None
        if key in self._loading:
            return ServingState.LOADING, None
        if key in self._failed:
            return ServingState.FAILED, self._failed[key].error
        return ServingState.NOT_LOADED, None

    def knows(self, model: str) -> bool:
        """Returns whether a model is loaded, or has an alias."""
        return self._routes.knows(model) or any(key[0] == model for key in self._loaded)

    def precision(self, model: str, version: int) -> Precision | None:
        """Returns in which precision a version answers; None where it is not loaded."""
        loaded = self._loaded.get((model, version))
        return loaded.precision if loaded else None

    def manifest(self, model: str, version: int) -> Manifest | None:
        """Returns the manifest of a version; None where it is not loaded."""
        loaded = self._loaded.get((model, version))
        return loaded.manifest if loaded else None

    def statistics(self) -> dict[Version, Statistics]:
        """Returns what each loaded version has done, sorted."""
        return {key: self._loaded[key].statistics for key in sorted(self._loaded)}

    def find_loaded(self, ref: ModelRef, key: str | None = None) -> LoadedVersion | None:
        """Returns what `find` would, if it need not wait; else None."""
        if key is not None and ref.alias == PRODUCTION:
            canary = self.router.choose(ref.model, key)
            if canary is not None and (ref.model, canary) in self._loaded:
                return self._loaded[ref.model, canary]
        version = ref.version if ref.alias is None else self._routes.version(ref.model, ref.alias)
        if version is None or (ref.model, version) not in self._loaded:
            return None
        if ref.alias is None:
            self._demand.name((ref.model, version))
        return self._loaded[ref.model, version]

    async def find(self, ref: ModelRef, key: str | None = None) -> LoadedVersion:
        """Returns the version that answers for `ref`, and loads it first if need be.

        Args:
            ref: names it.
            key: routing key of a request for production that a canary may answer, "" where it has none; None is that none may.

        Raises:
            NotFound: there is no such model, alias or version.
            Unavailable: it cannot be loaded; says why.
        """
        loaded = self.find_loaded(ref, key)
        if loaded is not None:
            return loaded
        version = await asyncio.to_thread(self._catalog.resolve, ref)
        if ref.alias is None:
            self._demand.name((ref.model, version))
        loaded = self._loaded.get((ref.model, version))
        if loaded is not None:
            return loaded
        try:
            return await self._load_for(ref, (ref.model, version))
        except EyasError as error:
            raise Unavailable(
                f"{ref.model}/{version} cannot be served: {error.message}", model=ref.model, version=version
            ) from error

    async def _load_for(self, ref: ModelRef, key: Version) -> LoadedVersion:
        """Returns the version that a request wants, loaded for it, unless that has just failed."""
        failure = self._failed.get(key)
        if failure is not None and not self._due(failure):
            raise failure.error
        if ref.alias is None:
            await self._make_room(key)
            # Whoever looked at the registry in the meantime has forgotten what was not loaded.
            self._demand.name(key)
        elif key not in self._routes.targets:  # an alias that has just been set
            await self.refresh()
        if key in self._loaded:  # meanwhile, for another request
            return self._loaded[key]
        # The load goes on if this caller leaves: the next one wants it too.
        return await asyncio.shield(self._load(*key))

    @property
    def provider(self) -> str:
        """ONNX Runtime's name of what runs the networks."""
        return self._options.engine.provider

    def shadow_percent(self, model: str) -> float:
        """Returns the share of requests that a model's shadow is to see, 0..100."""
        shadow = self._routes.shadow(model)
        return shadow.percent if shadow else 0.0

    def shadow(self, model: str) -> LoadedVersion | None:
        """Returns a model's shadow; None where it has none, or that is not loaded."""
        version = self._routes.shadow_version(model, self._loaded)
        return None if version is None else self._loaded[model, version]

    def captures(self) -> Mapping[str, CapturePolicy]:
        """Returns what is kept of the pictures of each model that ever had such a policy, in force or not."""
        return self._routes.captures

    @property
    def waiting(self) -> bool:
        """Whether an engine has pictures."""
        return any(loaded.engine.waiting for loaded in self._loaded.values())

    async def run(self) -> None:
        """Follows the registry until cancelled."""
        while True:
            try:
                await self.refresh()
            except Exception as error:  # noqa: BLE001 - whatever befalls the registry, the loaded versions go on serving
                self._log.warning("the registry could not be read", error=str(error))
            await asyncio.sleep(self._options.poll_interval_seconds)

    async def refresh(self) -> None:
        """Looks at the registry once: starts to load what aliases lead to, and moves the routes whose versions answer."""
        changed = self._routes.take(await asyncio.to_thread(self._catalog.pointers))
        for key in sorted(self._routes.targets - self._loaded.keys() - self._loading.keys()):
            failure = self._failed.get(key)
            if failure is None or self._due(failure):
                self._load(*key)
        if changed:
            self._reroute()
        self._series.forget(self._loaded, time.monotonic())

    async def settle(self) -> None:
        """Waits until nothing is being loaded, whether it succeeded or not."""
        while self._loading:
            await asyncio.wait(self._loading.values())

    async def close(self) -> None:
        """Answers what is in the queues, then unloads everything."""
        loading = list(self._loading.values())
        for task in loading:
            task.cancel()
        await asyncio.gather(*loading, return_exceptions=True)
        for key in list(self._loaded):
            self._unload(key)
        await asyncio.gather(*self._closing)
        await self.router.close()

    def _due(self, failure: LoadFailure) -> bool:
        """Returns whether it is time to try again."""
        return time.monotonic() - failure.time >= self._options.retry_interval_seconds

    def _reroute(self) -> None:
        """Moves each alias whose version answers, and unloads what nothing leads to any more."""
        self._routes.move(self._loaded)
        pinned = self._routes.led | self._routes.targets
        self._demand.forget(self._loaded.keys() | self._loading.keys())
        excess = self._demand.excess(self._held, pinned | self._loading.keys())
        for key in [key for key in self._loaded if key not in pinned and (key not in self._demand or key in excess)]:
            self._unload(key)
        self.router.follow(self._routes.canaries(self._loaded))
        if self._shown != (readiness := self.readiness):
            self._shown = readiness
            self.on_change(readiness)

    @property
    def _held(self) -> dict[Version, int]:
        """Bytes of each loaded version, and of each that is being loaded because a request named it."""
        # Of an engine that is a thread only a difference is measured, which is none where memory was free already.
        sizes = {key: max(loaded.memory_bytes, loaded.manifest.model_bytes) for key, loaded in self._loaded.items()}
        return self._reserved | sizes

    async def _make_room(self, key: Version) -> None:
        """Unloads what has to go, so that a version fits that a request named. Raises Unavailable."""
        try:
            manifest = await asyncio.to_thread(self._catalog.manifest, *key)
        except BrokenBundle:
            return  # which the load will find, too, and take down
        pinned = self._routes.led | self._routes.targets | self._loading.keys()
        if key in self._loaded or key in pinned:
            return
        need = estimate_bytes(manifest, self._options.engine)
        for gone in self._demand.room(key, need, self._held, pinned):
            self._unload(gone)
        self._reserved[key] = need

    def _load(self, model: str, version: int) -> asyncio.Task[LoadedVersion]:
        """Returns the task that loads a version, started here or before."""
        key = (model, version)
        if key not in self._loading:
            self._loading[key] = asyncio.create_task(self._load_now(model, version))
            self._loading[key].add_done_callback(lambda task: self._after_load(key, task))
        return self._loading[key]

    def _after_load(self, key: Version, task: asyncio.Task[LoadedVersion]) -> None:
        del self._loading[key]
        self._reserved.pop(key, None)
        if not task.cancelled() and task.exception() is None:
            self._reroute()

    async def _load_now(self, model: str, version: int) -> LoadedVersion:
        key = (model, version)
        start = time.monotonic()
        try:
            async with self._load_lock:
                loaded = await self._loader.load(model, version, lambda error: self._lose(key, error))
        except Exception as error:
            known = error if isinstance(error, EyasError) else BrokenBundle(f"Loading ended with {error!r}.")
            self._note_failure(key, known)
            raise known from error
        self._loaded[key] = loaded
        self._failed.pop(key, None)
        self._series.show(loaded)
        for told in self.on_load:
            told(loaded)
        seconds = time.monotonic() - start
        self._metrics.load_seconds.labels(model).observe(seconds)
        self._metrics.warmup_seconds.labels(model).observe(loaded.warm_seconds)
        self._log.info("version loaded", model=model, version=version, precision=loaded.precision, seconds=round(seconds, 3))
        return loaded

    def _lose(self, key: Version, error: EyasError) -> None:
        """Gives up a version whose engines end again and again."""
        if key in self._loaded:
            self._note_failure(key, error)
            self._unload(key)
            self._routes.leave(key)
            self._reroute()

    def _note_failure(self, key: Version, error: EyasError) -> None:
        self._failed[key] = LoadFailure(error, time.monotonic())
        self._metrics.load_failures.labels(key[0]).inc()
        self._log.error("version could not be loaded", model=key[0], version=key[1], error=error.message)

    def _unload(self, key: Version) -> None:
        model, version = key
        gone = self._loaded.pop(key)
        self._series.hide(gone)
        for told in self.on_unload:
            told(gone)
        task = asyncio.create_task(gone.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
        self._log.info("version unloaded", model=model, version=version)
