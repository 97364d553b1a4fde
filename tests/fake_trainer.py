"""A ledger, and a scheduler whose runner starts no process: the test plays the trainer."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

from builders import evaluation, write_bundle
from eyasd.core import document, jobdir
from eyasd.core.evaluation import Evaluation
from eyasd.core.findings import DatasetReport, LabelCounts
from eyasd.core.gate import Gate
from eyasd.core.jobdir import ProgressLine
from eyasd.core.jobs import Job, JobError, JobEvent, JobPriority, JobState, Progress
from eyasd.core.spec import Preset, TrainSpec
from eyasd.core.tasks import SharedCache, Sources, TrainingOutcome
from eyasd.jobs.attempt import AttemptOptions
from eyasd.jobs.exchange import Exchange
from eyasd.jobs.intake import Intake
from eyasd.jobs.ledger import Ledger
from eyasd.jobs.plates import Plates
from eyasd.jobs.queue import QueueOptions
from eyasd.jobs.replica import Replica
from eyasd.jobs.retries import RetryOptions
from eyasd.jobs.runner import Cause, DevicesTaken, Ending, Launch, Standing
from eyasd.jobs.scheduler import Scheduler
from eyasd.jobs.store import JobStore
from eyasd.registry.captured import Captured
from eyasd.registry.frozen import Frozen
from eyasd.registry.models import Models
from eyasd.storage.local import LocalStore
from eyasd.telemetry.metrics import Metrics
from eyasd.telemetry.tracing import OFF, Tracing
from uploads import open_uploads

CACHE = SharedCache("/cache", 1_000_000)
SOURCES = Sources(fetched=SharedCache("/fetched", 1_000_000))


@dataclass
class FakeProcess:
    """A trainer whose every move the test decides."""

    job_dir: Path
    ended: asyncio.Future[Ending] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    stops: int = 0
    stays: bool = False
    reason: str = ""
    threads: str = ""
    place: str = ""
    suspended: bool = False

    async def wait(self) -> Ending:
        return await asyncio.shield(self.ended)

    async def stop(self, grace_seconds: float) -> None:
        self.stops += 1
        self.end(jobdir.TERMINATED)

    def standing(self) -> Standing:
        return Standing(running=not self.reason, place=self.place, reason=self.reason, suspended=self.suspended)

    async def stacks(self) -> str:
        return self.threads

    def end(self, status: int | None, cause: Cause = Cause.PROGRAM, message: str = "") -> None:
        if not self.ended.done():
            self.ended.set_result(Ending(status, cause, message))

    def say(self, **line: object) -> None:
        text = document.dump(ProgressLine(datetime.now(UTC), **line))  # type: ignore[arg-type]
        with (self.job_dir / jobdir.PROGRESS).open("a") as file:
            file.write(text + "\n")

    def succeed(self, scored: Evaluation | None = None, gate: Gate | None = None) -> None:
        """Does all that a successful training does, whose version has scored this, or something plausible, and met this gate."""
        self.say(progress=Progress(stage="evaluate", fraction=0.9, loss=0.25))
        scored = scored or evaluation()
        write_bundle(self.job_dir / jobdir.BUNDLE, job=self.job_dir.name, evaluation=scored)
        report = DatasetReport((LabelCounts("blue", 1, 1, 1),), (), ("few pictures",), "d")
        outcome = TrainingOutcome(dataset_report=report, evaluation=scored, gate=gate)
        (self.job_dir / jobdir.RESULT).write_text(document.dump(outcome))
        self.end(jobdir.OK)

    def fail(self, reason: str, message: str) -> None:
        """Does what a training does that knows why it failed."""
        (self.job_dir / jobdir.ERROR).write_text(document.dump(JobError(reason, message)))
        self.end(jobdir.USER_ERROR)


class FakeRunner:
    """Starts fake processes, and remembers them."""

    def __init__(self) -> None:
        self.started: asyncio.Queue[FakeProcess] = asyncio.Queue()
        self.alive: dict[str, FakeProcess] = {}
        self.reason = ""
        self.others: list[str] = []
        self.refusals = 0

    def taken(self, here: Collection[str]) -> list[str]:
        return self.others

    async def start(self, launch: Launch) -> FakeProcess:
        if self.refusals:
            self.refusals -= 1
            raise DevicesTaken("It wants 2 of 4 GPUs, and 1 is free: it waits for them.")
        process = FakeProcess(launch.job_dir, reason=self.reason)
        self.alive[launch.job] = process
        self.started.put_nowait(process)
        return process

    async def attach(self, launch: Launch) -> FakeProcess | None:
        process = self.alive.get(launch.job)
        return process if process is not None and not process.ended.done() else None


class House:
    """A ledger and a scheduler with what they need; `restart` is a daemon that was killed and started again."""

    def __init__(
        self,
        folder: Path,
        models: Models,
        log: structlog.typing.FilteringBoundLogger,
        database: Path | str | None = None,
        exchange: Exchange | None = None,
        traces: Tracing = OFF,
    ) -> None:
        self.folder = folder
        self.traces = traces
        self.exchange = exchange
        self.database = database or folder / "jobs.sqlite"
        self.models = models
        self.runner = FakeRunner()
        self.metrics = Metrics()
        self._log = log
        self.photos = folder / "photos"
        self.photos.mkdir()
        self._begin()

    def _begin(self) -> None:
        retries = RetryOptions(max_attempts=3, wait=timedelta(0))
        self.captured = Captured(LocalStore(self.folder / "captured"))
        self.frozen = Frozen(self.captured)
        options = AttemptOptions(
            retries=retries,
            stop_grace_seconds=1,
            weights=None,
            hub=False,
            cache=CACHE,
            sources=SOURCES,
            frozen=self.frozen,
        )
        self.store = JobStore(self.database, self._log)
        self.replica = Replica(self.folder / "replicas")
        uploads = open_uploads(self.folder)
        plates = Plates(self.models._store, self.replica.id, self._log) if self.store.is_remote else None
        self.ledger = Ledger(
            self.store,
            uploads,
            self.folder / "jobs",
            self.replica,
            self.metrics,
            self._log,
            exchange=self.exchange,
            plates=plates,
            traces=self.traces,
        )
        self.intake = Intake(self.ledger, self.models, self.frozen)
        queue = QueueOptions(devices=1)
        self.scheduler = Scheduler(self.ledger, self.runner, self.models, queue, options, self.metrics, self._log)
        self._running = asyncio.create_task(self.scheduler.run())

    async def restart(self) -> None:
        """Loses everything that is not on the disk; the fake processes live on, as real ones would."""
        self._running.cancel()
        for task in list(self.scheduler._tasks.values()):
            task.cancel()
        await asyncio.gather(self._running, *self.scheduler._tasks.values(), return_exceptions=True)
        self.store.close()
        os.close(self.replica._lock)  # as the kernel does
        self._begin()

    async def end(self) -> None:
        await self.scheduler.close()
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        self.store.close()
        self.replica.close()


async def train(
    house: House, *, alias: str | None = None, request_id: str | None = None, priority: JobPriority = JobPriority.NORMAL
) -> Job:
    return await house.intake.train(
        model="colours",
        dataset=str(house.photos),
        spec=TrainSpec(preset=Preset.FAST),
        alias=alias,
        request_id=request_id,
        priority=priority,
    )


async def follow(house: House, job: Job, from_sequence: int = 1) -> list[JobEvent]:
    return [event async for event in house.ledger.watch(job.id, from_sequence)]


async def at_work(house: House, job: Job) -> None:
    """Waits until the process of a job is seen at work."""
    async for event in house.ledger.watch(job.id, 1):
        if event.job is not None and event.job.state is JobState.RUNNING:
            return


def states(events: list[JobEvent]) -> list[JobState]:
    return [event.job.state for event in events if event.job is not None]


async def cleared_to(job_dir: Path, names: set[str]) -> None:
    """Waits until these files, and no others, are left of a job, which happens once its end has been told."""

    def found() -> set[str]:
        return {path.name for path in job_dir.iterdir()}

    while found() != names:
        await asyncio.sleep(0.01)
