"""Brings intent and fact together: which queued jobs this replica claims, which it takes over, and which it follows no more.

Several replicas on one database each do so by themselves; a lease says which of them holds a job (`jobs.leases`). What becomes of a
job that is held is `jobs.attempt`'s to see to.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Final

import structlog

from eyasd.core import jobdir
from eyasd.core.errors import JobNotFound, StorageFailed
from eyasd.core.jobs import Job, JobState
from eyasd.jobs import folder
from eyasd.jobs.attempt import Attempt, AttemptOptions
from eyasd.jobs.ledger import Ledger
from eyasd.jobs.plates import Hold
from eyasd.jobs.queue import QueueOptions, next_up
from eyasd.jobs.replica import RENEW_SECONDS
from eyasd.jobs.runner import Runner
from eyasd.registry.models import Models
from eyasd.telemetry.metrics import Metrics

_PASS_SECONDS: Final = 1.0  # other replicas' jobs, and times that come, tell of themselves to nobody
_TIDY_SECONDS: Final = 3600.0  # between looks for what ended jobs have left in a store
_TOUCH_SECONDS: Final = 0.5
_CLOSE_SECONDS: Final = 5.0  # what is left when the processes have ended waits for a disk or a database


class Scheduler:
    """Claims, follows and takes over jobs. Belongs to one event loop."""

    def __init__(
        self,
        ledger: Ledger,
        runner: Runner,
        models: Models,
        queue: QueueOptions,
        options: AttemptOptions,
        metrics: Metrics,
        log: structlog.typing.FilteringBoundLogger,
    ) -> None:
        self._ledger, self._runner, self._models = ledger, runner, models
        self._queue, self._options = queue, options
        self._metrics, self._log = metrics, log
        self._ended = asyncio.Event()  # an attempt has
        self._attempts: dict[str, Attempt] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        metrics.running_jobs.set_function(lambda: len(self._tasks))

    @property
    def here(self) -> Collection[str]:
        """The ids of the jobs that this replica runs."""
        return self._tasks.keys()

    def reason(self, job: str) -> str:
        """Returns why a job that this replica has started is not at work yet, a sentence; "" where it is, or nobody knows."""
        attempt = self._attempts.get(job)
        return attempt.process.standing().reason if attempt and attempt.process else ""

    async def taken(self) -> list[str]:
        """Returns the devices of this replica that somebody has, and none of its jobs."""
        return await asyncio.to_thread(self._runner.taken, frozenset(self.here))

    async def run(self) -> None:
        """Takes up what earlier daemons left, then runs queued jobs until cancelled."""
        works = (self._touch(), self._sweep(), self._tidy(), self._ledger.watch_plate())
        beside = [asyncio.create_task(work) for work in works]
        try:
            await self._serve()
        finally:
            for task in beside:
                task.cancel()

    async def _serve(self) -> None:
        renewed = float("-inf")
        while True:
            seen = self._ledger.changes
            try:
                if time.monotonic() - renewed >= RENEW_SECONDS:
                    await self._heed(await self._ledger.renew())
                    await self._show()
                    renewed = time.monotonic()
                await self._look()
            except StorageFailed as error:
                self._log.warning("queue waits for the database", error=error.message)
            except Exception:  # noqa: BLE001 - a pass that fails must not be the last one
                self._log.exception("queue could not be looked at")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PASS_SECONDS):
                    await self._ledger.changed_since(seen)

    async def _show(self) -> None:
        """Shows what waits, and no more how far those were that are not at work any more."""
        queued = await self._ledger.queued()
        self._metrics.queued_jobs.set(len(queued))
        oldest = min((job.create_time for job in queued), default=None)
        self._metrics.oldest_queued.set((datetime.now(UTC) - oldest).total_seconds() if oldest else 0.0)
        self._metrics.trainings.keep([job.id for job in await self._ledger.in_state(JobState.STARTING, JobState.RUNNING)])

    async def _touch(self) -> None:
        """Says to the processes that somebody holds their jobs still, however long the database takes to answer, or ends them."""
        while True:
            hold = self._ledger.hold
            for job, attempt in self._attempts.items():
                if hold is Hold.LOST:
                    attempt.give_way()
                elif hold is Hold.SURE and attempt.process is not None:
                    with contextlib.suppress(OSError):  # where the disk is full, it ends, and goes on later
                        (self._ledger.job_dir(job) / jobdir.LEASE).touch()
            await asyncio.sleep(_TOUCH_SECONDS)

    async def _sweep(self) -> None:
        """Clears the folders of jobs that ended while no daemon was here: at another trainer, or at the moment of a kill."""
        for name in await asyncio.to_thread(folder.uncleared, self._ledger.job_dir("")):
            with contextlib.suppress(JobNotFound, StorageFailed):  # of another database; or the next daemon finds it again
                if (await self._ledger.get(name)).state.ended:
                    await asyncio.to_thread(folder.clear, self._ledger.job_dir(name))

    async def _tidy(self) -> None:
        """Deletes what was handed over for jobs that have ended, or by them, here or where a trainer was killed at that moment."""
        exchange = self._ledger.exchange
        while exchange is not None:
            self._ended.clear()
            try:
                for name in await asyncio.to_thread(exchange.jobs):
                    with contextlib.suppress(JobNotFound):  # of another database
                        if (await self._ledger.get(name)).state.ended:
                            await asyncio.to_thread(exchange.forget, name)
            except StorageFailed as error:
                self._log.warning("what ended jobs have left was not deleted", error=error.message)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TIDY_SECONDS):
                    await self._ended.wait()

    async def close(self) -> None:
        """Stops the processes at their next checkpoint; their jobs are queued, and go on where a daemon is.

        Processes of other machines are left at work, for the next daemon to find.
        """
        await self._ledger.drain()
        for name, attempt in self._attempts.items():
            if attempt.stays:
                self._tasks[name].cancel()
        ended = [stopping for attempt in self._attempts.values() if not attempt.stays and (stopping := attempt.stop())]
        await asyncio.gather(*ended)
        if tasks := list(self._tasks.values()):
            _, left = await asyncio.wait(tasks, timeout=_CLOSE_SECONDS)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
        with contextlib.suppress(StorageFailed):  # their leases end by themselves, later
            await self._ledger.release()

    async def _look(self) -> None:
        """Takes up what nobody holds any more, queues what has waited for long enough, and starts what there is room for."""
        for job in await self._ledger.take_over():
            self._log.info("job taken up", job=job.id, attempt=job.attempt)
            self._spawn(job, begun=True)
        await self._ledger.wake()
        while not self._ledger.draining and len(self._tasks) < self._queue.most:  # thousands may wait: no look at them in vain
            queued = [job for job in await self._ledger.queued() if job.id not in self._tasks]
            if not queued:
                return
            running = await self._ledger.in_state(JobState.STARTING, JobState.RUNNING)
            next_ones = next_up(queued, running, self.here, self._queue, await self.taken())
            claimed = await self._ledger.claim(next_ones, self._queue.quota_running)
            if claimed is None:
                return
            if claimed.attempt == 1:
                self._metrics.queue_seconds.observe((datetime.now(UTC) - claimed.create_time).total_seconds())
            self._spawn(claimed, begun=False)

    async def _heed(self, held: Collection[str]) -> None:
        """Follows no job any more that another replica has taken over, and each that it holds.

        Args:
            held: the jobs that this replica holds.
        """
        for name, attempt in self._attempts.items():
            if name not in held and attempt.process is not None:
                self._log.warning("job taken over by another replica", job=name)
                self._tasks[name].cancel()
        for name in held:
            if name not in self._tasks and (job := await self._ledger.get(name)).state.at_work:  # the answer to its claim was lost
                self._spawn(job, begun=True)

    def _spawn(self, job: Job, *, begun: bool) -> None:
        """Follows a job that this replica holds; see `Attempt.see_through`."""
        attempt = Attempt(job, self._ledger, self._runner, self._models, self._options, self._metrics, self._log)

        async def follow() -> None:
            try:
                await attempt.see_through(begun=begun)
            finally:
                del self._attempts[job.id], self._tasks[job.id]
                self._ended.set()
                await self._ledger.tell()

        self._attempts[job.id] = attempt
        self._tasks[job.id] = asyncio.create_task(follow())
