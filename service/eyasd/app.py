"""The only place where rooms are wired together: one daemon, or an acceptor of one.

    start    data folder -> port bound -> metrics -> scheduler and fleet -> first versions loaded -> calls answered, SERVING
    SIGTERM  NOT_SERVING -> streams end -> lame duck -> watches end, trainers checkpoint -> calls in flight finish

`eyasd.daemon` says when.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from eyasd.api.capture import CaptureService
from eyasd.api.classify import ClassificationService
from eyasd.api.datasets import DatasetService
from eyasd.api.feedback import FeedbackService
from eyasd.api.inference.service import InferenceService
from eyasd.api.interceptors import CallInterceptor
from eyasd.api.models import ModelService
from eyasd.api.server import Server, Service, Services, Tls
from eyasd.api.streaming import StreamLimits
from eyasd.api.training import REPORT_PROGRESS, JobService, TrainingService
from eyasd.api.uploading import UploadLimits
from eyasd.config import Settings
from eyasd.core.errors import StartupFailed, StorageFailed
from eyasd.core.processors import cpu_count
from eyasd.core.tasks import SharedCache, Sources
from eyasd.followers import make_followers
from eyasd.housekeeping import Housekeeping
from eyasd.jobs.attempt import AttemptOptions
from eyasd.jobs.intake import Intake
from eyasd.jobs.ledger import Ledger
from eyasd.jobs.outlook import Outlook
from eyasd.jobs.permits import Permits, kept_key
from eyasd.jobs.plates import Plates
from eyasd.jobs.replica import Replica
from eyasd.jobs.retries import RetryOptions
from eyasd.jobs.scheduler import Scheduler
from eyasd.machine import (
    decoder_of,
    feedback_keys,
    fleet_options,
    make_writable,
    open_captured,
    open_datasets,
    open_jobs,
    stores_of,
    tracing_of,
    watch_machine,
)
from eyasd.registry.frozen import Frozen
from eyasd.registry.keeper import Keeper
from eyasd.registry.keys import shared_key
from eyasd.registry.models import Models
from eyasd.runners import make_exchange, make_runner, queue_options
from eyasd.serving.cache import Cache
from eyasd.serving.capture.capture import Capture
from eyasd.serving.capture.preparing import load_hook
from eyasd.serving.capture.writing import Writer
from eyasd.serving.classifier import Classifier
from eyasd.serving.drift.unusual import unusual
from eyasd.serving.drift.watcher import Drift
from eyasd.serving.engine.channel import Channel
from eyasd.serving.engine.remote import RemoteLoader
from eyasd.serving.feedback.feedback import Feedback
from eyasd.serving.feedback.ids import PredictionIds
from eyasd.serving.feedback.memory import OwnMemory, SharedMemory
from eyasd.serving.fleet import Fleet
from eyasd.serving.queue.admission import Admission
from eyasd.serving.saturation import Saturation
from eyasd.serving.shadow import Shadows
from eyasd.storage.address import open_store
from eyasd.storage.watched import watched
from eyasd.telemetry.metrics import Metrics
from eyasd.telemetry.page import serve_metrics
from eyasd.trackers.follower import Follower

if TYPE_CHECKING:
    from eyasd.api.web.door import WebDoor
    from eyasd.jobs.kubernetes.api import Cluster

NO_AIOHTTP: Final = "api.http_listen needs aiohttp: install 'eyas[http]', or leave it unset."
_OBJECTS_BETWEEN_COLLECTIONS: Final = 50_000
_FLUSH_SECONDS: Final = 3.0  # for the last traces, in the end


class Role(StrEnum):
    """What a daemon does: `trainer` runs jobs, `server` classifies, `all` does both."""

    TRAINER = "trainer"
    SERVER = "server"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Share:
    """What one of several acceptors has of a daemon, see `supervisor`.

    Attributes:
        of: how many acceptors there are.
        address: which they listen on together.
        http_address: likewise, for HTTP; None where they do not.
    """

    of: int
    address: str
    http_address: str | None


class App:
    """One daemon, or an acceptor of one. Made, started and stopped in one event loop."""

    def __init__(
        self, role: Role, settings: Settings, log: structlog.typing.FilteringBoundLogger, share: Share | None = None
    ) -> None:
        """Opens the data folder and binds the ports.

        Args:
            role: what it does.
            settings: how.
            log: hears of it.
            share: where it is one of several acceptors, whose engines and page of metrics are elsewhere.

        Raises:
            StartupFailed: says what is in the way.
        """
        self._settings = settings
        self._log = log
        self._share = share
        self.metrics = self._metrics = Metrics()
        self._tracing, self._exporter = tracing_of(settings, role, self._metrics, log)
        self._metrics.build_info.labels(version("eyas"), role).set(1)
        store = open_store(settings.registry.url, settings.data_dir / "models")
        self._repository = watched(store, self._metrics.on_storage_failure("models"))
        self._models = Models(self._repository)
        self._captured = open_captured(settings, self._metrics.on_storage_failure("captured"))
        self._scheduler: Scheduler | None = None
        self._permits: Permits | None = None
        self._cluster: Cluster | None = None
        self._fleet: Fleet | None = None
        self._classifier: Classifier | None = None
        self._housekeeping: Housekeeping | None = None
        self._streaming: list[ClassificationService | InferenceService | DatasetService] = []
        self._shadows: Shadows | None = None
        self._followers: list[Follower] = []
        self._capture: Capture | None = None
        self._background: list[asyncio.Task[None]] = []
        self._following: list[asyncio.Task[None]] = []
        self._closers: list[Callable[[], None]] = []
        services: list[Service] = []
        if role is not Role.SERVER:
            services += self._make_trainer()
        if role is not Role.TRAINER:
            services += self._make_server()
        keep = timedelta(days=settings.registry.keep_days)
        services.append(ModelService(self._models, self._fleet, keep))
        services.append(CaptureService(self._models, self._captured))
        token = settings.api.token.get_secret_value() if settings.api.token else None
        interceptor = CallInterceptor(
            token=token, metrics=self._metrics, log=log, own={REPORT_PROGRESS: self._reports}, tracing=self._tracing
        )
        self._server = self._bind(services, interceptor)
        self.port = self._server.port
        self._web = self._make_web(interceptor)
        self.http_port = self._web.port if self._web else None
        self.metrics_port = 0
        if share is None:
            watch_machine(self._metrics, settings)
            self.metrics_port, close = serve_metrics(settings.telemetry.metrics_listen, self._metrics.registry)
            self._closers.append(close)

    async def start(self) -> None:
        """Loads what the aliases lead to, and then answers calls and says SERVING.

        Connections wait until then: a client that knows several servers, and does not ask for their health, asks the others.

        Raises:
            StartupFailed: the repository cannot be read.
        """
        if self._scheduler is not None:
            self._background += [asyncio.create_task(self._scheduler.run()), asyncio.create_task(self._leave_key())]
        self._following = [asyncio.create_task(follower.run()) for follower in self._followers]
        if self._housekeeping is not None:
            self._background.append(asyncio.create_task(self._housekeeping.run()))
        if self._fleet is not None:
            self._fleet.on_change = self._show_readiness
            try:
                await self._fleet.refresh()
            except StorageFailed as error:
                raise StartupFailed(error.message) from error
            await self._fleet.settle()
            self._background.append(asyncio.create_task(self._fleet.run()))
        if self._capture is not None:
            self._background.append(asyncio.create_task(self._capture.run()))
        await self._server.start()
        if self._web is not None:
            await self._web.start()
        if self._share is None:
            self._log.info("serving", address=self._settings.api.listen, port=self.port, metrics_port=self.metrics_port)

    def _reports(self, token: str) -> bool:
        return self._permits is not None and self._permits.read(token) is not None

    def share_engines(self, channel: Channel) -> RemoteLoader:
        """Returns what loads versions at the other end of the channel; to be called before `start`."""
        self._remote.use(channel)
        return self._remote

    def share_memory(self, channel: Channel) -> SharedMemory:
        """Returns what remembers reported answers at the other end of the channel; to be called before `start`."""
        memory = SharedMemory(channel)
        self._feedback.remember_in(memory)
        return memory

    async def stop(self) -> None:
        """Goes down without failing a call that arrives in time; see the module's docstring."""
        await self._server.say_not_serving()
        for service in self._streaming:
            service.end_streams()
        await asyncio.sleep(self._settings.api.lame_duck_seconds)
        for task in self._following:  # before their leases are released
            task.cancel()
        await asyncio.gather(*self._following, return_exceptions=True)
        if self._scheduler is not None:
            await self._scheduler.close()
        grace = self._settings.api.grace_seconds
        await asyncio.gather(self._server.stop(grace), *([self._web.stop(grace)] if self._web else []))
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        for part in (self._cluster, self._shadows, self._capture, self._fleet):
            if part is not None:
                await part.close()
        if self._exporter is not None:
            await asyncio.to_thread(self._exporter.close, _FLUSH_SECONDS)
        while self._closers:  # once each, also where somebody stops twice
            self._closers.pop(0)()

    def _make_trainer(self) -> Services:
        folder = self._settings.data_dir
        make_writable(folder)
        store = open_jobs(self._settings, self._log)
        self._closers.append(store.close)
        jobs, training = self._settings.jobs, self._settings.training
        queue = queue_options(self._settings)
        exchange = make_exchange(self._settings, self._metrics.on_storage_failure("handover"))
        # On the machine of a pod that shares no folder with this one.
        elsewhere = Path("/tmp") if exchange else None  # noqa: S108 -- the one folder of a pod that can be written
        frozen = Frozen(self._captured)
        options = AttemptOptions(
            retries=RetryOptions(jobs.max_attempts, timedelta(seconds=jobs.retry_seconds)),
            stop_grace_seconds=jobs.stop_grace_seconds,
            weights=training.weights.resolve() if training.weights else None,
            hub=training.hub,
            cache=SharedCache(str((training.cache_dir or folder / "cache").resolve()), training.cache_bytes)
            if training.cache_bytes and not elsewhere
            else None,
            sources=Sources(
                training.data_roots,
                SharedCache(str((training.fetched_dir or (elsewhere or folder) / "fetched").resolve()), training.fetched_bytes),
            ),
            frozen=frozen,
        )
        key = jobs.report_key
        self._permits = Permits(key.get_secret_value().encode() if key else kept_key(folder / "report.key"))
        replica = Replica(folder / "replicas")
        self._closers.append(replica.close)
        datasets = open_datasets(self._settings, self._metrics.on_storage_failure("datasets"))
        ledger = Ledger(
            store,
            datasets,
            folder / "jobs",
            replica,
            self._metrics,
            self._log,
            jobs.quota_queued,
            exchange,
            Plates(self._repository, replica.id, self._log) if store.is_remote else None,
            self._tracing,
        )
        runner, self._cluster = make_runner(self._settings, self._permits, self._log)
        scheduler = self._scheduler = Scheduler(ledger, runner, self._models, queue, options, self._metrics, self._log)
        outlook = Outlook(ledger, scheduler, queue)
        keep, keep_versions = (timedelta(days=kept.keep_days) for kept in (self._settings.datasets, self._settings.registry))
        stores = list(stores_of(self._settings).values())
        self._housekeeping = Housekeeping(datasets, stores, keep, self._models, keep_versions, self._log)
        limits = UploadLimits(idle_seconds=self._settings.api.stream_idle_seconds)
        uploads = DatasetService(datasets, ledger, limits, self._metrics, self._housekeeping.wake)
        self._streaming.append(uploads)
        self._closers.append(uploads.close)
        self._followers = make_followers(self._settings, ledger, self._models, self._metrics, self._log)
        intake = Intake(ledger, self._models, frozen, training.data_roots)
        return [TrainingService(intake, outlook), JobService(ledger, outlook, self._permits), uploads]

    def _make_server(self) -> Services:
        serving = self._settings.serving
        options = fleet_options(self._settings)
        of = self._share.of if self._share else 1
        threads = max(1, (serving.threads or cpu_count()) // of)
        most = max(1, serving.max_queue_images // of)
        self._remote = RemoteLoader(self._models, options.engine, self._metrics)
        self._fleet = Fleet(self._models, options, self._metrics, self._log, self._remote if self._share else None)
        capture = self._capture = self._make_capture(self._fleet, of)
        self._shadows = Shadows(self._fleet, self._metrics, self._log, traces=self._tracing, on_flip=capture.disagreed)
        cache = Cache(serving.cache_bytes // of) if serving.cache_bytes else None
        admission = Admission(most, threads)
        decode = decoder_of(self._settings, self._metrics)
        drift = Drift(self._metrics, capture.unusual)
        self._fleet.on_load.append(drift.watch)
        self._fleet.on_unload.append(drift.leave)
        self._closers.append(drift.close)
        ids = PredictionIds(feedback_keys(self._settings, self._repository, self._log))
        classifier = Classifier(
            self._fleet,
            admission,
            self._shadows,
            cache,
            self._metrics,
            threads=threads,
            decode=decode,
            ids=ids,
            watchers=[drift, capture],
        )
        self._feedback = Feedback(
            ids, self._fleet, self._models, OwnMemory(), self._metrics, keep_days=serving.feedback_days, listeners=[capture]
        )
        self._classifier = classifier
        Saturation(admission, self._metrics, of)
        self._closers.append(classifier.close)
        api = self._settings.api
        limits = StreamLimits(images=api.stream_images, idle_seconds=api.stream_idle_seconds)
        classification = ClassificationService(classifier, self._metrics, api.default_deadline_seconds, limits)
        inference = InferenceService(
            classifier,
            self._fleet,
            self._models,
            self._metrics,
            default_deadline_seconds=api.default_deadline_seconds,
            is_ready=lambda: self._server.is_ready,
            sees_all=self._share is None,
        )
        self._streaming += [classification, inference]
        return [classification, inference, FeedbackService(self._feedback)]

    def _make_capture(self, fleet: Fleet, of: int) -> Capture:
        """Returns what keeps pictures of production, for one of so many processes that answer."""
        capture = self._settings.capture
        keeper = Keeper(self._captured, capture.max_bytes)
        writer = Writer(keeper, load_hook(capture.redact), self._metrics, self._log)
        hourly_images, memory_bytes = capture.hourly_images / of, capture.memory_bytes // of
        return Capture(
            fleet.captures,
            writer,
            self._metrics,
            hourly_images=hourly_images,
            memory_bytes=memory_bytes,
            unusual=unusual,
            window_seconds=capture.window_seconds,
        )

    def _bind(self, services: Services, interceptor: CallInterceptor) -> Server:
        api = self._settings.api
        tls = Tls(api.tls_certificate, api.tls_key) if api.tls_certificate and api.tls_key else None
        return Server(
            services,
            interceptor,
            address=self._share.address if self._share else api.listen,
            tls=tls,
            with_reflection=api.reflection,
            connection_age_seconds=api.connection_age_seconds,
            shares_port=self._share is not None,
        )

    def _make_web(self, interceptor: CallInterceptor) -> WebDoor | None:
        """Returns the HTTP door if there is to be one; where there is none, nothing of it is imported."""
        api = self._settings.api
        address = self._share.http_address if self._share else api.http_listen
        if address is None or self._classifier is None:
            return None
        try:
            from eyasd.api.web.door import WebDoor  # noqa: PLC0415
        except ModuleNotFoundError as error:
            raise StartupFailed(NO_AIOHTTP) from error
        return WebDoor(
            self._classifier,
            self._feedback,
            interceptor,
            self._metrics,
            address=address,
            shares_port=self._share is not None,
            tls=(api.tls_certificate, api.tls_key) if api.tls_certificate and api.tls_key else None,
            default_deadline_seconds=api.default_deadline_seconds,
            is_ready=lambda: self._server.is_ready,
        )

    async def _leave_key(self) -> None:
        """Sees to it that the repository has a key for prediction ids, also where servers may only read it."""
        with suppress(StorageFailed):
            await asyncio.to_thread(shared_key, self._repository)

    def _show_readiness(self, readiness: Mapping[str, bool]) -> None:
        task = asyncio.create_task(self._server.set_models(readiness))
        self._background.append(task)
        task.add_done_callback(self._background.remove)


def collect_seldom() -> None:
    """Lets Python look for cycles less often, once a server has started.

    What there is by then stays, and a call makes hundreds of objects but no cycle: to look for one at every 700 took 6 % of a busy
    server.
    """
    gc.freeze()
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
