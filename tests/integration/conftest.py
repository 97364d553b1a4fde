"""A real daemon on ports of its own, in the event loop of the test, with a network that knows three colours."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
import structlog
import trustme

import ports
from builders import write_bundle
from eyasd.app import App, Role
from eyasd.config import read_settings
from eyasd.registry.models import Models
from eyasd.serving.network.session import Session
from eyasd.storage.local import LocalStore
from fake_mlflow import FakeMlflow

Daemon = Callable[..., AbstractAsyncContextManager[App]]


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def repository(data_dir: Path) -> Models:
    """The registry that the daemon reads."""
    return Models(LocalStore(data_dir / "models"))


@pytest.fixture
def published(repository: Models, tmp_path: Path) -> Models:
    """The registry with one version of the model `colours` in production."""
    repository.publish("colours", write_bundle(tmp_path / "bundle"), "job1")
    repository.aliases.set("colours", "production", 1, actor="test", reason="")
    return repository


@pytest.fixture
def daemon(data_dir: Path, log: structlog.typing.FilteringBoundLogger) -> Daemon:
    """Starts a daemon: `async with daemon(serving={"max_queue_images": 4}) as app`.

    Its engines are threads unless a test is about their processes, each of which takes half a second to start.
    """

    @asynccontextmanager
    async def run(role: Role = Role.ALL, **rooms: dict[str, Any]) -> AsyncIterator[App]:
        api = {"listen": "127.0.0.1:0", "lame_duck_seconds": 0, "grace_seconds": 5} | rooms.pop("api", {})
        overrides = {"data_dir": data_dir, "api": api, "telemetry": {"metrics_listen": "127.0.0.1:0"}, **rooms}
        overrides["serving"] = {"engines": "thread"} | rooms.get("serving", {})
        app = App(role, read_settings(None, overrides), log)
        await app.start()
        try:
            yield app
        finally:
            await app.stop()

    return run


@pytest.fixture
def standstill(monkeypatch: pytest.MonkeyPatch) -> Callable[[], AbstractContextManager[None]]:
    """No network of the daemon runs in `with standstill():`, so that a queue is full for sure, however fast the machine is."""
    goes = threading.Event()
    goes.set()
    fetch = Session._fetch

    def fetch_when_it_goes(self: Session, *args: Any) -> Any:
        assert goes.wait(60)
        return fetch(self, *args)

    @contextmanager
    def stand() -> Iterator[None]:
        goes.clear()
        try:
            yield
        finally:
            goes.set()

    monkeypatch.setattr(Session, "_fetch", fetch_when_it_goes)  # `run` may be held already
    return stand


class Lingering:
    """What a daemon that goes down waits for: each pause lasts until a test lets it go on, however slow the machine is.

    Attributes:
        pauses: how long each of them would have been, in seconds.
    """

    def __init__(self) -> None:
        self.pauses: list[float] = []
        self._ends = asyncio.Semaphore(0)

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await self._ends.acquire()

    def go_on(self) -> None:
        self._ends.release()


@pytest.fixture
def lingering(monkeypatch: pytest.MonkeyPatch) -> Callable[[], AbstractContextManager[Lingering]]:
    """A daemon that goes down in `with lingering() as way:` waits for `way.go_on()` in each of its two pauses."""

    @contextmanager
    def linger() -> Iterator[Lingering]:
        way = Lingering()
        with monkeypatch.context() as patch:
            patch.setattr("eyasd.app.asyncio", SimpleNamespace(**vars(asyncio) | {"sleep": way.sleep}))
            yield way

    return linger


@pytest.fixture
async def app(daemon: Daemon, published: Models) -> AsyncIterator[App]:
    """A daemon that trains and serves."""
    async with daemon(serving={"poll_interval_seconds": 0.05}) as running:
        yield running


@pytest.fixture
async def channel(app: App) -> AsyncIterator[grpc.aio.Channel]:
    """A bare channel to the daemon, for what the client library would not send."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{app.port}") as made:
        yield made


@pytest.fixture
def free_port() -> int:
    return ports.free_port()


@pytest.fixture
def free_ports() -> tuple[int, int]:
    return ports.free_port(), ports.free_port()


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls_files(authority: trustme.CA, tmp_path: Path) -> dict[str, str]:
    """A certificate for localhost and its key, as the daemon's settings."""
    issued = authority.issue_cert("localhost")
    issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    for part in issued.cert_chain_pems:
        part.write_to_path(str(tmp_path / "chain.pem"), append=True)
    return {"tls_key": str(tmp_path / "key.pem"), "tls_certificate": str(tmp_path / "chain.pem")}


@pytest.fixture
def mlflow() -> Iterator[FakeMlflow]:
    made = FakeMlflow()
    yield made
    made.close()
