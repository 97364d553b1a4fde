"""eyasd.daemon.serve: what a daemon does for as long as it lives, whatever it is."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import structlog

from eyasd import daemon
from eyasd.app import Role
from eyasd.config import read_settings


class Started:
    """A daemon that does nothing."""

    def __init__(self, *_: object) -> None:
        """Takes what a daemon does."""

    async def start(self) -> None:
        """Has nothing to start."""

    async def stop(self) -> None:
        """Has nothing to stop."""


@pytest.mark.parametrize(("acceptors", "made"), [(1, "App"), (2, "Supervisor")])
async def test_it_looks_for_cycles_and_trims_its_heap(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, acceptors: int, made: str
) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def tidy() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    settings: dict[str, Any] = {"data_dir": str(tmp_path), "serving": {"acceptors": acceptors}}
    for name in ("collect_seldom", "keep_small"):  # which would hold for all tests that follow
        monkeypatch.setattr(daemon, name, lambda: None)
    monkeypatch.setattr(daemon, "tidy_often", tidy)
    monkeypatch.setattr(daemon, made, Started)
    serving = asyncio.create_task(daemon.serve(Role.SERVER, read_settings(None, settings), structlog.get_logger()))
    async with asyncio.timeout(60):
        await begun.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        assert await serving == 0
        await ended.wait()
