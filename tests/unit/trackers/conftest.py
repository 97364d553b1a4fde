"""Jobs in a database, for trackers to be told of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from sagas import Saga


@pytest.fixture
def saga(tmp_path: Path, log: structlog.typing.FilteringBoundLogger) -> Iterator[Saga]:
    made = Saga(tmp_path / "jobs.sqlite", log)
    yield made
    made.close()
