"""What the events of a job mean to a tracker: figures by step, with the times at which they were taken. Pure.

    train/loss, train/learning_rate, train/images_per_second, train/epoch   while it is fine-tuned
    validation/loss, validation/accuracy, validation/macro_f1 ...           when they are news
    test/NAME, test_low/NAME, test_high/NAME                                in the end, with the ends of the 95 % interval
    evaluation/NAME, ...                                                    so of an evaluation
    versus/MODEL/VERSION/NAME, ...                                          and of each further version that it scores,
    versus_difference/MODEL/VERSION/NAME, ...                               with what it has more than the first

Steps are those of the fine-tuning, one axis for all, and an attempt that goes on from a checkpoint goes back to its step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta

from eyasd.core.evaluation import Evaluation, Figure
from eyasd.core.jobs import Job, JobEvent, JobState, JobType, Progress
from eyasd.core.tracks import Track


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure of a job, after a step of its fine-tuning."""

    name: str
    value: float
    step: int
    time: datetime


@dataclass(frozen=True, slots=True)
class Chapter:
    """What some events that follow each other mean.

    Attributes:
        job: as the last of them that says so has left it; None where none does.
        metrics: in the order of the events.
        after: how much of the job has been told with them.
    """

    job: Job | None
    metrics: tuple[Metric, ...]
    after: Track


def chapter(track: Track, events: Sequence[JobEvent]) -> Chapter:
    """Returns what the events say that follow a track; there is at least one."""
    job, metrics = None, list[Metric]()
    for event in events:
        if event.progress is not None:
            track = _follow(track, event.progress, event.time, metrics)
        elif event.job is not None:
            job = event.job
            if job.state is JobState.SUCCEEDED:
                metrics += (Metric(name, value, track.step, event.time) for name, value in _results(job))
    return Chapter(job, tuple(metrics), replace(track, sequence=events[-1].sequence, done=job is not None and job.state.ended))


def asked(job: Job) -> dict[str, object]:
    """Returns what the caller of a training asked for, by name, as numbers and words."""
    if job.spec is None:
        return {}
    return {name: _plain(value) for name, value in {"preset": job.spec.preset, **job.spec.asked}.items()}


def _plain(value: object) -> object:
    if isinstance(value, timedelta):
        return f"{value.total_seconds():g} s"
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return value


def _follow(track: Track, progress: Progress, time: datetime, metrics: list[Metric]) -> Track:
    """Adds what a line of progress says that is news, and returns the track after it."""
    if progress.step and progress.step != track.step:
        track = replace(track, step=progress.step)
        figures = {
            "loss": progress.loss,
            "learning_rate": progress.learning_rate,
            "images_per_second": progress.images_per_second,
            "epoch": progress.epoch,
        }
        metrics += (Metric(f"train/{name}", value, track.step, time) for name, value in figures.items() if value is not None)
    if progress.validation is not None and progress.validation != track.validation:
        track = replace(track, validation=progress.validation)
        metrics += (Metric(f"validation/{name}", value, track.step, time) for name, value in asdict(progress.validation).items())
    return track


def _results(job: Job) -> Iterator[tuple[str, float]]:
    """Yields the figures that a job has ended with."""
    if job.evaluation is None:
        return
    yield from _figures("test" if job.type is JobType.TRAINING else "evaluation", "", job.evaluation)
    for comparison in job.comparisons:
        yield from _figures("versus", f"{comparison.version}/", comparison.evaluation)
        for one in comparison.differences:
            figure = Figure(one.name, one.second - one.first, one.low, one.high)
            yield from _figure("versus_difference", f"{comparison.version}/", figure)


def _figures(group: str, of: str, evaluation: Evaluation) -> Iterator[tuple[str, float]]:
    for figure in evaluation.figures or (Figure("accuracy", evaluation.accuracy, *evaluation.accuracy_interval),):
        yield from _figure(group, of, figure)
    yield f"{group}/{of}examples", evaluation.examples


def _figure(group: str, of: str, figure: Figure) -> Iterator[tuple[str, float]]:
    """Yields a figure and the ends of its interval, these in groups of their own: pages show a group of charts after the other."""
    yield f"{group}/{of}{figure.name}", figure.value
    yield f"{group}_low/{of}{figure.name}", figure.low
    yield f"{group}_high/{of}{figure.name}", figure.high
