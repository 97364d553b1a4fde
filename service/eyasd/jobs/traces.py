"""The trace of a job, out of its events: how long it was queued, its attempts with their stages and epochs, and the whole.

Whoever ends an attempt makes the spans of it, so one that was killed, in a pod, or followed by several trainers in turn shows like
any other, and the training program knows of no trace but that somebody wants its parts. The ids follow from the job's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256
from itertools import groupby, pairwise
from typing import Final

import structlog

from eyasd.core.errors import EyasError
from eyasd.core.jobs import Job, JobEvent, JobState, Progress
from eyasd.telemetry.context import Context, parse
from eyasd.telemetry.redaction import place, redacted
from eyasd.telemetry.tracing import Kind, Span, Tracing, Value

_MOST_SPANS: Final = 1000  # of an attempt; epochs may be many
_EVENTS_AT_ONCE: Final = 500


@dataclass(slots=True)
class _Lap:
    """A while in which stage, part and epoch were the same."""

    begun: datetime
    progress: Progress

    @property
    def key(self) -> tuple[str, str | None, int]:
        return self.progress.stage, self.progress.part, self.progress.epoch


@dataclass(slots=True)
class Outline:
    """What of a job's events its trace needs, which is told of each in turn.

    Attributes:
        states: the states that the job has reached, with the times.
        laps: of each attempt.
    """

    states: list[tuple[datetime, Job]] = field(default_factory=list)
    laps: dict[int, list[_Lap]] = field(default_factory=dict)

    def see(self, event: JobEvent) -> None:
        """Takes in the next event."""
        if event.job is not None:
            self.states.append((event.time, event.job))
        elif event.progress is not None and self.states:
            laps = self.laps.setdefault(self.states[-1][1].attempt, [])
            lap = _Lap(event.time, event.progress)
            if laps and laps[-1].key == lap.key:
                laps[-1].progress = event.progress
            else:
                laps.append(lap)


def traced(job: Job, call: Context | None) -> Job:
    """Returns a new job as part of the trace of the call that asks for it, if there is one."""
    return job if call is None else replace(job, trace=call.header)


def spans_of(outline: Outline, reached: Job) -> list[Span]:
    """Returns the spans that ended when a job reached a state, which it may have left since; none where no trace is to show it."""
    call = parse(reached.trace or "")
    ends = [n for n, (_, job) in enumerate(outline.states) if (job.state, job.attempt) == (reached.state, reached.attempt)]
    if call is None or not ends or not ends[-1]:
        return []
    states = outline.states[: ends[-1] + 1]
    made = _Spans(reached, call)
    if reached.state.ended:
        made.whole(states[-1][0])
    if states[-2][1].state.at_work:
        starting = next(n for n, (_, job) in enumerate(states) if (job.state, job.attempt) == (JobState.STARTING, reached.attempt))
        made.waits(states[: starting + 1])
        made.attempt(states[starting:], outline.laps.get(reached.attempt, []))
    else:
        made.waits(states)
    return made.spans[:_MOST_SPANS]


class JobTraces:
    """Makes the spans of jobs whose calls are traced, as they end."""

    def __init__(
        self,
        tracing: Tracing,
        read: Callable[[str, int, int], Awaitable[Sequence[JobEvent]]],
        log: structlog.typing.FilteringBoundLogger,
    ) -> None:
        """Begins.

        Args:
            tracing: gets them.
            read: returns a job's events from a number on, as many as are asked for at most.
            log: hears where that was not possible.
        """
        self._tracing = tracing
        self._read = read
        self._log = log

    async def heed(self, job: Job) -> None:
        """Makes the spans that end with the state that a job has just reached. Nobody's job fails for want of them."""
        if job.trace is None or not self._tracing.on or not (job.state.ended or job.state is JobState.INTERRUPTED):
            return
        outline, following = Outline(), 1
        try:
            while events := await self._read(job.id, following, _EVENTS_AT_ONCE):
                for event in events:
                    outline.see(event)
                following = events[-1].sequence + 1
        except EyasError as error:
            self._log.warning("a job could not be traced", job=job.id, error=error.message)
        else:
            self._tracing.put(spans_of(outline, job))


