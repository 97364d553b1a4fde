"""One daemon, or an acceptor of one, whose parts `trainer` and `server` wire together.

    start    data folder -> port bound -> metrics -> scheduler and fleet -> first versions loaded -> calls answered, SERVING
    SIGTERM  NOT_SERVING -> lame duck -> watches say so, streams end -> trainers checkpoint -> calls in flight finish

`eyasd.daemon` says when.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

import structlog

from eyasd.api.arrivals import Arrivals, Streams
from eyasd.api.capture import CaptureService
from eyasd.api.classify import ClassificationService
from eyasd.api.datasets import DatasetService
from eyasd.api.early import Early
from eyasd.api.inference.service import InferenceService
from eyasd.api.interceptors import CallInterceptor
from eyasd.api.models import ModelService
from eyasd.api.server import Server, Service, Services
from eyasd.api.training import REPORT_PROGRESS
from eyasd.config import Settings
from eyasd.core.errors import StartupFailed, StorageFailed
from eyasd.entrance import is_private, open_certificates, open_gate
from eyasd.housekeeping import Housekeeping
from eyasd.jobs.permits import Permits
from eyasd.jobs.scheduler import Scheduler
from eyasd.machine import LEAST_PART, messages_of, open_captured, open_repository, tracing_of, watch_machine
from eyasd.registry.keys import shared_key
from eyasd.registry.models import Models
from eyasd.server import make_server
from eyasd.serving.capture.capture import Capture
from eyasd.serving.classifier import Classifier
from eyasd.serving.engine.channel import Channel
from eyasd.serving.engine.remote import RemoteLoader
from eyasd.serving.feedback.memory import SharedMemory
from eyasd.serving.fleet import Fleet
from eyasd.serving.shadow import Shadows
from eyasd.telemetry.metrics import Metrics
from eyasd.telemetry.page import serve_metrics
from eyasd.trackers.follower import Follower
from eyasd.trainer import make_trainer

if TYPE_CHECKING:
    from eyasd.api.web.door import WebDoor
    from eyasd.jobs.kubernetes.api import Cluster

NO_AIOHTTP: Final = "api.http_listen needs aiohttp: install 'eyas[http]', or leave it unset."
_FLUSH_SECONDS: Final = 3.0  # for the last traces, in the end
# From when those that watch are told until connections end: enough for them to leave, and so short that a client which knows no
# other server yet repeats its calls past it (for 0.6 s at least).
_LEAVING_SECONDS: Final = 0.25


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
        self._repository = open_repository(settings, self._metrics)
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
        gate, self._credentials = open_gate(settings, self._metrics, log, share.of if share else 1)
        self._closers.append(gate.audit.close)
        self._certificates = open_certificates(settings, self._metrics, log)
        messages, streams = messages_of(settings.api)
        interceptor = CallInterceptor(
            gate=gate,
            metrics=self._metrics,
            log=log,
            streams=Streams(self._part(streams)),
            idle_seconds=settings.api.stream_idle_seconds,
            own={REPORT_PROGRESS: self._reports},
            tracing=self._tracing,
        )
        arrivals = Arrivals(self._part(messages), settings.api.arrival_seconds)
        self._early = Early(interceptor, arrivals, settings.api.arrival_seconds)
        self._server = self._bind(services, interceptor)
        self.port = self._server.port
        self._web = self._make_web(interceptor, arrivals)
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
        await self._credentials.look()
        self._background += [asyncio.create_task(self._credentials.follow()), asyncio.create_task(self._early.follow())]
        if self._scheduler is not None:
            self._background += [asyncio.create_task(self._scheduler.run()), asyncio.create_task(self._leave_key())]
        self._following = [asyncio.create_task(follower.run()) for follower in self._followers]
        if self._housekeeping is not None:
            self._background.append(asyncio.create_task(self._housekeeping.run()))
        if self._fleet is not None:
            self._fleet.on_change = self._server.set_models
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

    def _part(self, most: int) -> int:
        """Returns what this process has of what a daemon may: all, or an acceptor's part."""
        return max(LEAST_PART, most // self._share.of) if self._share else most

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
        self._server.say_not_serving()
        lame_duck = self._settings.api.lame_duck_seconds
        leaving = min(_LEAVING_SECONDS, lame_duck)
        await asyncio.sleep(lame_duck - leaving)
        self._server.send_away()
        for service in self._streaming:
            service.end_streams()
        await asyncio.sleep(leaving)
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
        made = make_trainer(self._settings, self._repository, self._models, self._captured, self._metrics, self._tracing, self._log)
        self._scheduler, self._permits, self._cluster = made.scheduler, made.permits, made.cluster
        self._housekeeping, self._followers = made.housekeeping, made.followers
        self._streaming.append(made.uploads)
        self._closers += made.closers
        return made.services

    def _make_server(self) -> Services:
        made = make_server(
            self._settings,
            self._repository,
            self._models,
            self._captured,
            self._metrics,
            self._tracing,
            self._log,
            acceptors=self._share.of if self._share else None,
            is_ready=lambda: self._server.is_ready,
        )
        self._fleet, self._remote, self._classifier = made.fleet, made.remote, made.classifier
        self._feedback, self._shadows, self._capture = made.feedback, made.shadows, made.capture
        self._streaming += [made.classification, made.inference]
        self._closers += made.closers
        return made.services

    def _bind(self, services: Services, interceptor: CallInterceptor) -> Server:
        api = self._settings.api
        return Server(
            services,
            interceptor,
            self._early,
            address=self._share.address if self._share else api.listen,
            certificates=self._certificates,
            with_reflection=api.reflection,
            connection_age_seconds=api.connection_age_seconds,
            connections=self._part(api.connections),
            window_bytes=api.window_bytes,
            shares_port=self._share is not None,
        )

    def _make_web(self, interceptor: CallInterceptor, arrivals: Arrivals) -> WebDoor | None:
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
            arrivals,
            self._metrics,
            address=address,
            shares_port=self._share is not None,
            certificates=self._certificates,
            connections=self._part(api.connections),
            default_deadline_seconds=api.default_deadline_seconds,
            is_ready=lambda: self._server.is_ready,
            is_private=is_private(self._settings) and not api.insecure,
        )

    async def _leave_key(self) -> None:
        """Sees to it that the repository has a key for prediction ids, also where servers may only read it."""
        with suppress(StorageFailed):
            await asyncio.to_thread(shared_key, self._repository)
