"""What a daemon does beside its calls: it removes content of uploaded datasets that none of them names any more."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import Final

import structlog

from eyasd.core.errors import EyasError
from eyasd.registry.collection import collect
from eyasd.registry.datasets import Datasets

_INTERVAL_SECONDS: Final = 3600.0


class Housekeeping:
    """Collects at the start, every hour, and when it is woken. Belongs to one event loop."""

    def __init__(self, datasets: Datasets, keep: timedelta, log: structlog.typing.FilteringBoundLogger) -> None:
        self._datasets, self._keep, self._log = datasets, keep, log
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """There may be something to remove."""
        self._woken.set()

    async def run(self) -> None:
        """Collects until cancelled."""
        while True:
            self._woken.clear()
            try:
                removed = await asyncio.to_thread(collect, self._datasets, self._keep)
            except EyasError as error:
                self._log.warning("content that no dataset names was not removed", error=error.message)
            else:
                if removed:
                    self._log.info("content that no dataset names was removed", blobs=removed)
            with suppress(TimeoutError):
                async with asyncio.timeout(_INTERVAL_SECONDS):
                    await self._woken.wait()
