"""How this machine serves, by the settings and by what it has, and what it keeps: for daemons and supervisors and their check."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

import structlog

from eyasd.api.transport import MAX_MESSAGE_BYTES
from eyasd.config import Settings
from eyasd.core.errors import StartupFailed, StorageFailed
from eyasd.core.jpeg import Decode
from eyasd.core.memory import memory_bytes
from eyasd.core.processors import cpu_count
from eyasd.jobs.gpus import visible_gpus
from eyasd.registry.blobs import Blobs
from eyasd.registry.cache import ModelCache
from eyasd.registry.captured import Captured
from eyasd.registry.datasets import DatasetLimits, Datasets
from eyasd.registry.keys import shared_key
from eyasd.registry.models import Models
from eyasd.serving.catalog import FleetOptions
from eyasd.serving.decoding.decoding import Here
from eyasd.serving.decoding.pool import Pool
from eyasd.serving.decoding.worker import ENDS
from eyasd.serving.engine.loading import EngineOptions, Source
from eyasd.serving.network.plan import Plan, plan
from eyasd.serving.network.precision import check_wish
from eyasd.serving.network.providers import CPU, DEFAULT_BATCH_SIZES, TENSORRT, choose_provider
from eyasd.serving.nvjpeg import GpuDecoder
from eyasd.settings import ApiSettings
from eyasd.storage.address import beside, open_store
from eyasd.storage.contents import Contents
from eyasd.storage.store import Store
from eyasd.storage.watched import watched
from eyasd.telemetry.machine import watch_disks, watch_gpus
from eyasd.telemetry.metrics import Metrics
from eyasd.telemetry.otlp import Exporter, open_exporter
from eyasd.telemetry.tracing import OFF, Tracing

if TYPE_CHECKING:
    from eyasd.jobs.database import Database
    from eyasd.jobs.store import JobStore


LEAST_PART: Final = 4  # of messages, of which a quarter is kept back for callers who have nothing yet
_MOST_MESSAGES: Final = 32
_MOST_STREAMS: Final = 128


def fleet_options(settings: Settings) -> FleetOptions:
    """Returns how this machine serves, by the settings and by what it has.

    Raises:
        StartupFailed: it cannot serve so.
    """
    serving = settings.serving
    threads = serving.threads or cpu_count()
    provider = choose_provider(serving.device)
    check_wish(serving.precision, provider)
    devices = visible_gpus(os.environ) if provider != CPU else []
    shares = plan(provider, threads, serving.optimize)
    if devices or serving.engines_per_version:
        engines = serving.engines_per_version or len(devices)
        shares = Plan(engines, max(1, threads // engines))
    return FleetOptions(
        engine=EngineOptions(
            provider=provider,
            precision=serving.precision,
            count=shares.engines,
            threads=shares.threads,
            devices=tuple(devices) if len(devices) > 1 else (),
            max_batch_size=serving.max_batch_size or DEFAULT_BATCH_SIZES[provider],
            max_delay_seconds=serving.max_delay_ms / 1000,
            slots=serving.max_queue_images,
            transport=serving.engines,
            load_limit_seconds=serving.load_limit_seconds,
            gpu_memory_bytes=serving.gpu_memory_bytes,
            tensorrt_cache=str(_tensorrt_cache(settings.data_dir)) if provider == TENSORRT else "",
        ),
        poll_interval_seconds=serving.poll_interval_seconds,
        retry_interval_seconds=serving.retry_interval_seconds,
        memory_bytes=serving.memory_bytes or memory_bytes() // 2,
    )


def messages_of(api: ApiSettings, memory: int | None = None) -> tuple[int, int]:
    """Returns how many messages come at once, and how many streams are open in which one may: those set, or what there is room for.

    Args:
        api: the settings.
        memory: that this process may use, of which all of them take half at most where neither is set; None is as it is.
    """
    room = (memory_bytes() if memory is None else memory) // 2 // MAX_MESSAGE_BYTES
    messages = min(_MOST_MESSAGES, room * _MOST_MESSAGES // (_MOST_MESSAGES + _MOST_STREAMS))
    streams = min(_MOST_STREAMS, room * _MOST_STREAMS // (_MOST_MESSAGES + _MOST_STREAMS))
    return api.arriving_messages or max(LEAST_PART, messages), api.streams or max(LEAST_PART, streams)


def decoder_of(settings: Settings, metrics: Metrics) -> Decode | None:
    """Returns what decodes JPEGs instead of libjpeg-turbo, if anything shall.

    Raises:
        StartupFailed: it cannot.
    """
    if settings.serving.decoder == "cpu":
        return None
    return GpuDecoder(lambda done: metrics.gpu_decodes.labels("done" if done else "declined").inc()).decode


def decoding_of(settings: Settings, metrics: Metrics, log: structlog.typing.FilteringBoundLogger, of: int = 1) -> Here | Pool:
    """Returns what opens callers' files, for one of so many processes that answer. Raises StartupFailed."""
    serving = settings.serving
    if not serving.decode_processes:
        return Here(decoder_of(settings, metrics))
    for why in ENDS:  # a series that begins with the first end has no increase that tells of it
        metrics.decoder_ends.labels(why)
    pool = Pool(
        max(1, serving.decode_processes // of),
        limit_seconds=serving.decode_limit_seconds,
        on_end=lambda why: metrics.decoder_ends.labels(why).inc(),
        log=log,
    )
    log.info("pictures are decoded in locked processes", own_network=pool.has_network)
    return pool


def feedback_keys(settings: Settings, repository: Store, log: structlog.typing.FilteringBoundLogger) -> list[str]:
    """Returns the keys of prediction ids, of which the first signs.

    Args:
        settings: may name them.
        repository: keeps one otherwise.
        log: hears where it cannot.
    """
    given = settings.serving.feedback_key
    if given is not None:
        return [key.strip() for key in given.get_secret_value().split(",")]
    try:
        return [shared_key(repository)]
    except StorageFailed as error:
        log.warning(
            "the repository keeps no key for prediction ids, so no other server takes this one's, nor does it after a restart: "
            "set serving.feedback_key",
            error=error.message,
        )
        return [secrets.token_hex(32)]


def database_of(settings: Settings) -> Path | str:
    """Returns where the jobs are: SQLite's file, or a URL."""
    url = settings.jobs.database
    return url.get_secret_value() if url else settings.data_dir / "jobs.sqlite"


def open_database(settings: Settings, log: structlog.typing.FilteringBoundLogger) -> Database:
    """Opens the database of jobs for what wants all of it; see `open_jobs`. Raises StartupFailed."""
    at = database_of(settings)
    if isinstance(at, Path):
        make_writable(at.parent)
    try:
        from eyasd.jobs.database import Database  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise StartupFailed(f"The jobs of a trainer need {error.name}: install 'eyas[trainer]'.") from error
    return Database(at, log)


def stores_of(settings: Settings) -> dict[str, Store]:
    """Returns what daemons keep objects in, by the names that back-ups know them by."""
    folder = settings.data_dir
    return {
        "models": open_store(settings.registry.url, folder / "models"),
        "datasets": open_store(datasets_url(settings), folder / "datasets"),
    }


def open_repository(settings: Settings, metrics: Metrics) -> Store:
    """Returns the model repository, whose failures are counted. Raises StartupFailed."""
    return watched(open_store(settings.registry.url, settings.data_dir / "models"), metrics.on_storage_failure("models"))


def contents_of(settings: Settings) -> Contents | None:
    """Returns where files of versions are kept beside servers; None where they are not."""
    folder = settings.registry.cache_dir
    return None if folder is None else Contents(folder, settings.registry.cache_bytes)


def source_of(settings: Settings, models: Models, metrics: Metrics, log: structlog.typing.FilteringBoundLogger) -> Source:
    """Returns what servers load versions from: the registry's models, and what is kept of them."""
    contents = contents_of(settings)
    if contents is None:
        return models

    def fail(said: str) -> None:
        log.warning("the cache of models cannot be used; their files come from the repository", error=said)

    return ModelCache(models, contents, lambda result: metrics.model_cache_files.labels(result).inc(), fail)


def volumes_of(settings: Settings) -> dict[str, Path]:
    """Returns the folders whose disks may fill up: of all data, and of what is told to lie elsewhere."""
    training = settings.training
    stores = {"models": settings.registry.url, "datasets": settings.datasets.url, "captured": settings.capture.url}
    folders = {name: Path(url.removeprefix("file://")) for name, url in stores.items() if url and url.startswith("file://")}
    folders |= {name: at for name, at in (("cache", training.cache_dir), ("fetched", training.fetched_dir)) if at}
    return {"data": settings.data_dir, **folders}


def watch_machine(metrics: Metrics, settings: Settings) -> None:
    """Shows the room on this machine's disks and what its GPUs do; to be called once, however many processes a daemon has."""
    watch_disks(metrics, volumes_of(settings))
    watch_gpus(metrics, visible_gpus(os.environ))


def datasets_url(settings: Settings) -> str | None:
    """Returns where uploads are; None is a folder of this machine's.

    Trainers that share a repository share jobs, or may one day, and any of them has to find what was uploaded to another. So
    unless it is said where, uploads are beside the models: s3://BUCKET/models has s3://BUCKET/models-datasets. Not in the
    repository, which others read, too, Triton among them, and take every folder in it for a model.

    Raises:
        StartupFailed: there is no place beside the models, or one is within the other.
    """
    models = settings.registry.url
    return _own_place("Uploaded datasets", "datasets", "datasets.url", settings.datasets.url, {"registry.url": models})


def captured_url(settings: Settings) -> str | None:
    """Returns where captured pictures are, for the same reasons; None is a folder of this machine's.

    Raises:
        StartupFailed: there is no place beside the models, or they would lie within what is kept elsewhere.
    """
    others = {"registry.url": settings.registry.url, "datasets.url": settings.datasets.url}
    return _own_place("Captured pictures", "captured", "capture.url", settings.capture.url, others)


def _own_place(what: str, name: str, setting: str, url: str | None, others: Mapping[str, str | None]) -> str | None:
    """Returns the address that a setting has, or one beside the models, if these have any.

    Args:
        what: lies there, for a sentence.
        name: what is added to the models' address.
        setting: its name.
        url: its value.
        others: settings with addresses that it must not lie within, nor they within it; that of the models among them.

    Raises:
        StartupFailed: it does, or there is no place beside the models.
    """
    if url is None:
        models = others["registry.url"]
        try:
            return beside(models, name) if models else None
        except ValueError as error:
            raise StartupFailed(
                f"{what} lie beside the models, and registry.url = {error}: set {setting}, to another bucket."
            ) from None
    for other_setting, other in others.items():
        if other and (f"{url}/".startswith(f"{other}/") or f"{other}/".startswith(f"{url}/")):
            raise StartupFailed(
                f"{other_setting} = {other} and {setting} = {url} lie within each other: give each a prefix of its own."
            )
    return url


def open_captured(settings: Settings, on_failure: Callable[[str], None] = lambda _: None) -> Captured:
    """Returns the pictures of production that were kept; see `open_datasets`. Raises StartupFailed."""
    return Captured(watched(open_store(captured_url(settings), settings.data_dir / "captured"), on_failure))


def open_datasets(settings: Settings, on_failure: Callable[[str], None] = lambda _: None) -> Datasets:
    """Returns the datasets that were uploaded, and takes up uploads that an earlier daemon left. Raises StartupFailed.

    Args:
        settings: say where they are.
        on_failure: told the operation, where their store fails.
    """
    folder, limits = settings.data_dir, settings.datasets
    store = watched(open_store(datasets_url(settings), folder / "datasets"), on_failure)
    blobs = Blobs(store, folder / "uploads", limits.max_bytes)
    return Datasets(blobs, DatasetLimits(max_bytes=limits.max_dataset_bytes, max_files=limits.max_files))


def open_jobs(settings: Settings, log: structlog.typing.FilteringBoundLogger, *, trial: bool = False) -> JobStore:
    """Opens the database of jobs; see `Database`. A server never does, so what it takes is not imported before.

    Raises:
        StartupFailed: it cannot be used.
    """
    try:
        from eyasd.jobs.store import JobStore  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise StartupFailed(f"A trainer needs {error.name}: install 'eyas[trainer]'.") from error
    return JobStore(database_of(settings), log, trial=trial)


def make_writable(folder: Path) -> None:
    """Makes the folder if need be, and proves that it can be written to.

    Raises:
        StartupFailed: it cannot.
    """
    probe = folder / f".probe-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise StartupFailed(
            f"The data folder {str(folder)!r} cannot be written to ({error.strerror}): choose another with --data-dir, or mend its "
            "permissions."
        ) from error


