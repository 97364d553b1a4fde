"""What a trainer is made of: the queue of jobs and what runs them, uploads, and the trackers that are told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from eyasd.api.datasets import DatasetService
from eyasd.api.server import Service
from eyasd.api.training import JobService, TrainingService
from eyasd.api.uploading import UploadLimits
from eyasd.config import Settings
from eyasd.core.tasks import SharedCache, Sources
from eyasd.entrance import is_private
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
from eyasd.machine import make_writable, open_datasets, open_jobs, stores_of
from eyasd.registry.captured import Captured
from eyasd.registry.frozen import Frozen
from eyasd.registry.models import Models
from eyasd.registry.shares import Shares
from eyasd.runners import make_exchange, make_runner, queue_options
from eyasd.storage.store import Store
from eyasd.telemetry.metrics import Metrics
from eyasd.telemetry.tracing import Tracing
from eyasd.trackers.follower import Follower

if TYPE_CHECKING:
    from eyasd.jobs.kubernetes.api import Cluster


@dataclass(frozen=True, slots=True)
class TrainerParts:
    """The parts of a trainer that a daemon starts, asks or stops.

    Attributes:
        services: answer its calls.
        uploads: one of them, whose streams end before the others.
        scheduler: runs jobs.
        permits: know the tokens of pods.
        cluster: where jobs are pods; None where they are processes.
        housekeeping: removes what is not needed any more.
        followers: tell trackers.
        closers: end what the above use, in this order.
    """

    services: list[Service]
    uploads: DatasetService
    scheduler: Scheduler
    permits: Permits
    cluster: Cluster | None
    housekeeping: Housekeeping
    followers: list[Follower]
    closers: list[Callable[[], None]]


def make_trainer(
    settings: Settings,
    repository: Store,
    models: Models,
    captured: Captured,
    metrics: Metrics,
    tracing: Tracing,
    log: structlog.typing.FilteringBoundLogger,
) -> TrainerParts:
    """Returns a trainer that does nothing yet. Raises StartupFailed."""
    folder = settings.data_dir
    make_writable(folder)
    store = open_jobs(settings, log)
    jobs, training = settings.jobs, settings.training
    queue = queue_options(settings)
    exchange = make_exchange(settings, metrics.on_storage_failure("handover"))
    # On the machine of a pod that shares no folder with this one.
    elsewhere = Path("/tmp") if exchange else None  # noqa: S108 -- the one folder of a pod that can be written
    frozen = Frozen(captured)
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
    permits = Permits(key.get_secret_value().encode() if key else kept_key(folder / "report.key"))
    replica = Replica(folder / "replicas")
    datasets = open_datasets(settings, metrics.on_storage_failure("datasets"))
    ledger = Ledger(
        store,
        datasets,
        folder / "jobs",
        replica,
        metrics,
        log,
        jobs.quota_queued,
        exchange,
        Plates(repository, replica.id, log) if store.is_remote else None,
        tracing,
    )
    runner, cluster = make_runner(settings, permits, log)
    scheduler = Scheduler(ledger, runner, models, queue, options, metrics, log)
    outlook = Outlook(ledger, scheduler, queue)
    keep, keep_versions = (timedelta(days=kept.keep_days) for kept in (settings.datasets, settings.registry))
    stores = list(stores_of(settings).values())
    housekeeping = Housekeeping(datasets, stores, keep, models, keep_versions, log)
    limits = UploadLimits(idle_seconds=settings.api.stream_idle_seconds)
    uploads = DatasetService(
        datasets, ledger, limits, Shares(datasets, settings.datasets.quota_bytes, keep), metrics, housekeeping.wake
    )
    followers = make_followers(settings, ledger, models, metrics, log)
    intake = Intake(ledger, models, frozen, training.data_roots if training.data_roots or is_private(settings) else None)
    return TrainerParts(
        [TrainingService(intake, outlook), JobService(ledger, outlook, permits), uploads],
        uploads,
        scheduler,
        permits,
        cluster,
        housekeeping,
        followers,
        [store.close, replica.close, uploads.close],
    )
