"""Fixtures that several kinds of tests share."""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import structlog
from hypothesis import HealthCheck, settings

from builders import write_bundle
from eyasd.registry.models import Models
from eyasd.storage.local import LocalStore
from eyasd.telemetry import logging
from eyasd.telemetry.logging import LogFormat
from eyasd.telemetry.metrics import Metrics
from postgres import Postgres
from s3_server import BUCKET, Proxy, S3Server, environment, proxied
from wire import Wire

# How long an example takes, and how long it takes to make one, is a matter of the machine.
settings.register_profile("eyas", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("eyas")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds what the tests of faults are told."""
    parser.addoption("--all-faults", action="store_true", help="try all that docs/attacks.md and docs/faults.md count")


def pytest_configure() -> None:
    """Undoes what is inherited.

    A shell starts what it puts in the background with the interrupt ignored, and Ctrl-C has to arrive; readline, which pytest
    imports, tells the processes that share the tests out that a terminal is 80 columns wide, and there is none.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.pop("COLUMNS", None)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out the tests of a GPU or a cluster where there is none, and what only a long search for faults has time for."""
    absent = set() if any(Path("/proc/driver/nvidia/gpus").glob("*")) else {"gpu"}
    absent |= set() if os.environ.get("EYAS_TEST_KUBECONFIG") else {"cluster"}
    absent |= set() if config.getoption("all_faults") else {"long"}
    left_out = [item for item in items if any(map(item.get_closest_marker, absent))]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What the log of a daemon holds, as in a container."""
    stream = io.StringIO()
    monkeypatch.setattr(logging, "_access_lines", None)
    monkeypatch.setattr(logging, "_calls_are_logged", True)
    monkeypatch.setattr(sys, "stderr", stream)
    logging.configure("DEBUG", LogFormat.JSON)
    yield stream
    structlog.reset_defaults()


@pytest.fixture
def log() -> structlog.typing.FilteringBoundLogger:
    """A logger that pytest shows when a test fails."""
    made: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    return made


@pytest.fixture
def without_collection() -> Iterator[None]:
    """Python does not look for cycles, so that what is gone has gone by itself."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def models(tmp_path: Path) -> Models:
    """An empty registry."""
    return Models(LocalStore(tmp_path / "models"))


@pytest.fixture
def tiny_bundle(tmp_path: Path) -> Path:
    """A folder that holds the bundle of a network which knows three colours."""
    return write_bundle(tmp_path / "bundle")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server; a test that stops it starts it again."""
    made = Postgres()
    yield made
    made.end()


@pytest.fixture
def wire(postgres: Postgres, tmp_path: Path) -> Iterator[Wire]:
    """What stands between this test and the server."""
    made = Wire(tmp_path, postgres.folder)
    yield made
    made.end()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """Where an empty job database is: the test runs on each kind."""
    if request.param == "sqlite":
        return tmp_path / "jobs.sqlite"
    server: Postgres = request.getfixturevalue("postgres")
    return server.url(server.create())


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server; of each test that wants one a folder of a bucket, see `s3_address`."""
    server = S3Server(tmp_path_factory.mktemp("s3"))
    yield server
    server.close()


@pytest.fixture
def s3_address(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """An address that nobody else has, and the environment that leads to it."""
    for name, value in environment(s3_server.port).items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{uuid4().hex}"


@pytest.fixture
def s3_proxy(s3_address: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """What stands between this test and the server."""
    with proxied(s3_server.port) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.port}")
        yield proxy
