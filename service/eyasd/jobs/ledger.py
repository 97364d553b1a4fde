"""What is wanted of the daemon: accepts jobs, answers about them, takes down what becomes of them, and tells of every change.

Knows rows and folders, not processes: a job is cancelled by a mark in its row, and the scheduler sees to its process.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from eyasd.core.errors import DatasetInUse, Unavailable
from eyasd.core.jobs import Job, JobEvent, JobState, JobType, Lease, Queued
from eyasd.core.names import DatasetRef
from eyasd.jobs import folder
from eyasd.jobs.exchange import Exchange
from eyasd.jobs.feed import Feed
from eyasd.jobs.news import News
from eyasd.jobs.plates import Hold, Plates
from eyasd.jobs.progress import event_of
from eyasd.jobs.replica import Replica
from eyasd.jobs.threads import DatabaseThreads
from eyasd.jobs.traces import JobTraces, traced
from eyasd.registry.datasets import Datasets
from eyasd.telemetry import tracing
from eyasd.telemetry.metrics import Metrics
from eyasd.telemetry.redaction import place, redacted
from eyasd.telemetry.tracing import OFF, Tracing

if TYPE_CHECKING:  # a server imports this file, too, and has no database
    from eyasd.jobs.store import JobStore


class Ledger:
    """The jobs of a daemon, for its callers and for its scheduler. Belongs to one event loop."""

    def __init__(
        self,
        store: JobStore,
        datasets: Datasets,
        jobs_dir: Path,
        replica: Replica,
        metrics: Metrics,
        log: structlog.typing.FilteringBoundLogger,
        quota_queued: int = 0,
        exchange: Exchange | None = None,
        plates: Plates | None = None,
        traces: Tracing = OFF,
    ) -> None:
        """Begins with the jobs of the store.

        Args:
            store: of the jobs.
            datasets: that were uploaded.
            jobs_dir: of the jobs' folders.
            replica: this daemon.
            metrics: counts.
            log: hears of every job.
            quota_queued: most jobs of one owner that may be queued; 0 is no bound.
            exchange: None where training programs see the folders of jobs.
            plates: of the trainers on the same database; None where they are all of this machine, and find each other's processes.
            traces: gets the spans of jobs whose calls are traced.
        """
        self._store = store
        self.datasets, self.exchange = datasets, exchange
        self._jobs_dir = jobs_dir
        self._replica = replica
        self._metrics = metrics
        self._log = log
        self._quota_queued = quota_queued
        self._threads = DatabaseThreads(
            may_hang=store.is_remote, on_failure=lambda operation: metrics.database_errors.labels(operation).inc()
        )
        self._plates = plates
        self._traces = JobTraces(traces, self._events, log)
        self._renewed = float("-inf")
        self._news = News(partial(self._threads.run, store.newest))
        self.draining = False

    async def accept(self, job: Job, request_id: str | None, request: str, principal: str = "") -> Job:
        """Takes a job in, or returns the one that the same request made before; see `JobStore.submit`.

        Args:
            job: as it is asked for.
            request_id: chosen by the caller; None makes every request a job of its own.
            request: what was asked, as far as it tells requests apart.
            principal: whose request ids are his own; "" is everybody of whom nothing tells who he is.

        Raises:
            RequestIdReused: the request id belongs to another request.
            QuotaExceeded: as many jobs of the owner wait as may.
            Unavailable: the daemon is going down.
        """
        if self.draining:
            raise Unavailable("The server is going down: send the request again.")
        trace, call = tracing.trace(), tracing.current()
        job = traced(job, trace.context if trace is not None else None)
        accepted = await self._threads.answer(self._store.submit, job, request_id, request, self._quota_queued, principal)
        if call is not None:
            call.job = accepted.id
        if accepted.id == job.id:
            about = {"request_id": call.request_id} if call is not None else {}
            self._log.info("job accepted", job=job.id, type=job.type, model=job.model, dataset=place(job.dataset), **about)
            await self._moved(accepted)
        return accepted

    async def get(self, job: str) -> Job:
        """Returns a job. Raises JobNotFound."""
        return await self._threads.answer(self._store.get, job)

    async def page(self, before: int | None, size: int) -> tuple[list[Job], int | None]:
        """See `JobStore.page`."""
        return await self._threads.answer(self._store.page, before, size)

    async def cancel(self, job: str) -> Job:
        """Ends a job that waits, and asks one that is at work to end; see `JobStore.cancel`."""
        return await self._asked(self._store.cancel, job)

    async def pause(self, job: str) -> Job:
        """Interrupts a job that waits, and asks one that is at work to be interrupted; see `JobStore.pause`."""
        return await self._asked(self._store.pause, job)

    async def resume(self, job: str) -> Job:
        """Queues an interrupted job again; see `JobStore.resume`."""
        return await self._asked(self._store.resume, job)

    async def watch(self, job: str, from_sequence: int) -> AsyncIterator[JobEvent]:
        """Yields a job's events from a sequence number on, as they happen, up to the one that says how it ended.

        Raises:
            JobNotFound: there is no such job.
            Unavailable: the daemon is going down.
            DatabaseAway: the database does not answer.
        """
        following, ended = max(1, from_sequence), False
        with self._news.of(job) as news:
            while True:
                news.clear()
                events = await self._threads.answer(self._store.events, job, following)
                for event in events:
                    yield event
                    following = event.sequence + 1
                if events:
                    ended = events[-1].job is not None and events[-1].job.state.ended
                elif ended:
                    return  # nothing comes after the end, and there was nothing when it was known to have ended
                elif (await self.get(job)).state.ended:
                    ended = True
                elif self.draining:
                    raise Unavailable("The server is going down: watch again from the next sequence number.")
                else:
                    await news.wait()

    async def drain(self) -> None:
        """Accepts no more, and ends every watch, so that their callers re-attach elsewhere."""
        self.draining = True
        self._news.end()

    def feed(self, tracker: str) -> Feed:
        """Returns the events that a tracker is to be told of, by what it is and where."""
        return Feed(self._store, self._store.tracks(tracker, self._replica.id), self._threads)

    def job_dir(self, job: str) -> Path:
        """Returns where a job's folder is, or will be."""
        return self._jobs_dir / job

    async def in_state(self, *states: JobState) -> list[Job]:
        """See `JobStore.in_state`."""
        return await self._threads.run(self._store.in_state, *states)

    async def queued(self) -> list[Queued]:
        """See `JobStore.queued`."""
        return await self._threads.run(self._store.queued)

    async def wake(self) -> list[Job]:
        """See `JobStore.wake`."""
        woken = await self._threads.run(self._store.wake)
        for job in woken:
            await self._moved(job)
        return woken

    def lease(self, job: Job) -> Lease:
        """Returns what this daemon names with what it writes of a job's attempt, if it holds the job."""
        return Lease(job.id, job.attempt, self._replica.id)

    async def claim(self, jobs: Sequence[str], quota: int) -> Job | None:
        """See `Leases.claim`."""
        claimed = await self._threads.run(self._store.leases.claim, self._replica.id, jobs, quota)
        if claimed is not None:
            await self._moved(claimed)
        return claimed

    async def renew(self) -> set[str]:
        """See `Leases.renew`."""
        start = time.monotonic()
        held = await self._threads.run(self._store.leases.renew, self._replica.id)
        self._renewed = start
        return held

    @property
    def hold(self) -> Hold:
        """Whether the jobs of this replica are still its own, see `jobs.plates`."""
        return self._plates.hold(self._renewed) if self._plates else Hold.SURE

    async def watch_plate(self) -> None:
        """See `Plates.watch`."""
        if self._plates:
            await self._plates.watch(lambda: self._renewed)

    async def take_over(self) -> list[Job]:
        """Returns the jobs that another replica held which is no more, and that this one holds now; see `Leases.take_over`."""

        def take_over() -> list[Job]:
            gone = self._replica.gone()
            taken = self._store.leases.take_over(self._replica.id, gone, warned)
            self._replica.forget(gone)
            return taken

        warned = self._plates.warned() if self._plates else None
        taken = await self._threads.run(take_over)
        if self._plates:
            self._plates.take_down(self._store.leases.silent)
        return taken

    async def release(self) -> None:
        """See `Leases.release`."""
        if self._plates:
            await self._plates.close()
        await self._threads.run(self._store.leases.release, self._replica.id)

    async def update(self, lease: Lease, **changes: Any) -> Job:
        """Changes a job's row; see `JobStore.update`. The folder of one that ends with that is cleared."""
        updated = await self._threads.run(self._store.update, lease, **changes)
        if "state" in changes:
            await self._moved(updated)
        else:
            await self.tell()
        return updated

    async def progress_bytes(self, job: str) -> int:
        """See `JobStore.progress_bytes`."""
        return await self._threads.run(self._store.progress_bytes, job)

    async def record(self, lease: Lease, events: list[JobEvent], progress_bytes: int | None, since: int | None = None) -> None:
        """See `JobStore.record`."""
        await self._threads.run(self._store.record, lease, events, progress_bytes, since)
        self._news.tell(lease.job)

    @property
    def changes(self) -> int:
        """How many changes this daemon has made."""
        return self._news.changes

    async def report(self, job: str, attempt: int, first: int, lines: Sequence[str]) -> tuple[int, bool]:
        """Takes down lines of a training program that shares no folder with this daemon; see `JobStore.report`.

        Returns:
            The number of the last line that is known, and whether the program is to end.
        """
        events = [event_of(line) for line in lines]
        known, found = await self._threads.run(self._store.report, job, attempt, first, events)
        for event in events:
            if event is not None and event.progress is not None and found.type is JobType.TRAINING:
                self._metrics.trainings.show(job, event.progress)
        if events:
            self._news.tell(job)
        return known, found.cancelling or found.pausing

    async def changed_since(self, seen: int) -> None:
        """Waits until this daemon has changed something since `changes` was `seen`."""
        await self._news.since(seen)

    async def tell(self) -> None:
        """Wakes whoever waits for a change of any job."""
        self._news.tell()

    async def _asked(self, call: Callable[[str], Job], job: str) -> Job:
        """Does what a caller asks of a job, and counts the state that it comes to."""
        before = await self.get(job)
        after = await self._threads.answer(call, job)
        if after.state is not before.state:
            await self._moved(after)
        else:
            await self.tell()
        return after

    async def refuse_if_used(self, dataset: DatasetRef) -> None:
        """Raises DatasetInUse while a job that has not ended is to read an uploaded dataset, whichever version None is."""
        for job in await self.in_state(*(state for state in JobState if not state.ended)):
            if job.dataset == str(dataset) or (not dataset.version and job.dataset.startswith(f"{dataset}/")):
                raise DatasetInUse(
                    f"Job {job.id} is {job.state} and uses {job.dataset}: wait for its end, or cancel it first.",
                    job=job.id,
                    dataset=job.dataset,
                )

    async def _moved(self, job: Job) -> None:
        """Counts and tells the state that a job has reached. An event that says so is never lost, a folder may be left."""
        self._metrics.jobs.labels(job.type, job.state).inc()
        self._news.tell(job.id)
        if job.state.ended:
            error = redacted(job.error.message) if job.error else None
            self._log.info("job ended", job=job.id, attempt=job.attempt, state=job.state, error=error)
            await asyncio.to_thread(folder.clear, self.job_dir(job.id))
        await self._traces.heed(job)

    async def _events(self, job: str, first: int, most: int) -> list[JobEvent]:
        return await self._threads.run(self._store.events, job, first, most)
