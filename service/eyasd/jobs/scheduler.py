"""Brings intent and fact together: rows that say what is wanted, processes that do it.

Every decision is written to the store before it is acted on, and every step can be repeated: a daemon that is killed at any
point finds its jobs on its next start, attaches to the processes that still run, and takes up those that do not.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog

from eyasd.core import document, jobdir
from eyasd.core.errors import EyasError, InvalidArgument, JobEnded, StorageFailed, TrainerFailed, Unavailable
from eyasd.core.form import form_of
from eyasd.core.names import PRODUCTION, ModelRef
from eyasd.core.spec import InspectionSpec, TrainSpec
from eyasd.core.types import (
    DatasetReport,
    Evaluation,
    Job,
    JobError,
    JobEvent,
    JobState,
    JobType,
    Progress,
    SharedCache,
    TrainingOutcome,
)
from eyasd.core.warmstart import inherited
from eyasd.jobs import folder
from eyasd.jobs.local import Process, Runner
from eyasd.jobs.progress import read_progress
from eyasd.jobs.store import JobStore
from eyasd.registry.models import Models
from eyasd.telemetry.metrics import Metrics

_LOOK_SECONDS: Final = 0.25
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
    """Accepts, runs, follows and ends jobs. Belongs to one event loop."""

    def __init__(
        self,
        store: JobStore,
        runner: Runner,
        models: Models,
        jobs_dir: Path,
        options: SchedulerOptions,
        metrics: Metrics,
        log: structlog.typing.FilteringBoundLogger,
    ) -> None:
        self._store = store
        self._runner = runner
        self._models = models
        self._jobs_dir = jobs_dir
        self._options = options
        self._metrics = metrics
        self._log = log
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._processes: dict[str, Process] = {}
        self._news = asyncio.Condition()
        self._news_count = 0
        self._closing = False

    async def submit_training(
        self,
        *,
        model: str,
        dataset: str,
        spec: TrainSpec,
        alias: str | None,
        request_id: str | None,
        base: ModelRef | None = None,
    ) -> Job:
        """Accepts a training, which starts from the weights of the version that `base` names now.

        Raises:
            InvalidArgument: the dataset's path is not absolute, or leads to no folder, manifest or archive; or the base version has
                no weights, or others than the specification asks for.
            NotFound: the path leads nowhere, or there is no such base version.
            RequestIdReused: the request id belongs to another request.
        """
        job = Job(
            id=_new_id(),
            type=JobType.TRAINING,
            create_time=datetime.now(UTC),
            model=model,
            dataset=dataset,
            spec=spec,
            alias=alias,
            base_version=await asyncio.to_thread(self._base_version, base, spec) if base else None,
        )
        request = f"train {model} {dataset} {alias} {document.dump(spec)}"
        return await self._submit(job, request_id, f"{request} from {base}" if base else request)

    async def submit_evaluation(self, *, ref: ModelRef, dataset: str, request_id: str | None) -> Job:
        """Accepts an evaluation of the version that `ref` names now.

        Raises:
            NotFound: there is no such model, alias or version, or the dataset's path leads nowhere.
            InvalidArgument: the dataset's path is not absolute, or leads to no folder, manifest or archive.
            RequestIdReused: the request id belongs to another request.
        """
        version = await asyncio.to_thread(self._models.resolve, ref)
        job = Job(
            id=_new_id(), type=JobType.EVALUATION, create_time=datetime.now(UTC), model=ref.model, version=version, dataset=dataset
        )
        return await self._submit(job, request_id, f"evaluate {ref} {dataset}")

    async def submit_inspection(self, *, dataset: str, spec: InspectionSpec, request_id: str | None) -> Job:
        """Accepts an inspection. Raises as `submit_training`."""
        job = Job(id=_new_id(), type=JobType.INSPECTION, create_time=datetime.now(UTC), model="", dataset=dataset, inspection=spec)
        return await self._submit(job, request_id, f"inspect {dataset} {document.dump(spec)}")

    async def get(self, job: str) -> Job:
        """Returns a job. Raises JobNotFound."""
        return await asyncio.to_thread(self._store.get, job)

    async def page(self, before: int | None, size: int) -> tuple[list[Job], int | None]:
        """See `JobStore.page`."""
        return await asyncio.to_thread(self._store.page, before, size)

    async def cancel(self, job: str) -> Job:
        """Asks a job to end.

        Raises:
            JobNotFound: there is no such job.
            JobEnded: it has succeeded or failed.
        """
        current = await self.get(job)
        if current.state is JobState.CANCELLED:
            return current
        if current.state.ended:
            raise JobEnded(f"Job {job} has {current.state} already, so it cannot be cancelled.", job=job, state=current.state)
        cancelled = await self._update(job, cancelling=True)
        if cancelled.state is JobState.QUEUED and job not in self._tasks:
            return await self._end(cancelled, JobState.CANCELLED)
        process = self._processes.get(job)
        if process is not None:
            stopping = asyncio.create_task(process.stop(self._options.stop_grace_seconds))
            stopping.add_done_callback(lambda done: done.cancelled() or done.exception())
        return cancelled

    async def watch(self, job: str, from_sequence: int) -> AsyncIterator[JobEvent]:
        """Yields a job's events from a sequence number on, as they happen, up to the one that says how it ended.

        Raises:
            JobNotFound: there is no such job.
            Unavailable: the daemon is going down.
        """
        following = max(1, from_sequence)
        while True:
            seen = self._news_count
            events = await asyncio.to_thread(self._store.events, job, following)
            for event in events:
                yield event
                following = event.sequence + 1
            if events:
                continue
            if (await self.get(job)).state.ended and seen == self._news_count:
                return
            await self._next_news(seen)
            if self._closing:
                raise Unavailable("The server is going down: watch again from the next sequence number.")

    async def run(self) -> None:
        """Takes up what an earlier daemon left, then runs queued jobs until cancelled."""
        for job in await asyncio.to_thread(self._store.in_state, JobState.RUNNING):
            self._log.info("job taken up", job=job.id)
            self._spawn(job, partial(self._take_up, job))
        while True:
            seen = self._news_count
            for job in await asyncio.to_thread(self._store.in_state, JobState.QUEUED):
                if len(self._tasks) < self._options.max_running and job.id not in self._tasks and not self._closing:
                    self._spawn(job, partial(self._execute, job))
            await self._next_news(seen)

    async def drain(self) -> None:
        """Ends every watch, so that their callers re-attach elsewhere."""
        self._closing = True
        await self._tell()

    async def close(self) -> None:
        """Stops the processes at their next checkpoint; their jobs are queued, and go on when a daemon starts again."""
        await self.drain()
        await asyncio.gather(*(process.stop(self._options.stop_grace_seconds) for process in self._processes.values()))
        for task in list(self._tasks.values()):
            if not self._processes:  # what is left waits for a disk, not for a process
                task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _base_version(self, ref: ModelRef, spec: TrainSpec) -> ModelRef:
        """Returns the version that `ref` names now, by its number, and makes sure that a training can start from it."""
        version = ModelRef(ref.model, version=self._models.resolve(ref))
        inherited(spec, self._models.manifest(version.model, version.version or 0), str(version))
        return version

    def _job_dir(self, job: str) -> Path:
        return self._jobs_dir / job

    async def _submit(self, job: Job, request_id: str | None, request: str) -> Job:
        if not Path(job.dataset).is_absolute():
            raise InvalidArgument("dataset", f"{job.dataset!r} is not an absolute path: begin it with '/'.")
        await asyncio.to_thread(form_of, Path(job.dataset))
        if self._closing:
            raise Unavailable("The server is going down: send the request again.")
        accepted = await asyncio.to_thread(self._store.submit, job, request_id, request)
        if accepted.id == job.id:
            self._log.info("job accepted", job=job.id, type=job.type, model=job.model, dataset=job.dataset)
            self._metrics.jobs.labels(job.type, JobState.QUEUED).inc()
            await self._tell()
        return accepted

    def _spawn(self, job: Job, work: Callable[[], Coroutine[None, None, None]]) -> None:
        async def guarded(work: Callable[[], Coroutine[None, None, None]]) -> None:
            try:
                while True:
                    try:
                        return await work()
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
                await self._tell()

        self._tasks[job.id] = asyncio.create_task(guarded(work))

    async def _execute(self, job: Job) -> None:
        """Runs a queued job from the start of its process to its end."""
        now = datetime.now(UTC)
        job = await self._update(job.id, state=JobState.RUNNING, attempt=job.attempt + 1, start_time=job.start_time or now)
        job_dir = self._job_dir(job.id)
        try:
            options = self._options
            await asyncio.to_thread(folder.prepare, job_dir, job, self._models, options.weights, options.hub, options.cache)
        except StorageFailed as error:
            await self._fail(job, error)
            return
        process = await self._runner.start(job_dir)
        self._log.info("job started", job=job.id, attempt=job.attempt)
        await self._follow(job, process)

    async def _take_up(self, job: Job) -> None:
        """Goes on with a job that an earlier daemon was running."""
        process = await asyncio.to_thread(self._runner.attach, self._job_dir(job.id))
        if process is not None:
            await self._follow(job, process)
        else:
            await self._collect(job)
            await self._conclude(job.id, None)

    async def _follow(self, job: Job, process: Process) -> None:
        self._processes[job.id] = process
        if (await self.get(job.id)).cancelling:  # it was cancelled while its process was being started
            await process.stop(self._options.stop_grace_seconds)
        ending = asyncio.create_task(process.wait())
        while not ending.done():
            await asyncio.wait({ending}, timeout=_LOOK_SECONDS)
            await self._collect(job)
        del self._processes[job.id]
        await self._conclude(job.id, ending.result())

    async def _collect(self, job: Job) -> None:
        """Stores what the process has reported since the last look."""
        position = await asyncio.to_thread(self._store.progress_bytes, job.id)
        events, end = await asyncio.to_thread(read_progress, self._job_dir(job.id) / jobdir.PROGRESS, position)
        if end == position:
            return
        await asyncio.to_thread(self._store.record, job.id, events, end)
        for event in events:
            if event.progress is not None and job.type is JobType.TRAINING:
                self._metrics.observe_progress(job.id, event.progress)
        await self._tell()

    async def _conclude(self, job_id: str, status: int | None) -> None:
        """Decides what the end of a process means.

        Args:
            job_id: the job.
            status: the process's exit status, or None where nobody could see it.
        """
        job = await self.get(job_id)
        job_dir = self._job_dir(job_id)
        if job.cancelling:
            await self._end(job, JobState.CANCELLED)
        elif (job_dir / jobdir.RESULT).exists():
            await self._succeed(job, job_dir)
        elif (job_dir / jobdir.ERROR).exists():
            error = document.load(JobError, (job_dir / jobdir.ERROR).read_text())
            await self._end(job, JobState.FAILED, error=error)
        elif self._closing and status == jobdir.TERMINATED:
            await self._update(job_id, state=JobState.QUEUED)
        elif status is not None and status > 0 and status != jobdir.TERMINATED:
            await self._fail(job, TrainerFailed(f"The training program crashed: {folder.last_words(job_dir)}"))
        elif job.lost + 1 < self._options.max_attempts:
            self._log.warning("process lost, job queued again", job=job_id, status=status)
            await self._update(job_id, state=JobState.QUEUED, lost=job.lost + 1)
        else:
            cause = (
                "it was killed, perhaps for want of memory: try a smaller batch_size" if status == -9 else f"exit status {status}"
            )
            await self._fail(job, TrainerFailed(f"The training program was lost {job.lost + 1} times; the last time: {cause}."))

    async def _succeed(self, job: Job, job_dir: Path) -> None:
        text = await asyncio.to_thread((job_dir / jobdir.RESULT).read_text)
        if job.type is JobType.EVALUATION:
            await self._end(job, JobState.SUCCEEDED, evaluation=document.load(Evaluation, text))
            return
        if job.type is JobType.INSPECTION:
            await self._end(job, JobState.SUCCEEDED, dataset_report=document.load(DatasetReport, text))
            return
        outcome = document.load(TrainingOutcome, text)
        version = await self._publish(job, job_dir / jobdir.BUNDLE)
        if version is None:
            await self._end(job, JobState.CANCELLED)
            return
        await self._end(
            job, JobState.SUCCEEDED, version=version, evaluation=outcome.evaluation, dataset_report=outcome.dataset_report
        )

    async def _publish(self, job: Job, made: Path) -> int | None:
        """Publishes the bundle and moves its alias; waits for a disk that is full. Returns None if cancelled meanwhile."""
        latest = job.progress or Progress(stage="publish")
        publishing = replace(latest, stage="publish", stage_fraction=0.0, images_per_second=0.0, time_left=None, loss=None)
        await self._report(job.id, JobEvent(0, datetime.now(UTC), progress=publishing))
        tries = 0
        while not (await self.get(job.id)).cancelling:
            try:
                return await asyncio.to_thread(self._publish_once, job, made)
            except StorageFailed as error:
                delay = _PUBLISH_RETRY_SECONDS[min(tries, len(_PUBLISH_RETRY_SECONDS) - 1)]
                self._log.warning("version could not be published yet", job=job.id, error=error.message)
                message = f"{error.message} The finished model is kept, and published as soon as that is possible."
                if tries == 0:
                    await self._report(job.id, JobEvent(0, datetime.now(UTC), message=message))
                tries += 1
                await asyncio.sleep(delay)
        return None

    def _publish_once(self, job: Job, made: Path) -> int:
        version = self._models.publish(job.model, made, job.id)
        alias = job.alias
        if alias is None and self._models.aliases.get(job.model, PRODUCTION) is None:
            alias = PRODUCTION  # a model's first version serves; later ones wait to be chosen
        if alias is not None:
            self._models.aliases.set(job.model, alias, version, actor=f"job {job.id}", reason="published by its training")
        return version

    async def _report(self, job: str, event: JobEvent) -> None:
        position = await asyncio.to_thread(self._store.progress_bytes, job)
        await asyncio.to_thread(self._store.record, job, [event], position)
        await self._tell()

    async def _fail(self, job: Job, error: EyasError) -> None:
        await self._end(job, JobState.FAILED, error=JobError(error.reason, error.message))

    async def _end(self, job: Job, state: JobState, **results: Any) -> Job:
        """Takes a job to its last state, then clears its folder: an event that says so is never lost, a folder may be left."""
        ended = await self._update(job.id, state=state, end_time=datetime.now(UTC), **results)
        self._log.info("job ended", job=job.id, state=state, error=ended.error.message if ended.error else None)
        await asyncio.to_thread(folder.clear, self._job_dir(job.id))
        return ended

    async def _update(self, job: str, **changes: Any) -> Job:
        updated = await asyncio.to_thread(lambda: self._store.update(job, **changes))
        if "state" in changes:
            self._metrics.jobs.labels(updated.type, updated.state).inc()
        await self._tell()
        return updated

    async def _next_news(self, seen: int) -> None:
        """Waits until something has changed since the count was `seen`."""
        async with self._news:
            await self._news.wait_for(lambda: self._news_count != seen)

    async def _tell(self) -> None:
        """Wakes whoever waits for a change of any job."""
        async with self._news:
            self._news_count += 1
            self._news.notify_all()


def _new_id() -> str:
    return secrets.token_hex(5)
