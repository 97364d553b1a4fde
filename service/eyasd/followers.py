"""The trackers that the settings name, each followed by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from eyasd.config import Settings
from eyasd.core.errors import StartupFailed
from eyasd.registry.models import Models
from eyasd.settings import MlflowSettings
from eyasd.telemetry.metrics import Metrics
from eyasd.trackers.follower import Follower, Tracker
from eyasd.trackers.tensorboard import TensorBoardTracker

if TYPE_CHECKING:
    from eyasd.jobs.ledger import Ledger

NO_AIOHTTP: Final = "trackers.mlflow.url needs aiohttp: install 'eyas[mlflow]', or leave it unset."


def make_trackers(settings: Settings, models: Models, log: structlog.typing.FilteringBoundLogger) -> list[Tracker]:
    """Returns the trackers that are told of jobs.

    Raises:
        StartupFailed: what one needs is not installed.
    """
    trackers: list[Tracker] = []
    repository = settings.registry.url or f"file://{(settings.data_dir / 'models').resolve()}"
    mlflow, folder = settings.trackers.mlflow, settings.trackers.tensorboard.dir
    if mlflow.url is not None:
        trackers.append(_mlflow(mlflow, mlflow.url, models, repository, log))
    if folder is not None:
        trackers.append(TensorBoardTracker(folder.resolve()))
    return trackers


def make_followers(
    settings: Settings, ledger: Ledger, models: Models, metrics: Metrics, log: structlog.typing.FilteringBoundLogger
) -> list[Follower]:
    """Returns what tells each tracker of the jobs; see `make_trackers`."""
    trackers = make_trackers(settings, models, log)
    return [Follower(ledger.feed(f"{tracker.name} {tracker.place}"), tracker, metrics, log) for tracker in trackers]


def _mlflow(
    settings: MlflowSettings, url: str, models: Models, repository: str, log: structlog.typing.FilteringBoundLogger
) -> Tracker:
    try:
        from eyasd.trackers.mlflow.client import Client  # noqa: PLC0415 - with aiohttp, which few others need
        from eyasd.trackers.mlflow.mirror import Mirror  # noqa: PLC0415
        from eyasd.trackers.mlflow.runs import Runs  # noqa: PLC0415
        from eyasd.trackers.mlflow.tracker import MlflowTracker  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise StartupFailed(NO_AIOHTTP) from error
    user, token = (secret.get_secret_value() if secret else "" for secret in (settings.user, settings.token))
    client = Client(url, user, token)
    runs = Runs(client, settings.experiment)
    mirror = Mirror(client, runs, models, repository, log) if settings.registry else None
    return MlflowTracker(client, runs, url, models, mirror, log, with_model=settings.model)
