"""Jobs: their rows and events in SQLite, and the folder that a training program is told by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import structlog

from builders import write_bundle
from eyasd.core import document, jobdir
from eyasd.core.bundle import MANIFEST, WEIGHTS, Manifest
from eyasd.core.datasets import UploadedDataset
from eyasd.core.jobs import Job, JobEvent, JobState, JobType, Lease
from eyasd.core.names import ModelRef
from eyasd.core.spec import TrainSpec
from eyasd.core.tasks import Sources, TrainingTask
from eyasd.jobs import folder
from eyasd.jobs.store import JobStore
from eyasd.registry.datasets import Datasets
from eyasd.registry.models import Models
from faults.crash.scenario import Ack, Scenario
from faults.crash.scenarios.uploads import FILES
from faults.crash.scenarios.versions import models_in
from uploads import open_uploads, upload

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
JOB = Job(
    id="job1",
    type=JobType.TRAINING,
    create_time=NOW,
    model="m",
    dataset="datasets/photos/versions/1",
    spec=TrainSpec(),
    base_version=ModelRef("m", version=1),
)
_STATES = {"submitted": 0, "claimed": 1, "running": 2, "succeeded": 3}
_RANKS = {JobState.QUEUED: 0, JobState.STARTING: 1, JobState.RUNNING: 2, JobState.SUCCEEDED: 3}


def open_jobs(root: Path) -> JobStore:
    return JobStore(root / "jobs.sqlite", structlog.get_logger())


class Jobs(Scenario[JobStore]):
    """A job from its submission to its end, as callers and the scheduler move it."""

    def lay(self, root: Path) -> None:
        store = open_jobs(root)
        store.submit(replace(JOB, id="job0"), None, "before")
        store.close()

    def open(self, root: Path) -> JobStore:
        return open_jobs(root)

    def act(self, opened: JobStore, ack: Ack) -> None:
        job = opened.submit(JOB, "request1", "train")
        ack("submitted")
        opened.leases.claim("replica", [job.id])
        ack("claimed")
        lease = Lease(job.id, 1, "replica")
        if (state := opened.get(job.id).state) is JobState.STARTING:
            opened.update(lease, state=JobState.RUNNING)
        ack("running")
        if state is not JobState.SUCCEEDED:
            opened.record(lease, [JobEvent(0, NOW, message="half"), JobEvent(0, NOW, message="way")], 100, since=0)
            ack("recorded")
            opened.update(lease, state=JobState.SUCCEEDED, version=1, end_time=NOW)
        ack("succeeded")

    def check(self, root: Path, acked: list[str]) -> Iterator[str]:
        store = open_jobs(root)
        jobs = {job.id: job for job in store.page(None, 10)[0]}
        reached = max((_STATES[one] for one in acked if one in _STATES), default=-1)
        if "job0" not in jobs:
            yield "the job of before is gone"
        if "job1" not in jobs:
            if reached >= 0:
                yield "the job is gone"
        else:
            job, events = jobs["job1"], store.events("job1", 1)
            moves = [event.job.state for event in events if event.job is not None]
            messages = [event.message for event in events if event.message is not None]
            if _RANKS[job.state] < reached or job.attempt > 1:
                yield f"the job is {job.state} in attempt {job.attempt}, but came to {acked[-1]}"
            if [event.sequence for event in events] != list(range(1, len(events) + 1)):
                yield f"the events are {[event.sequence for event in events]}"
            if [_RANKS[state] for state in moves] != list(range(_RANKS[job.state] + 1)):
                yield f"the job is {job.state}, and its events say {moves}"
            if messages not in ([], ["half", "way"]) or (not messages and "recorded" in acked):
                yield f"the messages are {messages}"
            if store.progress_bytes("job1") != (100 if messages else 0):
                yield "the events and the position of the progress file do not fit"
        store.close()

    def settled(self, root: Path) -> Iterator[str]:
        yield from self.check(root, [*_STATES, "recorded"])
        store = open_jobs(root)
        if len(store.page(None, 10)[0]) != 2:
            yield "a repeated request made another job"
        store.close()


class NewDatabase(Jobs):
    """The first start: the tables are made, and a job is taken."""

    def lay(self, root: Path) -> None:
        """Makes nothing."""

    def act(self, opened: JobStore, ack: Ack) -> None:
        opened.submit(JOB, "request1", "train")
        ack("submitted")

    def check(self, root: Path, acked: list[str]) -> Iterator[str]:
        store = open_jobs(root)
        jobs = store.page(None, 10)[0]
        if [job.id for job in jobs] not in ([], ["job1"]) or (not jobs and "submitted" in acked):
            yield f"the jobs are {[job.id for job in jobs]}"
        store.close()

    def settled(self, root: Path) -> Iterator[str]:
        yield from self.check(root, ["submitted"])


class Folder(Scenario[tuple[Path, Models, Datasets]]):
    """What is laid out for a training program, which is started once that is done. A later attempt lays it out anew."""

    is_durable = False

    def lay(self, root: Path) -> None:
        models_in(root).publish("m", write_bundle(root / "made"), "job0")
        upload(open_uploads(root), "photos", FILES)

    def open(self, root: Path) -> tuple[Path, Models, Datasets]:
        return root / "jobs" / "job1", models_in(root), open_uploads(root)

    def act(self, opened: tuple[Path, Models, Datasets], ack: Ack) -> None:
        job_dir, models, datasets = opened
        folder.prepare(job_dir, replace(JOB, attempt=1), models, datasets, None, False, None, Sources((), None))
        ack("prepared")

    def check(self, root: Path, acked: list[str]) -> Iterator[str]:
        if "prepared" in acked:
            yield from self.settled(root)

    def settled(self, root: Path) -> Iterator[str]:
        job_dir = root / "jobs" / "job1"
        task = document.load(TrainingTask, (job_dir / jobdir.TRAINING).read_text())
        if (task.job, task.dataset) != (JOB.id, JOB.dataset):
            yield f"the task is {task}"
        document.load(UploadedDataset, (job_dir / jobdir.UPLOADED).read_text())
        document.load(Manifest, (job_dir / jobdir.BASE / MANIFEST).read_text())
        if (job_dir / jobdir.BASE / WEIGHTS).read_bytes() != (root / "made" / WEIGHTS).read_bytes():
            yield "the weights are others"
