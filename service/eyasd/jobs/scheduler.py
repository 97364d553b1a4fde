"""Brings intent and fact together: the ledger says what is wanted, processes do it.

Every decision is written to the store before it is acted on, and every step can be repeated: a daemon that is killed at any
point finds its jobs on its next start, attaches to the processes that still run, and takes up those that do not.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog

from eyasd.core import document, jobdir
from eyasd.core.bundle import MANIFEST, read_manifest
from eyasd.core.errors import AliasConflict, EyasError, JobEnded, LeaseLost, PromotionRefused, StorageFailed, TrainerFailed
from eyasd.core.evaluation import Evaluation
from eyasd.core.jobs import Job, JobError, JobEvent, JobState, JobType, Progress
from eyasd.core.names import PRODUCTION, ModelRef
from eyasd.core.tasks import EvaluationOutcome, InspectionOutcome, SharedCache, TrainingOutcome
from eyasd.jobs import folder
from eyasd.jobs.ledger import Ledger
from eyasd.jobs.progress import read_progress
from eyasd.jobs.replica import RENEW_SECONDS
from eyasd.jobs.runner import Cause, Ending, Launch, Process, Runner
from eyasd.registry.models import Models
from eyasd.telemetry.metrics import Metrics

_LOOK_SECONDS: Final = 0.25
_PASS_SECONDS: Final = 1.0  # other replicas' jobs, and times that come, tell of themselves to nobody
_STORAGE_RETRY_SECONDS: Final = 2.0
_PUBLISH_RETRY_SECONDS: Final = (1, 2, 5, 10, 30)


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerOptions:
    """See `config.JobsSettings` and `config.TrainingSettings`."""

    max_running: int
    max_attempts: int
    stop_grace_seconds: float
    weights: Path | None
    hub: bool
    cache: SharedCache | None


class Scheduler:
    """Runs, follows and ends jobs. Belongs to one event loop."""

    def __init__(
        self,
        ledger: Ledger,
        runner: Runner,
        models: Models,
        options: SchedulerOptions,
        metrics: Metrics,
        log: structlog.typing.FilteringBoundLogger,
    ) -> None:
        self._ledger = ledger
        self._runner = runner
        self._models = models
        self._options = options
        self._metrics = metrics
        self._log = log
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._processes: dict[str, Process] = {}

    async def run(self) -> None:
        """Takes up what an earlier daemon left, then runs queued jobs until cancelled."""
        renewed = float("-inf")
        while True:
            seen = self._ledger.changes
            try:
                if time.monotonic() - renewed >= RENEW_SECONDS:
                    self._leave(await self._ledger.renew())
                    renewed = time.monotonic()
                await self._look()
            except StorageFailed as error:
                self._log.warning("the queue waits for the database", error=error.message)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PASS_SECONDS):
                    await self._ledger.changed_since(seen)

    def _leave(self, held: set[str]) -> None:
        """Follows no job any more that another replica has taken over."""
        for job, task in self._tasks.items():
            if job not in held and job in self._processes:
                self._log.warning("job taken over by another replica", job=job)
                task.cancel()

    async def _look(self) -> None:
        """Takes up what nobody holds any more, queues what has waited for long enough, and starts what there is room for."""
        for job in await self._ledger.take_over():
            self._log.info("job taken up", job=job.id)
            self._spawn(job, partial(self._take_up, job))
        await self._ledger.wake()
        while len(self._tasks) < self._options.max_running and not self._ledger.draining:
            waiting = [job.id for job in await self._ledger.queued() if job.id not in self._tasks]
            claimed = await self._ledger.claim(waiting[: self._options.max_running])
            if claimed is None:
                return
            self._spawn(claimed, partial(self._execute, claimed))

    async def close(self) -> None:
        """Stops the processes at their next checkpoint; their jobs are queued, and go on when a daemon starts again."""
        await self._ledger.drain()
        await asyncio.gather(*(process.stop(self._options.stop_grace_seconds) for process in self._processes.values()))
        for task in list(self._tasks.values()):
            if not self._processes:  # what is left waits for a disk, not for a process
                task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        await self._ledger.release()

    def _spawn(self, job: Job, work: Callable[[], Coroutine[None, None, None]]) -> None:
        async def guarded(work: Callable[[], Coroutine[None, None, None]]) -> None:
            try:
                while True:
                    try:
                        return await work()
                    except (JobEnded, LeaseLost) as error:
                        self._log.warning("job left", job=job.id, error=error.message)
                        break
                    except StorageFailed as error:  # the rows cannot be written now; the process goes on meanwhile
                        self._log.warning("job waits for the database", job=job.id, error=error.message)
                        await asyncio.sleep(_STORAGE_RETRY_SECONDS)
                        work = partial(self._take_up, job)
                    except Exception as error:  # noqa: BLE001 - a job whose bookkeeping fails must not take the scheduler with it
                        self._log.exception("job failed", job=job.id)
                        failure = error if isinstance(error, EyasError) else TrainerFailed(f"The job could not be run: {error}.")
                        work = partial(self._fail, job, failure)
            finally:
                self._processes.pop(job.id, None)
                self._tasks.pop(job.id, None)
                await self._ledger.tell()

        self._tasks[job.id] = asyncio.create_task(guarded(work))

    async def _execute(self, job: Job) -> None:
        """Runs a claimed job from the start of its process to its end."""
        job_dir = self._ledger.job_dir(job.id)
        try:
            options = self._options
            await asyncio.to_thread(folder.prepare, job_dir, job, self._models, options.weights, options.hub, options.cache)
        except StorageFailed as error:
            await self._fail(job, error)
            return
        process = await self._runner.start(self._launch(job))
        self._log.info("job started", job=job.id, attempt=job.attempt)
        job = await self._ledger.update(self._ledger.lease(job), state=JobState.RUNNING)
        await self._follow(job, process)

    async def _take_up(self, job: Job) -> None:
        """Goes on with a job that an earlier daemon was running."""
        process = await self._runner.attach(self._launch(job))
        if job.state is JobState.STARTING and (process is not None or (self._ledger.job_dir(job.id) / jobdir.RESULT).exists()):
            job = await self._ledger.update(self._ledger.lease(job), state=JobState.RUNNING)
        if process is not None:
            await self._follow(job, process)
        else:
            await self._collect(job)
            await self._conclude(job.id, Ending(None, Cause.LOST))

    def _launch(self, job: Job) -> Launch:
        training = job.type is JobType.TRAINING
        return Launch(job=job.id, attempt=job.attempt, job_dir=self._ledger.job_dir(job.id), training=training)

    async def _follow(self, job: Job, process: Process) -> None:
        """Takes down what a process reports until it has ended, and asks it to end once its job is cancelled."""
        self._processes[job.id] = process
        ending = asyncio.create_task(process.wait())
        stopping: asyncio.Task[None] | None = None
        while not ending.done():
            if stopping is None and (await self._ledger.get(job.id)).cancelling:
                stopping = asyncio.create_task(process.stop(self._options.stop_grace_seconds))
            await asyncio.wait({ending}, timeout=_LOOK_SECONDS)
            await self._collect(job)
        if stopping is not None:
            await stopping
        del self._processes[job.id]
        await self._conclude(job.id, ending.result())

    async def _collect(self, job: Job) -> None:
        """Stores what the process has reported since the last look."""
        position = await self._ledger.progress_bytes(job.id)
        events, end = await asyncio.to_thread(read_progress, self._ledger.job_dir(job.id) / jobdir.PROGRESS, position)
        if end == position:
            return
        await self._ledger.record(self._ledger.lease(job), events, end)
        for event in events:
            if event.progress is not None and job.type is JobType.TRAINING:
                self._metrics.observe_progress(job.id, event.progress)

    async def _conclude(self, job_id: str, ending: Ending) -> None:
        """Decides what the end of a process means."""
        status = ending.status
        job = await self._ledger.get(job_id)
        job_dir = self._ledger.job_dir(job_id)
        if job.state.ended:
            return  # it was cancelled before it could begin
        if job.cancelling:
            await self._end(job, JobState.CANCELLED)
        elif (job_dir / jobdir.RESULT).exists():
            await self._succeed(job, job_dir)
        elif (job_dir / jobdir.ERROR).exists():
            error = document.load(JobError, (job_dir / jobdir.ERROR).read_text())
            await self._end(job, JobState.FAILED, error=error)
        elif self._ledger.draining and status == jobdir.TERMINATED:
            await self._interrupt(job)
        elif ending.cause in (Cause.OUT_OF_MEMORY, Cause.TIME_LIMIT, Cause.REFUSED):
            await self._fail(job, TrainerFailed(ending.message))
        elif ending.cause is Cause.PROGRAM and status is not None and status > 0 and status != jobdir.TERMINATED:
            await self._fail(job, TrainerFailed(f"The training program crashed: {folder.last_words(job_dir)}"))
        elif job.lost + 1 < self._options.max_attempts:
            self._log.warning("process lost, job queued again", job=job_id, status=status, reason=ending.message)
            await self._interrupt(job, lost=job.lost + 1)
        else:
            killed = "it was killed, perhaps for want of memory: try a smaller batch_size"
            cause = ending.message or (killed if status == -9 else f"exit status {status}")
            await self._fail(job, TrainerFailed(f"The training program was lost {job.lost + 1} times; the last time: {cause}."))

    async def _succeed(self, job: Job, job_dir: Path) -> None:
        text = await asyncio.to_thread((job_dir / jobdir.RESULT).read_text)
        if job.type is JobType.EVALUATION:
            scored = await asyncio.to_thread(self._counted, job, document.load(EvaluationOutcome, text))
            await self._end(job, JobState.SUCCEEDED, evaluation=scored.evaluation, comparisons=scored.comparisons)
            return
        if job.type is JobType.INSPECTION:
            found = document.load(InspectionOutcome, text)
            await self._end(job, JobState.SUCCEEDED, dataset_report=found.dataset_report, conditions=found.conditions)
            return
        outcome = document.load(TrainingOutcome, text)
        version = await self._publish(job, job_dir / jobdir.BUNDLE)
        if version is None:
            await self._end(job, JobState.CANCELLED)
            return
        looks = await asyncio.to_thread(self._models.looks.count, job.model, outcome.evaluation.test_split)
        evaluation = replace(outcome.evaluation, test_split_looks=looks)
        await self._end(job, JobState.SUCCEEDED, version=version, evaluation=evaluation, dataset_report=outcome.dataset_report)

    def _counted(self, job: Job, scored: EvaluationOutcome) -> EvaluationOutcome:
        """Takes down that an evaluation has looked at a test split, once for each version, and says how often that was done."""
        looks, first = self._models.looks, ModelRef(job.model, version=job.version)
        for ref in (first, *(one.version for one in scored.comparisons)):
            looks.add(ref.model, scored.evaluation.test_split, ref.version or 0, job.id)

        def counted(model: str, evaluation: Evaluation) -> Evaluation:
            return replace(evaluation, test_split_looks=looks.count(model, evaluation.test_split))

        comparisons = tuple(replace(one, evaluation=counted(one.version.model, one.evaluation)) for one in scored.comparisons)
        return EvaluationOutcome(evaluation=counted(job.model, scored.evaluation), comparisons=comparisons)

    async def _publish(self, job: Job, made: Path) -> int | None:
        """Publishes the bundle and moves its alias; waits for a disk that is full. Returns None if cancelled meanwhile."""
        latest = job.progress or Progress(stage="publish")
        publishing = replace(latest, stage="publish", stage_fraction=0.0, images_per_second=0.0, time_left=None, loss=None)
        await self._report(job, JobEvent(0, datetime.now(UTC), progress=publishing))
        tries = 0
        while not (await self._ledger.get(job.id)).cancelling:
            try:
                version, unmoved = await asyncio.to_thread(self._publish_once, job, made)
            except StorageFailed as error:
                delay = _PUBLISH_RETRY_SECONDS[min(tries, len(_PUBLISH_RETRY_SECONDS) - 1)]
                self._log.warning("version could not be published yet", job=job.id, error=error.message)
                message = f"{error.message} The finished model is kept, and published as soon as that is possible."
                if tries == 0:
                    await self._report(job, JobEvent(0, datetime.now(UTC), message=message))
                tries += 1
                await asyncio.sleep(delay)
            else:
                if unmoved:
                    self._log.warning("alias not moved", job=job.id, version=version, error=unmoved)
                    await self._report(job, JobEvent(0, datetime.now(UTC), message=f"Version {version} is published. {unmoved}"))
                return version
        return None

    def _publish_once(self, job: Job, made: Path) -> tuple[int, str]:
        """Returns the version, and why its alias was not moved; "" where it was, or was not to be."""
        version = self._models.publish(job.model, made, job.id)
        self._models.looks.add(job.model, read_manifest((made / MANIFEST).read_bytes()).evaluation.test_split, version, job.id)
        alias = job.alias
        if alias is None and self._models.aliases.get(job.model, PRODUCTION) is None:
            alias = PRODUCTION  # a model's first version serves; later ones wait to be chosen
        if alias is not None:
            try:
                self._models.promote(job.model, alias, version, actor=f"job {job.id}", reason="published by its training")
            except (PromotionRefused, AliasConflict) as error:  # the version is sound, and stays
                return version, error.message
        return version, ""

    async def _report(self, job: Job, event: JobEvent) -> None:
        position = await self._ledger.progress_bytes(job.id)
        await self._ledger.record(self._ledger.lease(job), [event], position)

    async def _interrupt(self, job: Job, **changes: Any) -> None:
        """Ends an attempt that another one is to follow."""
        lease = self._ledger.lease(job)
        await self._ledger.update(lease, state=JobState.INTERRUPTED, resume_time=datetime.now(UTC), **changes)

    async def _fail(self, job: Job, error: EyasError) -> None:
        await self._end(job, JobState.FAILED, error=JobError(error.reason, error.message))

    async def _end(self, job: Job, state: JobState, **results: Any) -> None:
        await self._ledger.update(self._ledger.lease(job), state=state, end_time=datetime.now(UTC), **results)
