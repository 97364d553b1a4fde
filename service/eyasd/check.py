"""`eyasd ROLE --check`: each thing that a start needs is tried, told in a line, and let go again.

One failure does not hide the next. Nothing is changed, but that a trainer's data folder, the file of
changes and the cache of models are made where they are not there.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import socket
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final, TextIO
from urllib.parse import urlsplit

import structlog

from eyasd.app import NO_AIOHTTP, Role
from eyasd.config import Settings
from eyasd.core.errors import EyasError, StartupFailed
from eyasd.daemon import plan_acceptors
from eyasd.entrance import check_exposure, open_audit, open_certificates, open_credentials
from eyasd.followers import make_trackers
from eyasd.jobs.gpus import gpu_count
from eyasd.machine import (
    captured_url,
    contents_of,
    database_of,
    datasets_url,
    decoding_of,
    fleet_options,
    make_writable,
    open_captured,
    open_jobs,
    tracing_of,
)
from eyasd.registry.models import Models
from eyasd.runners import check_cluster
from eyasd.serving.capture.preparing import load_hook
from eyasd.serving.catalog import FleetOptions
from eyasd.serving.engine.loading import Loader
from eyasd.storage.address import open_store
from eyasd.telemetry.metrics import Metrics
from eyasd.trackers.follower import TrackerAway, TrackerRefuses

Attempt = Callable[[], Awaitable[str]]

_OTLP_PORT: Final = 4317
_CONNECT_SECONDS: Final = 3.0

_TRAINER_PACKAGES: Final = ("torch", "timm", "onnx", "onnxscript", "safetensors", "optuna", "matplotlib", "jinja2")


async def check(role: Role, settings: Settings, log: structlog.typing.FilteringBoundLogger, out: TextIO) -> int:
    """Writes a line a check, and returns the exit status: 0, or 1 if one failed."""
    checks = _Checks(settings, log)
    attempts: list[tuple[str, Attempt]] = [("settings", partial(checks.settings, role))]
    if role is not Role.SERVER:
        attempts += [
            ("data folder", checks.folder),
            ("jobs", checks.jobs),
            ("training", checks.training),
            ("uploads", checks.uploads),
        ]
        attempts += [("trackers", checks.trackers)] if settings.trackers.are_set else []
    attempts += [("registry", checks.registry), ("captured", checks.captured)]
    attempts += [("address", checks.address), ("metrics address", checks.metrics_address)]
    attempts += [("traces", checks.traces)] if settings.telemetry.otlp_endpoint else []
    if role is not Role.TRAINER:
        attempts += [("redaction", checks.redaction)] if settings.capture.redact else []
        attempts += [("HTTP address", checks.http_address)] if settings.api.http_listen else []
        attempts += [("model cache", checks.model_cache)] if settings.registry.cache_dir else []
        attempts.append(("device", checks.device))
    failed = [name for name, attempt in attempts if not await _line(out, name, attempt)]
    if role is not Role.TRAINER and checks.options is not None:
        versions = {f"{model}/{version}": partial(checks.version, model, version) for model, version in sorted(checks.versions)}
        failed += [name for name, attempt in versions.items() if not await _line(out, name, attempt)]
    out.write(f"eyasd {role} would not start as it should: {', '.join(failed)}.\n" if failed else f"eyasd {role} can start.\n")
    return 1 if failed else 0


async def _line(out: TextIO, name: str, attempt: Attempt) -> bool:
    start = time.monotonic()
    try:
        said, well = await attempt(), True
    except (EyasError, OSError) as error:
        said, well = error.message if isinstance(error, EyasError) else str(error), False
    out.write(f"{'ok' if well else 'failed':<6}  {time.monotonic() - start:5.2f} s  {name:<16}  {said}\n")
    out.flush()
    return well


class _Checks:
    """What is tried, in this order, and what it finds for those that come after."""

    def __init__(self, settings: Settings, log: structlog.typing.FilteringBoundLogger) -> None:
        self._settings = settings
        self._log = log
        self._models = Models(open_store(settings.registry.url, settings.data_dir / "models"))
        self.options: FleetOptions | None = None
        self.versions: dict[tuple[str, int], list[str]] = {}  # and what leads there

    async def settings(self, role: Role) -> str:
        plan_acceptors(role, self._settings)
        check_exposure(self._settings)
        open_certificates(self._settings, Metrics(), self._log)
        in_the_way: list[str] = []
        credentials = open_credentials(self._settings, lambda what, error: in_the_way.append(f"{what} cannot be read: {error}."))
        await credentials.look()
        if in_the_way and not credentials.has_keys:
            raise StartupFailed(f"Of access.jwt_keys = {self._settings.access.jwt_keys}, {in_the_way[0]}")
        open_audit(self._settings, Metrics(), self._log).close()
        api, access = self._settings.api, self._settings.access
        encryption = "no TLS" if not api.tls_certificate else "mutual TLS" if api.tls_client_ca else "TLS"
        kinds = [
            *(["api.token"] if api.token is not None else []),
            *([_count(credentials.token_count, "token")] if access.tokens else []),
            *(["certificates"] if access.certificates else []),
            *([f"tokens of {access.jwt_issuer}"] if access.jwt_issuer else []),
        ]
        return f"well-formed; {encryption}; {', '.join(kinds) or 'no credentials: everybody may do everything'}"

    async def folder(self) -> str:
        folder = self._settings.data_dir
        make_writable(folder)
        return f"{folder} can be written to, {shutil.disk_usage(folder).free / 1e9:.1f} GB are free"

    async def jobs(self) -> str:
        place = database_of(self._settings)
        if isinstance(place, Path) and not place.exists():
            return f"{place} will be made"
        open_jobs(self._settings, self._log, trial=True).close()
        return f"{place} can be opened" if isinstance(place, Path) else "jobs.database can be used"

    async def training(self) -> str:
        if self._settings.kubernetes.image is not None:  # which has the packages
            return await check_cluster(self._settings)
        missing = [name for name in _TRAINER_PACKAGES if importlib.util.find_spec(name) is None]
        if missing:
            raise StartupFailed(f"Trainings need {', '.join(missing)}: install 'eyas[trainer]'.")
        weights = self._settings.training.weights
        if weights is not None and not weights.exists():
            raise StartupFailed(f"There is no {weights}: name a file or a folder of weights in training.weights.")
        count = gpu_count(os.environ)
        return f"the packages are installed; {f'{count} GPU' + 's' * (count > 1) if count else 'no GPU'}"

    async def uploads(self) -> str:
        url, folder = datasets_url(self._settings), self._settings.data_dir / "datasets"
        names = await asyncio.to_thread(open_store(url, folder).children, "names")
        return f"{url or folder} has {_count(len(names), 'dataset')}"

    async def captured(self) -> str:
        url, folder = captured_url(self._settings), self._settings.data_dir / "captured"
        models = await asyncio.to_thread(open_captured(self._settings).models)
        return f"{url or folder} has pictures of {_count(len(models), 'model')}"

    async def redaction(self) -> str:
        load_hook(self._settings.capture.redact)
        return f"{self._settings.capture.redact} is there"

    async def registry(self) -> str:
        url, folder = self._settings.registry.url, self._settings.data_dir / "models"
        if url is None and not folder.exists():
            return f"{folder} is not there yet: there is no model to serve"
        models = await asyncio.to_thread(self._models.pointers)
        for model, pointers in models.items():
            for alias, version in pointers.aliases.items():
                self.versions.setdefault((model, version), []).append(alias)
            for version in pointers.by_number:
                self.versions.setdefault((model, version), []).append("traffic")
        return f"{url or folder} has {_count(len(models), 'model')}; aliases lead to {_count(len(self.versions), 'version')}"

    async def address(self) -> str:
        return _free(self._settings.api.listen, "--listen")

    async def http_address(self) -> str:
        if importlib.util.find_spec("aiohttp") is None:
            raise StartupFailed(NO_AIOHTTP)
        return _free(self._settings.api.http_listen or "", "api.http_listen")

    async def metrics_address(self) -> str:
        return _free(self._settings.telemetry.metrics_listen, "--metrics-port")

    async def traces(self) -> str:
        tracing_of(self._settings, "check", Metrics(), self._log)
        found = urlsplit(self._settings.telemetry.otlp_endpoint or "")
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection(found.hostname, found.port or _OTLP_PORT), _CONNECT_SECONDS)
        except (OSError, TimeoutError) as error:
            raise StartupFailed(
                f"No collector listens at {found.geturl()} ({getattr(error, 'strerror', None) or 'no answer'}): calls are answered "
                "without one, but nobody sees their traces. Start it, or leave telemetry.otlp_endpoint unset."
            ) from None
        writer.close()
        return f"a collector listens at {found.geturl()}, and gets {self._settings.telemetry.trace_ratio:.3g} of the calls"

    async def trackers(self) -> str:
        said = []
        for tracker in make_trackers(self._settings, Models(open_store("memory://", Path())), self._log):
            try:
                said.append(await tracker.check())
            except (TrackerAway, TrackerRefuses) as error:
                raise StartupFailed(
                    f"{tracker.name} cannot be told of jobs ({error}): they are run without it, and it is told later. Mend it, or "
                    f"leave trackers.{tracker.name} unset."
                ) from None
            finally:
                await tracker.close()
        return "; ".join(said)

    async def model_cache(self) -> str:
        contents = contents_of(self._settings)
        assert contents is not None  # noqa: S101 - else nobody asks
        files, size_bytes = contents.try_out()
        sizes = f"{size_bytes / 1e6:.0f} MB of at most {contents.max_bytes / 1e6:.0f} MB"
        return f"{contents.folder} has {_count(files, 'file')}, {sizes}"

    async def device(self) -> str:
        self.options = fleet_options(self._settings)
        engine = self.options.engine
        decoding_of(self._settings, Metrics(), self._log).close()
        serving = self._settings.serving
        decoder = ", JPEGs by nvJPEG" if serving.decoder == "gpu" else ""
        decoder += f", {_count(serving.decode_processes, 'locked decoder')}" if serving.decode_processes else ""
        return f"{engine.provider}, {_count(engine.count, 'engine')} a version, {_count(engine.threads, 'thread')} each{decoder}"

    async def version(self, model: str, version: int) -> str:
        assert self.options is not None  # noqa: S101 - versions are tried once the device is known
        loaded = await Loader(self._models, self.options.engine, Metrics(), self._log).load(model, version, lambda _: None)
        await loaded.close()
        why = ", ".join(sorted(self.versions[model, version]))
        return f"gives its recorded answers in {loaded.precision}, {loaded.memory_bytes / 1e6:.0f} MB; {why}"


def _free(address: str, option: str) -> str:
    """Says that an address can be listened on, after having done so for a moment. Raises StartupFailed."""
    host, _, port = address.rpartition(":")
    try:
        family, _, _, _, place = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as gRPC does
            probe.bind(place)
            probe.listen()
    except OSError as error:
        raise StartupFailed(
            f"{address} cannot be listened on ({error.strerror or error}): stop what uses it, or choose another with {option}."
        ) from None
    return f"{address} is free"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
