"""What the `eyas` command shows of jobs: a list of them, and how far one is."""

from __future__ import annotations

from collections.abc import Iterable

from rich.table import Table
from rich.text import Text

from eyas._command.words import clock, counted, plain, when
from eyas._types import Job, JobState, Progress

_STATE_STYLES = {JobState.SUCCEEDED: "green", JobState.FAILED: "red", JobState.CANCELLED: "yellow"} | {
    JobState.STARTING: "cyan",
    JobState.RUNNING: "cyan",
    JobState.INTERRUPTED: "yellow",
}


def jobs(listed: Iterable[Job]) -> Table:
    """Returns one row a job."""
    table = Table(show_edge=False, pad_edge=False)
    for name in ("job", "type", "model", "state", "created", "took", "result"):
        table.add_column(name, overflow="fold")
    for job in listed:
        name = (job.version or job.model) if job.type == "evaluation" or job.state is JobState.SUCCEEDED else job.model
        state = Text(job.state, style=_STATE_STYLES.get(job.state, ""))
        table.add_row(job.id, job.type, name, state, when(job.create_time), _took(job), plain(_result(job)))
    return table


def _result(job: Job) -> str:
    if job.evaluation is not None:
        return f"accuracy {job.evaluation.accuracy:.4f}"
    if job.type == "inspection" and job.dataset_report is not None:
        sizes = job.dataset_report.sizes
        return counted(sizes.train + sizes.validation + sizes.test, "picture")
    if job.error is not None:
        return job.error.message
    if job.state is JobState.RUNNING and job.progress is not None:
        return f"{job.progress.stage}, {job.progress.fraction:.0%}"
    return waits(job)


def waits(job: Job) -> str:
    """Returns why a job is not at work, and until when; "" where it is, or has ended."""
    parts = [job.waiting_reason] if job.waiting_reason else []
    if job.expected_start_time is not None:
        parts.append(f"It should start at about {when(job.expected_start_time)}.")
    if job.resume_time is not None and job.state is JobState.INTERRUPTED:
        parts.append(f"It is queued again at {when(job.resume_time)}.")
    return " ".join(parts)


def standing(job: Job) -> str:
    """Returns where a job is, in a sentence or more."""
    return f"Job {job.id} is {job.state}. {waits(job)}".rstrip()


def progress_line(progress: Progress) -> str:
    """Returns where a job is, for output that is no terminal."""
    parts = [f"{progress.fraction:4.0%}", progress.stage]
    if progress.epochs:
        parts.append(f"epoch {progress.epoch}/{progress.epochs}")
    if progress.loss is not None:
        parts.append(f"loss {progress.loss:.3f}")
    if progress.validation is not None:
        parts.append(f"validation accuracy {progress.validation.accuracy:.3f}")
    if progress.images_per_second:
        parts.append(f"{progress.images_per_second:.0f} pictures/s")
    if progress.time_left is not None:
        parts.append(f"{clock(progress.time_left)} left")
    return ", ".join(parts)


def _took(job: Job) -> str:
    return clock(job.end_time - job.start_time) if job.start_time and job.end_time else ""
