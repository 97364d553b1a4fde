"""A job as a person at a terminal follows it: progress as it comes, what Ctrl-C means, what came of it."""

from __future__ import annotations

import sys
import threading
from queue import SimpleQueue
from typing import Any

import click
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from eyas._calls import concluded
from eyas._command import render_dataset, render_evaluation, render_gate, render_jobs, words
from eyas._command.cautions import cautions
from eyas._command.render_comparison import comparisons
from eyas._command.session import Session
from eyas._errors import EyasError
from eyas._types import Job, JobEvent, JobState, ServingState


class Interrupted(EyasError):
    """The person at the keyboard had enough; a job goes on without them."""


def follow(session: Session, job: Job) -> None:
    """Shows a job's progress to its end, and what came of it."""
    done = followed(session, job)
    session.show(done, lambda: _summary(session, done))


def followed(session: Session, job: Job) -> Job:
    """Shows a job's progress to its end, and returns the job as it has succeeded; raises what `concluded` raises."""
    events = _watch(session, job)
    with _Display(session) as display:
        while True:
            try:
                event = events.get()
                if isinstance(event, Exception):
                    raise event
                if event is None:
                    break
                display.update(event)
            except KeyboardInterrupt:
                with display.paused():
                    _ask(session, job)
    return concluded(session.client.get_job(job.id))


def _watch(session: Session, job: Job) -> SimpleQueue[JobEvent | Exception | None]:
    """Returns where a job's updates arrive, then None or what went wrong.

    They are read in a thread of their own, where no signal is raised: an interrupt within gRPC's code can leave its locks held.
    """
    events: SimpleQueue[JobEvent | Exception | None] = SimpleQueue()

    def read() -> None:
        try:
            for event in session.client.watch_job(job.id):
                events.put(event)
        except Exception as error:  # noqa: BLE001 - it is raised where the events are read
            events.put(error)
        else:
            events.put(None)

    threading.Thread(target=read, daemon=True).start()
    return events


def _ask(session: Session, job: Job) -> None:
    """Asks what Ctrl-C meant; returns where watching goes on.

    Raises:
        Interrupted: the job was left to itself.
    """
    choice = "d"
    if sys.stdin.isatty() and not session.json:
        try:
            choice = click.prompt(
                "[c]ancel the job, [d]etach from it, [r]esume watching", type=click.Choice(["c", "d", "r"]), default="r", err=True
            )
        except (KeyboardInterrupt, click.Abort):
            choice = "d"
    if choice == "d":
        message = f"Job {job.id} goes on; follow it with: {session.hint(f'jobs watch {job.id}')}"
        raise Interrupted(message, reason="INTERRUPTED", metadata={"job": job.id})
    if choice == "c":
        session.client.cancel_job(job.id)


def _summary(session: Session, job: Job) -> Any:
    if job.type == "inspection" and job.dataset_report is not None:
        return render_dataset.dataset(job.dataset_report, job.dataset)
    if job.evaluation is None:
        return f"Job {job.id} has {job.state}."
    if job.comparisons:
        return comparisons(job)
    if job.type == "evaluation":
        return render_evaluation.evaluation(job.evaluation, job.version or job.model)
    pictures = words.counted(job.evaluation.examples, "picture")
    session.out.print(render_evaluation.headline(job.evaluation), f"on the {pictures} of the test split.")
    for caution in cautions(job.evaluation):
        session.out.print(caution)
    if job.gate is not None:
        session.out.print(render_gate.verdict(job.gate))
    if "min_precision" in job.settings:
        session.out.print(*render_evaluation.accepted(job.evaluation))
    aliases = [one for one in session.client.get_model(job.model).aliases if one.version == job.version]
    served = f", served as {', '.join(one.name for one in aliases)}" if aliases else ", not served yet"
    name = job.version or job.model
    model, _, number = name.partition("/")
    classify = f"classify {model if aliases else name} PICTURE.jpg"
    classifies = session.client.get_model_version(name).serving_state is not ServingState.UNSPECIFIED
    steps = [session.hint(classify) if classifies else f"eyas {classify} --address SERVER", session.hint(f"models show {model}")]
    if not aliases:
        steps.append(session.hint(f"models alias {model} production {number}"))
    base = f", which started from {job.base_version}" if job.base_version else ""
    elsewhere = "" if classifies else "\n\nThis daemon trains and does not classify: SERVER is one that serves the same models."
    return f"Published {job.version}{base}{served}.\n\n" + "\n".join(f"  {step}" for step in steps) + elsewhere


class _Display:
    """Progress on standard error: a bar on a terminal, a line for each step elsewhere, nothing with --json."""

    def __init__(self, session: Session) -> None:
        self._err = session.err
        self._quiet = session.json
        self._bar: Progress | None = None
        self._last = ""
        if self._err.is_terminal and not self._quiet:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TaskProgressColumn(),
                TextColumn("{task.fields[figures]}"),
                console=self._err,
            )
            self._task = self._bar.add_task("queued", total=1.0, figures="")

    def __enter__(self) -> _Display:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()

    def paused(self) -> _Pause:
        """Returns a block in which the terminal is the caller's."""
        return _Pause(self._bar)

    def update(self, event: JobEvent) -> None:
        """Shows one update of the job."""
        if self._quiet:
            return
        if event.message is not None:
            self._err.print(event.message, style="yellow", markup=False, soft_wrap=self._bar is None)
        elif event.progress is not None:
            line = render_jobs.progress_line(event.progress)
            if self._bar:
                _, _, figures = line.partition(f"{event.progress.stage}, ")
                self._bar.update(self._task, completed=event.progress.fraction, description=event.progress.stage, figures=figures)
            elif (step := f"{event.progress.stage} {event.progress.epoch}") != self._last:
                self._last = step
                self._err.print(line, markup=False, soft_wrap=True)  # one line each, for whoever reads the log
        elif event.job is not None:
            self._moved(event.job)

    def _moved(self, job: Job) -> None:
        """Shows that a job has reached another state, and why it waits there."""
        if job.waiting_reason:
            self._err.print(render_jobs.standing(job), markup=False, soft_wrap=self._bar is None)
        if self._bar and job.state is JobState.SUCCEEDED:
            self._bar.update(self._task, completed=1.0, description="done", figures="")
        elif self._bar and not job.state.ended:
            self._bar.update(self._task, description=job.state, figures="")


class _Pause:
    """A block in which the bar does not draw."""

    def __init__(self, bar: Progress | None) -> None:
        self._bar = bar

    def __enter__(self) -> None:
        if self._bar:
            self._bar.stop()

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.start()
