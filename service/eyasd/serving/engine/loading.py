"""A version, from the registry to engines that answer: its files are fetched and verified here, and opened by the engines."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import structlog

from eyasd.core import bundle, document
from eyasd.core.activation import HeadWeights
from eyasd.core.bundle import Manifest
from eyasd.core.device import Transport
from eyasd.core.errors import BrokenBundle, EyasError
from eyasd.core.variants import Precision
from eyasd.serving.engine.group import Group
from eyasd.serving.engine.link import Engine
from eyasd.serving.engine.opening import Ready, Task
from eyasd.serving.engine.process import EngineProcess, Place
from eyasd.serving.engine.slots import Shape
from eyasd.serving.network.precision import VARIANTS, Wish
from eyasd.serving.network.providers import CPU
from eyasd.serving.statistics import Statistics
from eyasd.telemetry.metrics import Metrics

# On a machine whose cores all run networks, an acceptor that is woken to refuse a call, or to decode the next picture, goes first:
# on one core at twice its capacity, 98.5 % of the refusals came within 5 ms, with 0 instead 94.9 %, and as much was answered.
_CPU_NICENESS: Final = 5


class Source(Protocol):
    """What loading needs of a registry. Every call may touch a disk or a network, so none is made in the event loop."""

    def manifest(self, model: str, version: int) -> Manifest:
        """Returns a version's manifest. Raises VersionNotFound, BrokenBundle."""
        ...

    def fetch(self, model: str, version: int, name: str) -> bytes:
        """Returns a verified file of a version. Raises BrokenBundle."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """See `config.ServingSettings`.

    Attributes:
        threads: of the operators of one engine's run.
        slots: most pictures that an acceptor has in the engines of a version, and in the decoders.
        count: engines of a version.
        devices: what CUDA_VISIBLE_DEVICES each engine is given, in turn; empty is what this process has.
    """

    provider: str
    precision: Wish
    threads: int
    max_batch_size: int
    max_delay_seconds: float
    slots: int
    transport: Transport = Transport.PROCESS
    count: int = 1
    devices: tuple[str, ...] = ()
    load_limit_seconds: float = 300.0
    gpu_memory_bytes: int = 0
    tensorrt_cache: str = ""

    @property
    def places(self) -> Sequence[str]:
        """Where engines are: `cpu`, or what CUDA_VISIBLE_DEVICES calls their GPUs."""
        if self.provider == CPU:
            return ("cpu",)
        return self.devices[: self.count] or os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[:1]


@dataclass(frozen=True, slots=True)
class LoadedVersion:
    """A version that answers.

    Attributes:
        model: its name.
        version: its number.
        manifest: what its training wrote.
        engine: answers.
        close: answers those who hold the engine, then ends it.
        head: explains its answers; None where nothing can.
        precision: it answers in.
        speed: see `precision.Chosen`.
        memory_bytes: of all its engines.
        statistics: what it has done.
        warm_seconds: that its engines took to open the network, warm it and prove its answers.
    """

    model: str
    version: int
    manifest: Manifest
    engine: Engine
    close: Callable[[], Coroutine[Any, Any, None]]
    head: HeadWeights | None
    precision: Precision
    speed: float | None
    memory_bytes: int
    statistics: Statistics
    warm_seconds: float = 0.0


def read_version(source: Source, model: str, version: int) -> tuple[Manifest, HeadWeights | None]:
    """Returns a version's manifest, and the weights that explain, which fit its feature map, if it has one. Raises BrokenBundle."""
    manifest = source.manifest(model, version)
    if manifest.feature_map is None:
        return manifest, None
    head = HeadWeights.from_bytes(source.fetch(model, version, bundle.EXPLAIN))
    if head.weights.shape != (len(manifest.labels), manifest.feature_map[0]):
        raise BrokenBundle(f"{bundle.EXPLAIN} has weights of shape {head.weights.shape}, which does not fit {bundle.MODEL}.")
    return manifest, head


def make_engine(
    model: str, version: int, manifest: Manifest, options: EngineOptions, metrics: Metrics, statistics: Statistics
) -> Engine:
    """Returns an acceptor's half of a version's engines, without an engine yet, and lets it count its batches."""
    batch_images = metrics.batch_images.labels(model)

    def on_batch(images: int) -> None:
        statistics.batches += 1
        batch_images.observe(images)

    shape = Shape.of(manifest, max(options.slots, 2 * options.max_batch_size * options.count))
    return Engine(f"{model}/{version}", shape, on_batch)


