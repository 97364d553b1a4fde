"""Jobs whose events the test writes into a database, as trainers would, and a follower of them that looks when the test says so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import structlog

from builders import evaluation
from eyasd.core.evaluation import EpochMetrics
from eyasd.core.findings import DatasetReport, LabelCounts
from eyasd.core.jobs import Job, JobEvent, JobState, JobType, Lease, Progress
from eyasd.core.spec import TrainSpec
from eyasd.jobs.feed import Feed
from eyasd.jobs.store import JobStore
from eyasd.jobs.threads import DatabaseThreads
from eyasd.telemetry.metrics import Metrics
from eyasd.trackers.follower import Follower, Tracker

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SPEC = TrainSpec(learning_rate=0.01, epochs=2, budget=timedelta(minutes=2))


def validation(epoch: int, accuracy: float) -> EpochMetrics:
    return EpochMetrics(epoch, 1.0 / (epoch + 1), 0.5 / (epoch + 1), accuracy, accuracy, accuracy, accuracy)


def step(number: int, **more: Any) -> Progress:
    """Returns what a fine-tuning says after a step."""
    told = {"loss": 1 / number, "learning_rate": 0.01 / number, "images_per_second": 80.0, "epoch": 1 + number // 10}
    return Progress(stage="fine-tune", step=number, **{**told, **more})


class Saga:
    """The jobs of a database, at work at a replica that the test plays."""

    def __init__(self, database: Path | str, log: structlog.typing.FilteringBoundLogger) -> None:
        self.store, self.log = JobStore(database, log), log
        self.metrics = Metrics()
        self._clock = START

    def submit(self, job: str, type_: JobType = JobType.TRAINING, model: str = "colours", **more: Any) -> Job:
        spec = SPEC if type_ is JobType.TRAINING else None
        made = Job(
            **{"id": job, "type": type_, "create_time": self._tick(), "model": model, "dataset": "/photos", "spec": spec} | more
        )
        return self.store.submit(made, None, "")

    def begin(self, job: str) -> Lease:
        """Claims a job, and runs it."""
        claimed = self.store.leases.claim("r", [job])
        assert claimed is not None
        lease = Lease(job, claimed.attempt, "r")
        self.store.update(lease, state=JobState.RUNNING)
        return lease

    def say(self, lease: Lease, *said: Progress | str) -> None:
        events = [
            JobEvent(0, self._tick(), progress=one) if isinstance(one, Progress) else JobEvent(0, self._tick(), message=one)
            for one in said
        ]
        self.store.record(lease, events, None)

    def end(self, lease: Lease, state: JobState = JobState.SUCCEEDED, **results: Any) -> None:
        self.store.update(lease, state=state, end_time=self._tick(), **results)

    def succeed(self, lease: Lease, version: int = 1) -> None:
        report = DatasetReport((LabelCounts("blue", 1, 1, 1),), (), (), "d1g35t")
        self.end(lease, version=version, evaluation=evaluation(), dataset_report=report)

    def tell(self, job: str, steps: int = 3, version: int = 1) -> None:
        """Tells the whole of a training."""
        self.submit(job)
        lease = self.begin(job)
        head = validation(0, 0.5)
        self.say(lease, Progress(stage="audit"), "few pictures", Progress(stage="head", validation=head))
        self.say(lease, *(step(number, validation=head) for number in range(1, steps + 1)))
        better = validation(1, 0.8)
        self.say(lease, step(steps, validation=better), Progress(stage="export", validation=better))
        self.succeed(lease, version)

    def follower(self, tracker: Tracker, replica: str = "a", feed: type[Feed] = Feed) -> Follower:
        tracks = self.store.tracks(f"{tracker.name} {tracker.place}", replica)
        return Follower(feed(self.store, tracks, DatabaseThreads(may_hang=False)), tracker, self.metrics, self.log)

    def sample(self, name: str, tracker: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, {"tracker": tracker})

    def close(self) -> None:
        self.store.close()

    def _tick(self) -> datetime:
        self._clock += timedelta(seconds=1)
        return self._clock
