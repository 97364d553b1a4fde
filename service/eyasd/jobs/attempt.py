"""One attempt of a job, seen through from its claim to what follows it, by the replica that holds it.

Every decision is written to the store before it is acted on, and every step can be repeated: whatever fails here, or dies, whoever
holds the job then takes up the process that still runs, or the result that it has left.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog

from eyasd.core import document, jobdir
from eyasd.core.errors import EyasError, JobEnded, LeaseLost, StorageFailed, TrainerFailed, UploadNotFound, reason_of
from eyasd.core.jobs import Job, JobError, JobEvent, JobState, JobType
from eyasd.core.tasks import SharedCache, Sources
from eyasd.jobs import folder, words
from eyasd.jobs.ledger import Ledger
from eyasd.jobs.progress import read_progress
from eyasd.jobs.publishing import Publisher
from eyasd.jobs.retries import RetryOptions, fault_of, judge
from eyasd.jobs.runner import Cause, DevicesTaken, Ending, Launch, Process, Runner
from eyasd.jobs.stalls import ReportWatch, StallWatch
from eyasd.registry.frozen import Frozen
from eyasd.registry.models import Models
from eyasd.telemetry.context import parse
from eyasd.telemetry.metrics import Metrics
from eyasd.telemetry.redaction import redacted

_LOOK_SECONDS: Final = 0.25
_STORAGE_RETRY_SECONDS: Final = 2.0
_RECEIVE_RETRY_SECONDS: Final = (1, 2, 5, 10, 30)
_RECEIVE_SECONDS: Final = 1800.0  # for which what pods have left is asked for in vain
_WENT_DOWN: Final = "The trainer that had it went down; it goes on from its checkpoint."
_GAVE_WAY: Final = "Its trainer could not say that it still had it, so it was ended; it goes on from its checkpoint."
_GIVE_WAY_SECONDS: Final = 0.5
_TAKEN_WAIT: Final = timedelta(seconds=5)
_RESUMED: Final = "It was paused, and resumed before its process had ended."
_UNDONE: Final = "The pods have done their work, and the store has nothing whole of it: somebody has deleted or changed it there."
_GONE: Final = Ending(None, Cause.LOST, "The trainer that ran it is gone, and its process with it.")


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptOptions:
    """See `config.JobsSettings` and `config.TrainingSettings`."""

    retries: RetryOptions
    stop_grace_seconds: float
    weights: Path | None
    hub: bool
    cache: SharedCache | None
    sources: Sources
    frozen: Frozen | None = None


class Attempt:
    """An attempt that this replica holds. Belongs to one event loop.

    Attributes:
        process: that does it; None before it is started, and after it has ended.
    """

    def __init__(
        self,
        job: Job,
        ledger: Ledger,
        runner: Runner,
        models: Models,
        options: AttemptOptions,
        metrics: Metrics,
        log: structlog.typing.FilteringBoundLogger,
    ) -> None:
        self._job = job
        self._lease = ledger.lease(job)
        self._job_dir = ledger.job_dir(job.id)
        self._ledger, self._runner, self._models = ledger, runner, models
        traced = parse(job.trace or "")
        log = log.bind(job=job.id, attempt=job.attempt, **({"trace_id": traced.trace_id} if traced else {}))
        self._publisher = Publisher(ledger, models, log)
        self._stalls = (
            StallWatch(job.id, self._job_dir, metrics, log)
            if ledger.exchange is None
            else ReportWatch(job.id, partial(ledger.progress_bytes, job.id), metrics, log)
        )
        self._options, self._metrics, self._log = options, metrics, log
        self.process: Process | None = None
        self._begun = self._asked = self._gave_way = False
        self._stopping: asyncio.Task[None] | None = None
        self._ending: Ending | None = None
        self._start = time.monotonic()
        self._said = ""

    async def see_through(self, *, begun: bool) -> None:
        """Sees the attempt through; returns early where another replica has taken it over.

        Args:
            begun: whether its process was started before, by this replica or another one.
        """
        self._begun = begun
        work: Callable[[], Awaitable[None]] = self._take_up if begun else self._begin
        while True:
            try:
                return await work()
            except (JobEnded, LeaseLost) as error:
                self._log.warning("attempt left", error=error.message)
                return None
            except StorageFailed as error:  # rows, or the repository, cannot be written now; the process goes on meanwhile
                self._log.warning("job waits for storage", error=redacted(error.message))
                await asyncio.sleep(_STORAGE_RETRY_SECONDS)
                work = self._take_up if self._begun else self._begin
            except Exception as error:  # noqa: BLE001 - a job whose bookkeeping fails must not take the scheduler with it
                self._log.exception("job failed")
                failure = error if isinstance(error, EyasError) else TrainerFailed(f"The job could not be run: {error}.")
                work = partial(self._give_up, failure)

    @property
    def stays(self) -> bool:
        """Whether its process goes on without this daemon."""
        return self.process is not None and self.process.stays

    def stop(self) -> asyncio.Task[None] | None:
        """Ends the attempt at its next checkpoint, or before it begins; returns what ends with its process, None without one."""
        self._asked = True
        if self.process is not None and self._stopping is None:
            self._stopping = asyncio.create_task(self.process.stop(self._options.stop_grace_seconds))
        return self._stopping

    def give_way(self) -> None:
        """Ends its process at once, as another replica may take the job over and start another; one elsewhere is found by it."""
        if self.process is not None and not self.process.stays and not self._gave_way:
            self._log.warning("process gives way")
            self._gave_way = True
            self._stopping = asyncio.create_task(self.process.stop(_GIVE_WAY_SECONDS))

    async def _begin(self) -> None:
        """Starts the process of an attempt that was just claimed."""
        options = self._options
        try:
            await asyncio.to_thread(
                folder.prepare,
                self._job_dir,
                self._job,
                self._models,
                self._ledger.datasets,
                options.weights,
                options.hub,
                options.cache,
                options.sources,
                options.frozen,
            )
            if (exchange := self._ledger.exchange) is not None:
                await asyncio.to_thread(exchange.give, self._job, self._job_dir, self._ledger.datasets)
        except (StorageFailed, UploadNotFound) as error:
            await self._settle(Ending(None), JobError(error.reason, error.message))
            return
        # On another machine the file of the attempts before is not there; lines that are reported are counted anew.
        position = 0 if exchange else await asyncio.to_thread(_size, self._job_dir / jobdir.PROGRESS)
        await self._ledger.record(self._lease, [], position)
        if self._asked:
            await self._conclude(Ending(None))
            return
        self._begun = True
        try:
            process = await self._started()
        except StorageFailed as error:
            await self._settle(Ending(None), JobError(error.reason, error.message))
            return
        except DevicesTaken as error:  # since the scheduler looked
            await self._interrupt(_TAKEN_WAIT, str(error))
            return
        self._log.info("job started")
        await self._follow(process)

    async def _started(self) -> Process:
        try:
            return await self._runner.start(self._launch())
        except BlockingIOError:  # one that was given up, as nobody was seen to hold it, has not ended yet
            stale = await self._runner.attach(self._launch())
            if stale is not None:
                await stale.stop(self._options.stop_grace_seconds)
            return await self._runner.start(self._launch())

    async def _take_up(self) -> None:
        """Goes on with an attempt that was started before."""
        if self._ending is None and (process := await self._runner.attach(self._launch())) is not None:
            await self._follow(process)
            return
        self.process = None
        await self._collect_rest()
        await self._conclude(self._ending or _GONE)

    def _launch(self) -> Launch:
        job = self._job
        training = job.type is JobType.TRAINING
        return Launch(
            job=job.id, attempt=job.attempt, job_dir=self._job_dir, training=training, devices=job.devices, owner=job.owner
        )

    async def _follow(self, process: Process) -> None:
        """Takes down what a process reports until it has ended, and asks it to end where that is wanted."""
        self.process = process
        if self._asked:
            self.stop()
        ending = asyncio.create_task(process.wait())
        try:
            while not ending.done():
                await self._heed(process)
                await asyncio.wait({ending}, timeout=_LOOK_SECONDS)
                await self._collect()
        finally:
            self._stalls.close()
            if not ending.cancel():  # it has ended, and that stays known whatever fails from here on
                self._ending = ending.result()
        await self._collect_rest()
        if self._stopping is not None:
            await self._stopping
        self.process = None
        await self._conclude(ending.result())

    async def _heed(self, process: Process) -> None:
        """Does what callers have asked for, and says when the process is seen at work."""
        job = await self._ledger.get(self._job.id)
        if job.cancelling or job.pausing:
            self.stop()
        standing = process.standing()
        where = f"It runs on {standing.place}." if standing.running and standing.place else ""
        if (said := standing.reason or where) and said != self._said:
            self._said = said
            await self._say(said)
        if job.state is JobState.STARTING and standing.running:
            await self._ledger.update(self._lease, state=JobState.RUNNING)
        elif job.state is JobState.RUNNING and standing.suspended:
            await self._ledger.update(self._lease, state=JobState.STARTING)
        if standing.running and (stalled := await self._stalls.look(process)):
            await self._say(stalled)

    async def _collect_rest(self) -> None:
        """Stores all that a process which has ended has reported.

        It may have reported something while what came before was being stored; and a database that had not answered may have done
        meanwhile what was asked of it then, which was less.
        """
        while await self._collect():
            pass

    async def _collect(self) -> bool:
        """Stores what the process has reported since the last look, unless it does so by itself; returns whether it did."""
        if self._ledger.exchange is not None:
            return False
        position = await self._ledger.progress_bytes(self._job.id)
        events, end = await asyncio.to_thread(read_progress, self._job_dir / jobdir.PROGRESS, position)
        if end == position:
            return False
        await self._ledger.record(self._lease, events, end, since=position)
        for event in events:
            if event.progress is not None and self._job.type is JobType.TRAINING:
                self._metrics.trainings.show(self._job.id, event.progress)
        return True

    async def _conclude(self, ending: Ending) -> None:
        """Decides what the end of the process means."""
        lost = await self._receive()
        job = await self._ledger.get(self._job.id)
        if job.cancelling:
            await self._end(JobState.CANCELLED)
        elif lost:
            await self._settle(ending, JobError(reason_of(StorageFailed), lost))
        elif (self._job_dir / jobdir.RESULT).exists():
            if job.state is JobState.STARTING:  # it was quicker than the looks at it
                job = await self._ledger.update(self._lease, state=JobState.RUNNING)
            results = await self._publisher.take(job, self._lease)
            await (self._end(JobState.CANCELLED) if results is None else self._end(JobState.SUCCEEDED, **results))
        elif (self._job_dir / jobdir.ERROR).exists():
            await self._settle(ending, document.load(JobError, (self._job_dir / jobdir.ERROR).read_text()))
        elif self._asked and job.pausing:
            await self._interrupt(None, "")
        elif self._gave_way:
            await self._interrupt(timedelta(0), _GAVE_WAY)
        elif self._asked:
            await self._interrupt(timedelta(0), _WENT_DOWN if self._ledger.draining else _RESUMED)
        else:
            await self._settle(ending, None)

    async def _receive(self) -> str:
        """Brings what pods have left into the folder, once their store has it to give; returns why it does not, or ""."""
        exchange = self._ledger.exchange
        if exchange is None or not self._begun:
            return ""
        limit, tries = time.monotonic() + _RECEIVE_SECONDS, 0
        while not (await self._ledger.get(self._job.id)).cancelling:
            try:
                left = await asyncio.to_thread(exchange.take, self._job.id, self._job.attempt, self._job_dir)
                if left is not None:
                    await self._ledger.report(self._job.id, self._job.attempt, left.first, left.lines)
                break
            except StorageFailed as error:
                self._log.warning("what pods have left could not be fetched yet", error=redacted(error.message))
                if time.monotonic() > limit:
                    return (
                        f"What the attempt has left could not be fetched for {_RECEIVE_SECONDS / 60:.0f} minutes: {error.message}"
                    )
                if tries == 0:
                    await self._say(f"{error.message} What the attempt has left is fetched as soon as that is possible.")
            await asyncio.sleep(_RECEIVE_RETRY_SECONDS[min(tries, len(_RECEIVE_RETRY_SECONDS) - 1)])
            tries += 1
        return ""

    async def _settle(self, ending: Ending, told: JobError | None) -> None:
        """Makes another attempt follow one that brought no result, or the failure of the job."""
        job = await self._ledger.get(self._job.id)
        last_words = await asyncio.to_thread(words.last_words, self._job_dir / jobdir.LOG, ending.status)
        if told is None and ending.status == jobdir.PASSING:
            told = JobError(reason_of(StorageFailed), last_words)
        if told is None and ending.status == jobdir.OK and self._ledger.exchange is not None:
            told = JobError(reason_of(StorageFailed), _UNDONE)
        verdict = judge(job, ending, told, last_words, self._options.retries)
        self._metrics.failed_attempts.labels(fault_of(ending, told, last_words)).inc()
        if isinstance(verdict, JobError):
            await self._end(JobState.FAILED, error=verdict)
            return
        self._log.warning("attempt lost", status=ending.status, reason=redacted(verdict.setback))
        await self._interrupt(
            None if job.pausing else verdict.wait, verdict.setback, lost=verdict.lost, micro_batches=verdict.micro_batches
        )

    async def _interrupt(self, wait: timedelta | None, setback: str, **changes: Any) -> None:
        """Ends the attempt, and not the job.

        Args:
            wait: until the job is queued again; None is until somebody resumes it.
            setback: why, for a person.
            changes: of the job.
        """
        now = datetime.now(UTC)
        if setback:
            await self._say(setback)
        await self._ledger.update(
            self._lease,
            state=JobState.INTERRUPTED,
            resume_time=now + wait if wait is not None else None,
            setback=setback,
            worked=self._job.worked + timedelta(seconds=round(time.monotonic() - self._start)),
            **changes,
        )

    async def _say(self, message: str) -> None:
        await self._ledger.record(self._lease, [JobEvent(0, datetime.now(UTC), message=message)], None)

    async def _give_up(self, error: EyasError) -> None:
        """Fails the job, whose bookkeeping has failed, once nothing of it runs any more."""
        if stopping := self.stop():
            await asyncio.wait({stopping})
        await self._end(JobState.FAILED, error=JobError(error.reason, error.message))

    async def _end(self, state: JobState, **results: Any) -> None:
        await self._ledger.update(self._lease, state=state, end_time=datetime.now(UTC), **results)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