class Loader:
    """Loads versions. Belongs to one event loop."""

    def __init__(
        self, source: Source, options: EngineOptions, metrics: Metrics, log: structlog.typing.FilteringBoundLogger
    ) -> None:
        self._source = source
        self._options = options
        self._metrics = metrics
        self._log = log
        self._answers = False

    async def load(self, model: str, version: int, on_lost: Callable[[EyasError], None]) -> LoadedVersion:
        """Returns the version once it answers.

        Args:
            model: its name.
            version: its number.
            on_lost: told why if its engines end again and again, and are not started any more.

        Raises:
            BrokenBundle: a file is missing, was changed, or does not answer as recorded.
            Unavailable: an engine ended while it loaded the version, or took too long.
        """
        manifest, head = await asyncio.to_thread(read_version, self._source, model, version)

        def lost(error: EyasError) -> None:
            engine.fail(f"{model}/{version} cannot be served: {error.message}")
            on_lost(error)

        group, ready = await self.start(model, version, lost)
        statistics = Statistics()
        engine = make_engine(model, version, manifest, self._options, self._metrics, statistics)

        async def close() -> None:
            await engine.close()
            group.detach(engine)
            await group.close()

        try:
            await group.attach(engine)
        except BaseException:
            await close()
            raise
        said = ready.precision, ready.speed, ready.memory_bytes
        return LoadedVersion(model, version, manifest, engine, close, head, *said, statistics, ready.seconds)

    async def start(self, model: str, version: int, on_lost: Callable[[EyasError], None]) -> tuple[Group, Ready]:
        """Returns the engines of a version once they are proven, and what they say of it; the arguments are those of `load`."""
        manifest = await asyncio.to_thread(self._source.manifest, model, version)
        log, limit = self._log.bind(model=model, version=version), self._metrics.batch_limit.labels(model)
        limit.set(self._options.max_batch_size)

        def lowered(most: int) -> None:
            self._metrics.out_of_memory.labels(model).inc()
            limit.set(most)

        # A version that replaces another must not take the processors from it: on one core, at a third of its capacity,
        # answers took up to 400 ms while it was opened, and 130 ms like this.
        aside = self._answers and self._options.provider == CPU and self._options.transport is Transport.PROCESS
        opener = _Opener(self._source, manifest, self._task(model, version), self._options, log, lowered, aside)
        restarts = self._metrics.engine_restarts.labels(model)
        group = Group(opener.open, self._options.count, log, on_restart=restarts.inc, on_lost=on_lost)
        ready = await group.start()
        self._answers = True
        opener.aside = False  # what waits for an engine that is started again waits for nothing else
        memory, seconds = sum(one.memory_bytes for one in ready), sum(one.seconds for one in ready)
        return group, replace(ready[0], memory_bytes=memory, seconds=seconds)

    def _task(self, model: str, version: int) -> Task:
        options = self._options
        return Task(
            model=model,
            version=version,
            provider=options.provider,
            precision=options.precision,
            threads=options.threads,
            max_batch_size=options.max_batch_size,
            max_delay_seconds=options.max_delay_seconds,
            gpu_memory_bytes=options.gpu_memory_bytes,
            tensorrt_cache=options.tensorrt_cache,
        )


class _Opener:
    """Makes the engines of one version, which all answer in the precision that the first one chose."""

    def __init__(
        self,
        source: Source,
        manifest: Manifest,
        task: Task,
        options: EngineOptions,
        log: structlog.typing.FilteringBoundLogger,
        on_lowered: Callable[[int], None],
        aside: bool,
    ) -> None:
        self.aside = aside
        self._log = log
        self._on_lowered = on_lowered
        self._source = source
        self._manifest = manifest
        self._task = task
        self._options = options

    async def open(self, number: int) -> tuple[EngineProcess, Ready]:
        """Starts the engine of that number; see `Group`."""
        niceness = _CPU_NICENESS if self._options.provider == CPU else 0
        devices = self._options.devices
        environment = {"CUDA_VISIBLE_DEVICES": devices[number % len(devices)]} if devices else {}
        # It starts while the files are read.
        process = EngineProcess(Place(self._options.transport, niceness, environment), self._log, self._on_lowered)
        try:
            files = await asyncio.to_thread(self._files)
            ready = await process.open(replace(self._task, aside=self.aside), files, self._options.load_limit_seconds)
        except BaseException:
            process.kill()
            await process.end()
            raise
        self._task = replace(self._task, precision=ready.precision)
        return process, ready

    def _files(self) -> dict[str, bytes]:
        """Returns what an engine needs of the bundle, verified. Raises BrokenBundle."""
        model, version, manifest = self._task.model, self._task.version, self._manifest
        files = {bundle.MANIFEST: document.dump(manifest).encode()}
        files |= {name: self._source.fetch(model, version, name) for name in (bundle.GOLDEN, bundle.MODEL)}
        variant = VARIANTS[self._task.provider]
        if variant in manifest.accepted() and self._task.precision != Precision.FP32:
            try:
                files[variant.file] = self._source.fetch(model, version, variant.file)
            except BrokenBundle as error:
                self._log.warning("a variant cannot be used; the version is served in fp32", precision=variant, error=error.message)
                self._task = replace(self._task, precision=Precision.FP32)
        return files
