"""Says of an attempt at work that it hangs, and where, and that it goes on again."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Final

import structlog

from eyasd.core import jobdir, stacks
from eyasd.core.pulse import Watchdog, read_pulse
from eyasd.jobs.runner import Process
from eyasd.telemetry.metrics import Metrics

_LOOK_SECONDS: Final = 2.0


class StallWatch:
    """Looks at the pulse that an attempt leaves in its folder."""

    def __init__(self, job: str, job_dir: Path, metrics: Metrics, log: structlog.typing.FilteringBoundLogger) -> None:
        self._job, self._path = job, job_dir / jobdir.PULSE
        self._metrics, self._log = metrics, log
        self._watchdog = Watchdog()
        self._next = 0.0

    async def look(self, process: Process) -> str | None:
        """Returns what there is to say to people; None for nothing, as mostly."""
        if time.monotonic() < self._next:
            return None
        self._next = time.monotonic() + _LOOK_SECONDS
        was = self._watchdog.stalled
        said = self._watchdog.look(await asyncio.to_thread(read_pulse, self._path))
        self._metrics.stalled_jobs.inc(self._watchdog.stalled - was)
        if said is None:
            return None
        if not self._watchdog.stalled:
            self._log.info("trainer goes on", job=self._job)
            return said
        where = stacks.place(await process.stacks())
        self._log.warning("trainer hangs", job=self._job, reason=said, place=where)
        return f"{said} It is at {where}." if where else said

    def close(self) -> None:
        """Watches no more."""
        self._metrics.stalled_jobs.dec(self._watchdog.stalled)
        self._watchdog = Watchdog()
