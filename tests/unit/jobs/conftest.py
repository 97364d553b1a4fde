"""A ledger and a scheduler, with a trainer that the test plays."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog

from eyasd.registry.models import Models
from fake_trainer import House


@pytest.fixture
async def house(tmp_path: Path, models: Models, log: structlog.typing.FilteringBoundLogger) -> AsyncIterator[House]:
    made = House(tmp_path, models, log)
    yield made
    await made.end()
