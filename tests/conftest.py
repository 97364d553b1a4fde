"""Fixtures that several kinds of tests share."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from builders import write_bundle
from eyasd.registry.models import Models
from eyasd.storage.local import LocalStore
from eyasd.telemetry.metrics import Metrics
from postgres import Postgres


def pytest_configure() -> None:
    """Lets Ctrl-C arrive: a shell starts what it puts in the background with the interrupt ignored, and children inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves the GPU's tests out where there is none."""
    if not any(Path("/proc/driver/nvidia/gpus").glob("*")):
        left_out = [item for item in items if item.get_closest_marker("gpu")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture
def log() -> structlog.typing.FilteringBoundLogger:
    """A logger that pytest shows when a test fails."""
    made: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    return made


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


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """Where an empty job database is: the test runs on each kind."""
    if request.param == "sqlite":
        return tmp_path / "jobs.sqlite"
    server: Postgres = request.getfixturevalue("postgres")
    return server.url(server.create())
