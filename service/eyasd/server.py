"""What a server is made of: the fleet of loaded versions, and what classifies, watches and judges their answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from eyasd.api.classify import ClassificationService
from eyasd.api.feedback import FeedbackService
from eyasd.api.inference.service import InferenceService
from eyasd.api.server import Service
from eyasd.api.streaming import StreamLimits
from eyasd.config import Settings
from eyasd.core.processors import cpu_count
from eyasd.machine import decoding_of, feedback_keys, fleet_options, source_of
from eyasd.registry.captured import Captured
from eyasd.registry.keeper import Keeper
from eyasd.registry.models import Models
from eyasd.serving.cache import Cache
from eyasd.serving.capture.capture import Capture
from eyasd.serving.capture.preparing import Redact, load_hook
from eyasd.serving.capture.writing import Writer
from eyasd.serving.classifier import Classifier
from eyasd.serving.decoding.decoding import Decoding
from eyasd.serving.drift.unusual import unusual
from eyasd.serving.drift.watcher import Drift
from eyasd.serving.engine.loading import Loader
from eyasd.serving.engine.remote import RemoteLoader
from eyasd.serving.feedback.feedback import Feedback
from eyasd.serving.feedback.ids import PredictionIds
from eyasd.serving.feedback.memory import OwnMemory
from eyasd.serving.fleet import Fleet
from eyasd.serving.queue.admission import Admission
from eyasd.serving.saturation import Saturation
from eyasd.serving.shadow import Shadows
from eyasd.storage.store import Store
from eyasd.telemetry.metrics import Metrics
from eyasd.telemetry.tracing import Tracing


@dataclass(frozen=True, slots=True)
class ServerParts:
    """The parts of a server that a daemon starts, asks or stops.

    Attributes:
        classification: answers Classify.
        inference: answers the Open Inference Protocol.
        classifier: which they ask.
        feedback: judges answers.
        fleet: loads and unloads versions.
        remote: loads them at a supervisor's, where there is one.
        shadows: see what production has answered.
        capture: keeps pictures.
        closers: end what the above use, in this order.
    """

    classification: ClassificationService
    inference: InferenceService
    classifier: Classifier
    feedback: Feedback
    fleet: Fleet
    remote: RemoteLoader
    shadows: Shadows
    capture: Capture
    closers: list[Callable[[], None]]

    @property
    def services(self) -> list[Service]:
        """What answers its calls."""
        return [self.classification, self.inference, FeedbackService(self.feedback)]


def make_server(
    settings: Settings,
    repository: Store,
    models: Models,
    captured: Captured,
    metrics: Metrics,
    tracing: Tracing,
    log: structlog.typing.FilteringBoundLogger,
    *,
    acceptors: int | None,
    is_ready: Callable[[], bool],
) -> ServerParts:
    """Returns a server that does nothing yet.

    Args:
        settings: how it serves.
        repository: of the models.
        models: in it.
        captured: pictures of production that were kept.
        metrics: where all is counted.
        tracing: makes traces of its calls.
        log: hears of it.
        acceptors: how many share the engines, which are then a supervisor's; None where the daemon is alone.
        is_ready: whether the daemon takes calls.

    Raises:
        StartupFailed: it cannot serve so.
    """
    serving = settings.serving
    options = fleet_options(settings)
    of = acceptors or 1
    threads = max(1, (serving.decode_processes or serving.threads or cpu_count()) // of)
    most = max(1, serving.max_queue_images // of)
    source = source_of(settings, models, metrics, log)
    remote = RemoteLoader(source, options.engine, metrics)
    fleet = Fleet(models, options, metrics, log, remote if acceptors else Loader(source, options.engine, metrics, log))
    redact = load_hook(settings.capture.redact)
    decoding = decoding_of(settings, metrics, log, of)
    capture = _make_capture(settings, captured, fleet, metrics, log, of, redact, decoding)
    shadows = Shadows(fleet, metrics, log, traces=tracing, on_flip=capture.disagreed, decoding=decoding)
    cache = Cache(serving.cache_bytes // of) if serving.cache_bytes else None
    admission = Admission(most, threads)
    drift = Drift(metrics, capture.unusual, side_of=decoding.shorter_side)
    fleet.on_load.append(drift.watch)
    fleet.on_unload.append(drift.leave)
    ids = PredictionIds(feedback_keys(settings, repository, log))
    classifier = Classifier(
        fleet,
        admission,
        shadows,
        cache,
        metrics,
        threads=threads,
        decoding=decoding,
        ids=ids,
        watchers=[drift, capture],
    )
    feedback = Feedback(ids, fleet, models, OwnMemory(), metrics, keep_days=serving.feedback_days, listeners=[capture])
    Saturation(admission, metrics, of)
    api = settings.api
    limits = StreamLimits(images=api.stream_images, idle_seconds=api.stream_idle_seconds)
    classification = ClassificationService(classifier, metrics, api.default_deadline_seconds, limits)
    inference = InferenceService(
        classifier,
        fleet,
        models,
        metrics,
        default_deadline_seconds=api.default_deadline_seconds,
        idle_seconds=api.stream_idle_seconds,
        is_ready=is_ready,
        sees_all=acceptors is None,
    )
    closers = [drift.close, classifier.close, decoding.close]
    return ServerParts(classification, inference, classifier, feedback, fleet, remote, shadows, capture, closers)


def _make_capture(
    settings: Settings,
    captured: Captured,
    fleet: Fleet,
    metrics: Metrics,
    log: structlog.typing.FilteringBoundLogger,
    of: int,
    redact: Redact | None,
    decoding: Decoding,
) -> Capture:
    """Returns what keeps pictures of production, for one of so many processes that answer."""
    capture = settings.capture
    keeper = Keeper(captured, capture.max_bytes)
    writer = Writer(keeper, redact, metrics, log, strip=decoding.bare)
    hourly_images, memory_bytes = capture.hourly_images / of, capture.memory_bytes // of
    return Capture(
        fleet.captures,
        writer,
        metrics,
        hourly_images=hourly_images,
        memory_bytes=memory_bytes,
        unusual=unusual,
        window_seconds=capture.window_seconds,
    )