class _Spans:
    """Makes the spans of one job."""

    def __init__(self, job: Job, call: Context) -> None:
        self._job, self._call = job, call
        self.spans: list[Span] = []

    def whole(self, end: datetime) -> None:
        job = self._job
        about: dict[str, Value] = {"eyas.job": job.id, "eyas.job.type": job.type, "eyas.job.state": job.state}
        about |= {"eyas.attempts": job.attempt, "eyas.dataset": place(job.dataset)}
        about |= {"eyas.model": job.model} if job.model else {}
        about |= {"eyas.version": job.version} if job.version else {}
        about |= {"error.type": job.error.reason} if job.error else {}
        error = redacted(job.error.message) if job.error else None
        self._add("job", self._call.span_id, job.create_time, end, about, name=f"job {job.type}", kind=Kind.CONSUMER, error=error)

    def waits(self, states: list[tuple[datetime, Job]]) -> None:
        """Adds how long it was queued, or interrupted, before the last of these states, and interrupted before it was queued."""
        pairs = list(pairwise(states))[-2:]
        if pairs[-1][0][1].state is JobState.INTERRUPTED or pairs[0][0][1].state is not JobState.INTERRUPTED:
            del pairs[:-1]  # which is shown with what came before
        for (begun, job), (end, _) in reversed(pairs):
            name = "queue" if job.state is JobState.QUEUED else "interrupted"
            self._add(f"{name} {begun.timestamp()}", self._id("job"), begun, end, {}, name=name)

    def attempt(self, states: list[tuple[datetime, Job]], laps: list[_Lap]) -> None:
        (begun, job), (end, last) = states[0], states[-1]
        own = f"attempt {job.attempt}"
        about: dict[str, Value] = {"eyas.job": job.id, "eyas.attempt": job.attempt, "eyas.job.state": last.state}
        why = last.error.message if last.error else last.setback if last.state is JobState.INTERRUPTED else ""
        about |= {"error.type": last.error.reason} if last.error else {}
        self._add(own, self._id("job"), begun, end, about, name="attempt", error=redacted(why) if why else None)
        # Its process may be seen long before the program has imported what it needs, and says the first word.
        self._add(f"{own} start", self._id(own), begun, laps[0].begun if laps else end, {}, name="start")
        stages = [list(laps) for _, laps in groupby(laps, lambda lap: lap.progress.stage)]
        ends = [*(stage[0].begun for stage in stages), end][1:]  # none where it ended before it said a word
        for number, (stage, stage_end) in enumerate(zip(stages, ends, strict=True)):
            key = f"{own} stage {number}"
            broken = redacted(why) if why and stage is stages[-1] else None
            self._add(key, self._id(own), stage[0].begun, stage_end, {}, name=stage[0].progress.stage, error=broken)
            inner_ends = [*(lap.begun for lap in stage[1:]), stage_end]
            for inner, (lap, lap_end) in enumerate(zip(stage, inner_ends, strict=True)):
                self._inner(f"{key} {inner}", key, lap, lap_end)

    def _inner(self, key: str, stage: str, lap: _Lap, end: datetime) -> None:
        """Adds a part or an epoch of a stage, if it has such."""
        progress = lap.progress
        if progress.part is not None:
            self._add(key, self._id(stage), lap.begun, end, {}, name=progress.part)
        elif progress.epoch:
            about: dict[str, Value] = {"eyas.epoch": progress.epoch, "eyas.epochs": progress.epochs}
            about |= {"eyas.images_per_second": progress.images_per_second} if progress.images_per_second else {}
            about |= {"eyas.loss": progress.loss} if progress.loss is not None else {}
            about |= {"eyas.accuracy": progress.validation.accuracy} if progress.validation else {}
            self._add(key, self._id(stage), lap.begun, end, about, name="epoch")

    def _add(
        self,
        key: str,
        parent_id: str,
        begun: datetime,
        end: datetime,
        about: dict[str, Value],
        *,
        name: str,
        kind: Kind = Kind.INTERNAL,
        error: str | None = None,
    ) -> None:
        context = Context(self._call.trace_id, self._id(key), sampled=True)
        start, stop = (int(time.timestamp() * 1e9) for time in (begun, max(begun, end)))  # clocks of several machines
        self.spans.append(Span(name, context, parent_id, start, stop, kind, about, error=error))

    def _id(self, key: str) -> str:
        return sha256(f"{self._job.id} {key}".encode()).hexdigest()[:16]
