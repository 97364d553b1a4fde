"""Says of an attempt at work that it hangs, and where, and that it goes on again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import structlog

from eyasd.core import jobdir, stacks
from eyasd.core.pulse import BIRTH_SECONDS, BUSY_SECONDS, Watchdog, read_pulse
from eyasd.jobs.runner import Process
from eyasd.telemetry.metrics import Metrics

_LOOK_SECONDS: Final = 2.0
_GAP_SECONDS: Final = 10.0  # who has not looked for longer does not know what happened meanwhile


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


class ReportWatch:
    """Looks whether the pods of an attempt report; of a program that hangs it is they who say so."""

    def __init__(
        self, job: str, known: Callable[[], Awaitable[int]], metrics: Metrics, log: structlog.typing.FilteringBoundLogger
    ) -> None:
        """Begins to watch; `known` returns how many lines they have reported, to whichever trainer."""
        self._job, self._known = job, known
        self._metrics, self._log = metrics, log
        self._count = 0
        self._changed = self._looked = time.monotonic()
        self._silent = False

    async def look(self, process: Process) -> str | None:  # noqa: ARG002 -- it is on another machine
        """Returns what there is to say to people; None for nothing, as mostly."""
        now = time.monotonic()
        if now - self._looked < _LOOK_SECONDS:
            return None
        if now - self._looked > _GAP_SECONDS:
            self._changed = now
        self._looked = now
        if (count := await self._known()) != self._count:
            self._count, self._changed = count, now
        silent = now - self._changed >= (BUSY_SECONDS if count else BIRTH_SECONDS)
        if silent == self._silent:
            return None
        self._silent = silent
        self._metrics.stalled_jobs.inc(1 if silent else -1)
        if not silent:
            return "The pods report again."
        self._log.warning("pods do not report", job=self._job, lines=count)
        return (
            f"The pods are at work, and have reported nothing for {now - self._changed:.0f} s: their log says whether they reach "
            "the trainer, at kubernetes.trainer."
        )

    def close(self) -> None:
        """Watches no more."""
        self._metrics.stalled_jobs.dec(self._silent)
        self._silent = False
