"""What was asked, promised, done and seen while daemons were killed, kept where no kill reaches it; and what of it must not be."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import numpy as np
import onnxruntime

import eyas
from eyasd.core import bundle, document, jobdir
from eyasd.core.bundle import Golden
from eyasd.core.errors import EyasError
from eyasd.core.jobdir import ProgressLine
from eyasd.core.jobs import Job, JobEvent, JobState
from eyasd.jobs.store import JobStore
from eyasd.registry.models import Models

MAX_ATTEMPTS = 6  # of jobs.max_attempts


class Kind(StrEnum):
    """What a training is, and how it must end."""

    GOOD = "good"
    LONG = "long"
    BAD = "bad"
    BROKEN = "broken"
    REAL = "real"


@dataclass
class History:
    """Of one run. Several threads write it.

    Attributes:
        shared: whether several daemons have the jobs, so that a job may move to another one.
        max_attempts: after which a job that was hit each time may have failed.
        excuses: in the sentence with which a job that was hit may have failed, besides.
        promised: the kind of each job that was acknowledged.
        watched: the sequence numbers that the watch of each job has got.
        last: the newest update of each job that its watch has got.
        hits: how many kills took a job's process, or its daemon where that may take the attempt with it.
        frozen: jobs of which a daemon and a process stood still together, as a machine does: such a process cannot end by itself.
        kills: how many there were, by victim, and at which stage of the job.
        violations: of what must not be.
    """

    shared: bool
    max_attempts: int = MAX_ATTEMPTS
    excuses: tuple[str, ...] = ()
    promised: dict[str, Kind] = field(default_factory=dict)
    watched: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    last: dict[str, str] = field(default_factory=dict)
    hits: Counter[str] = field(default_factory=Counter)
    frozen: set[str] = field(default_factory=set)
    kills: Counter[tuple[str, str]] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    _seen: dict[tuple[str, int], str] = field(default_factory=dict)

    def see(self, job: str, event: eyas.JobEvent) -> None:
        """Takes down what a watch has got."""
        self.watched[job].append(event.sequence)
        if event.job is not None:
            self.last[job] = event.job.state.name.lower()
        elif event.progress is not None and event.progress.stage == "publish":
            self.last[job] = "publishing"

    def look(self, models: Models) -> None:
        """Looks at each version that has become visible since the last look: it is whole, loads and classifies."""
        for model in models.names():
            for version in models.versions(model):
                if (model, version) not in self._seen:
                    job = self._looked_at(models, model, version)
                    if job in self._seen.values():
                        self.violations.append(f"{model}/{version} is a second version of job {job}")
                    self._seen[model, version] = job

    def look_until(self, models: Models, over: threading.Event) -> None:
        """Looks all the time."""
        while not over.wait(0.01):
            try:
                self.look(models)
            except (EyasError, OSError) as error:
                self.violations.append(f"a reader was told: {error}")

    def _looked_at(self, models: Models, model: str, version: int) -> str:
        """Returns the job that made a version."""
        try:
            manifest = models.manifest(model, version)
            for checked in models.check(model, version):
                if checked.problem:
                    self.violations.append(f"{model}/{version} was visible, and: {checked.problem}")
            session = onnxruntime.InferenceSession(models.fetch(model, version, bundle.MODEL))
            golden = Golden.from_bytes(models.fetch(model, version, bundle.GOLDEN))
            (said,) = session.run(["probabilities"], {"images": golden.images})
            if not np.allclose(said, golden.probabilities, atol=1e-3):
                self.violations.append(f"{model}/{version} classifies otherwise than its training said")
        except Exception as error:  # noqa: BLE001 - whatever a reader comes upon
            self.violations.append(f"{model}/{version} was visible, and not to be used: {error}")
            return ""
        return manifest.lineage.job

    def judge(self, store: JobStore, jobs_dirs: list[Path], runs: Path) -> None:
        """Compares all this with what is there in the end."""
        jobs = {job.id: job for job in store.page(None, 100_000)[0]}
        for job in self.promised.keys() - jobs.keys():
            self.violations.append(f"job {job} was acknowledged, and is lost")
        for job in jobs.keys() - self.promised.keys():
            self.violations.append(f"job {job} was made twice of one request, or of none")
        made = Counter(self._seen.values())
        for job in jobs.values():
            if job.id in self.promised:
                self._judge_end(job, made[job.id])
                self._judge_events(job, store.events(job.id, 1, 100_000), jobs_dirs)
        self._judge_runs(runs)

    def _judge_end(self, job: Job, made: int) -> None:
        kind, hits = self.promised[job.id], self.hits[job.id]
        said = job.error.message if job.error else ""
        expected = {Kind.BAD: "Its pictures are bad.", Kind.BROKEN: "ValueError: it broke"}.get(kind, "never")
        true = {
            JobState.SUCCEEDED: kind in {Kind.GOOD, Kind.LONG, Kind.REAL},
            JobState.FAILED: expected in said
            or ("that were lost" in said and hits >= self.max_attempts)
            or (hits > 0 and any(excuse in said for excuse in self.excuses)),
        }
        what = f"job {job.id} ({kind}, {hits} times hit)"
        if not true.get(job.state, False):
            self.violations.append(f"{what} is {job.state} in the end: {said}")
        if made != (job.state is JobState.SUCCEEDED):
            self.violations.append(f"{what} is {job.state} and has {made} versions")
        if job.state is JobState.SUCCEEDED and self._seen.get((job.model, job.version or 0)) != job.id:
            self.violations.append(f"{what} names version {job.version}, which is another job's, or none")
        if job.attempt > 1 + hits:
            self.violations.append(f"{what} was begun {job.attempt} times")

    def _judge_events(self, job: Job, events: list[JobEvent], jobs_dirs: list[Path]) -> None:
        numbers = [event.sequence for event in events]
        if numbers != list(range(1, len(events) + 1)):
            self.violations.append(f"the events of job {job.id} have gaps: {numbers}")
        if self.watched[job.id] != numbers:
            self.violations.append(f"the watch of job {job.id} got {self.watched[job.id]} of {len(events)}")
        told = [event.message for event in events if event.message and event.message.startswith("attempt ")]
        if len(set(told)) != len(told):
            self.violations.append(f"of job {job.id}, lines were told twice: {told}")
        written = [line for folder in jobs_dirs for line in _lines(folder / job.id / jobdir.PROGRESS)]
        if not self.shared and written != told:  # with its machine, a last part of the lines may be lost
            self.violations.append(f"of job {job.id}, {len(written)} lines were written and {len(told)} are told")

    def _judge_runs(self, runs: Path) -> None:
        running: dict[str, str] = {}
        for line in runs.read_text().splitlines() if runs.exists() else ():
            what, job, attempt, pid = line.split()
            if job in self.frozen:
                continue
            if what == "beside":
                self.violations.append(f"attempt {attempt} of job {job} ran beside another one")
            elif what == "start":
                if (before := running.get(job)) not in {None, pid} and Path(f"/proc/{before}").exists():
                    self.violations.append(f"process {before} of job {job} runs still")
                running[job] = pid
            elif running.get(job) == pid:
                del running[job]
            else:
                self.violations.append(f"attempt {attempt} of job {job} ended while another one ran")


def _lines(path: Path) -> list[str]:
    if not path.exists():
        return []
    whole = path.read_bytes().rpartition(b"\n")[0]
    lines = (document.load(ProgressLine, line) for line in whole.splitlines())
    return [line.message for line in lines if line.message and line.message.startswith("attempt ")]