def _tensorrt_cache(data_dir: Path) -> Path:
    """Returns the folder of what TensorRT has built, which it makes if need be."""
    folder = data_dir.resolve() / "tensorrt"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def tracing_of(
    settings: Settings, role: str, metrics: Metrics, log: structlog.typing.FilteringBoundLogger
) -> tuple[Tracing, Exporter | None]:
    """Returns what makes traces, and what sends them, which is to be closed; nothing makes any where no collector is set.

    Raises:
        StartupFailed: OpenTelemetry is not installed, or what is to be sent along is not well-formed.
    """
    telemetry = settings.telemetry
    if telemetry.otlp_endpoint is None:
        return OFF, None
    text = telemetry.otlp_headers.get_secret_value() if telemetry.otlp_headers else ""
    pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
    headers = {key.strip().lower(): unquote(value.strip()) for key, found, value in pairs if found}
    if len(headers) < len(pairs) or not all(re.fullmatch(r"[a-z0-9_.-]+", key) for key in headers):
        raise StartupFailed("telemetry.otlp_headers is not KEY=VALUE, or several of them with commas in between.")
    resource = {"service.name": telemetry.service_name, "eyas.role": role}
    try:
        exporter = open_exporter(telemetry.otlp_endpoint, headers, resource, metrics.spans_dropped.inc, log)
    except ModuleNotFoundError as error:
        raise StartupFailed("telemetry.otlp_endpoint needs OpenTelemetry: install 'eyas[otel]', or leave it unset.") from error
    return Tracing(exporter, telemetry.trace_ratio), exporter
