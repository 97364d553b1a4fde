"""What a daemon does beside its calls: it removes what nobody needs any more.

That is content of uploaded datasets that none of them names, and what writers who were killed have left in the stores.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Final

import structlog

from eyasd.core.errors import EyasError
from eyasd.registry.collection import collect
from eyasd.registry.datasets import Datasets
from eyasd.registry.models import Models
from eyasd.storage.store import Store

_INTERVAL_SECONDS: Final = 3600.0
# No file takes so long to write, not even on a disk that crawls.
_STALE_SECONDS: Final = 3600.0


class Housekeeping:
    """Collects at the start, every hour, and when it is woken. Belongs to one event loop."""

    def __init__(
        self,
        datasets: Datasets,
        stores: Sequence[Store],
        keep: timedelta,
        models: Models,
        keep_versions: timedelta,
        log: structlog.typing.FilteringBoundLogger,
    ) -> None:
        """Begins nothing yet.

        Args:
            datasets: whose content is collected.
            stores: that are swept.
            keep: how long content stays that no dataset has named yet.
            models: of which deletions are ended that were cut short.
            keep_versions: see `Models.delete`.
            log: hears of it.
        """
        self._datasets, self._stores, self._keep, self._log = datasets, stores, keep, log
        self._models, self._keep_versions = models, keep_versions
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
                swept = await asyncio.to_thread(self._sweep)
            except EyasError as error:
                self._log.warning("what nobody needs any more was not removed", error=error.message)
            else:
                if removed or swept:
                    self._log.info("what nobody needs any more was removed", blobs=removed, half_written=swept)
            with suppress(TimeoutError):
                async with asyncio.timeout(_INTERVAL_SECONDS):
                    await self._woken.wait()

    def _sweep(self) -> int:
        self._models.tidy(self._keep_versions)
        return sum(store.sweep(_STALE_SECONDS) for store in self._stores)
