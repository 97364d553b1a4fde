"""Why jobs wait, for those who ask about them. Looks at the queue at most once for all who ask at the same time."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Final

from eyasd.core.jobs import Job, JobState, Waiting
from eyasd.jobs.ledger import Ledger
from eyasd.jobs.queue import QueueOptions, forecast
from eyasd.jobs.scheduler import Scheduler

_FRESH_SECONDS: Final = 1.0  # thousands of jobs take a tenth of that


class Outlook:
    """What jobs wait for, as this replica sees it. Belongs to one event loop."""

    def __init__(self, ledger: Ledger, scheduler: Scheduler, options: QueueOptions) -> None:
        """Looks at nothing yet.

        Args:
            ledger: knows the jobs.
            scheduler: runs those of this replica.
            options: of its queue.
        """
        self._ledger, self._scheduler, self._options = ledger, scheduler, options
        self._looking = asyncio.Lock()
        self._seen, self._looked = -1, float("-inf")
        self._found: dict[str, Waiting] = {}

    async def of(self, job: Job) -> Waiting | None:
        """Returns why a job waits; None where it does not, or not any more."""
        if job.state is JobState.INTERRUPTED:
            paused = f"It is paused; `eyas jobs resume {job.id}` lets it go on."
            return Waiting(paused if job.resume_time is None else job.setback)
        if job.state is JobState.STARTING:
            reason = self._scheduler.reason(job.id)
            return Waiting(reason) if reason else None
        if job.state is not JobState.QUEUED:
            return None
        async with self._looking:
            recent = time.monotonic() - self._looked < _FRESH_SECONDS
            if not recent or (job.id not in self._found and self._seen != self._ledger.changes):
                await self._look()
        return self._found.get(job.id)

    async def _look(self) -> None:
        self._seen = self._ledger.changes
        queued = await self._ledger.queued()
        running = await self._ledger.in_state(JobState.STARTING, JobState.RUNNING)
        here = set(self._scheduler.here)
        taken = await self._scheduler.taken() if queued else ()
        self._found = await asyncio.to_thread(forecast, queued, running, here, self._options, datetime.now(UTC), taken)
        self._looked = time.monotonic()
