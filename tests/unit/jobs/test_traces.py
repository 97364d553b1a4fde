"""jobs.traces: a job is one trace, with what was waited for, every attempt, its stages and epochs, at the times they took."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
import structlog

from eyasd.core.errors import StorageFailed
from eyasd.core.jobs import Job, JobEvent, JobState, JobType, Progress
from eyasd.jobs.runner import Cause
from eyasd.jobs.traces import Outline, spans_of
from eyasd.registry.models import Models
from eyasd.telemetry import tracing
from eyasd.telemetry.tracing import Kind, Span, Tracing
from fake_trainer import House, follow, train
from kept import Kept

CALL = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
async def house(tmp_path: Path, models: Models, log: structlog.typing.FilteringBoundLogger, kept: Kept) -> AsyncIterator[House]:
    made = House(tmp_path, models, log, traces=Tracing(kept))
    yield made
    await made.end()


async def traced_training(house: House) -> Job:
    house.traces.begin("TrainingService/Train", [("traceparent", CALL), ("x-request-id", "r1")])
    return await train(house)


def named(kept: Kept, name: str) -> list[Span]:
    return [span for span in kept.spans if span.name == name]


async def test_a_killed_attempt_and_the_one_that_followed_it_are_one_trace(house: House, kept: Kept) -> None:
    job = await traced_training(house)
    call = tracing.current()
    assert call is not None
    assert call.job == job.id
    process = await house.runner.started.get()
    process.say(progress=Progress(stage="audit"))
    process.say(progress=Progress(stage="decode"))
    process.say(progress=Progress(stage="decode", part="split"))
    process.say(progress=Progress(stage="fine-tune", epoch=1, epochs=9, loss=0.5))
    process.end(-9, Cause.LOST)
    process = await house.runner.started.get()
    for epoch in (1, 2):
        process.say(progress=Progress(stage="fine-tune", epoch=epoch, epochs=2, loss=0.5))
        process.say(progress=Progress(stage="fine-tune", epoch=epoch, epochs=2, loss=0.25, images_per_second=7.0))
    process.succeed()
    await follow(house, job)
    await house.scheduler.close()
    (whole,) = named(kept, "job training")
    assert call.trace is not None
    assert (whole.parent_id, whole.kind) == (call.trace.context.span_id, Kind.CONSUMER)
    assert {span.context.trace_id for span in kept.spans} == {CALL.split("-")[1]}
    shown = {"eyas.job": job.id, "eyas.job.type": "training", "eyas.job.state": "succeeded", "eyas.attempts": 2}
    assert whole.attributes == shown | {
        "eyas.model": "colours",
        "eyas.version": 1,
        "eyas.dataset": whole.attributes["eyas.dataset"],
    }
    assert str(whole.attributes["eyas.dataset"]).startswith("path:")
    assert whole.error is None
    first, second = named(kept, "attempt")
    assert [first.attributes["eyas.job.state"], second.attributes["eyas.job.state"]] == ["interrupted", "succeeded"]
    assert first.error is not None
    assert "signal 9" in first.error
    assert second.error is None
    inside = {span.name: span for span in kept.spans if span.parent_id == first.context.span_id}
    assert list(inside) == ["start", "audit", "decode", "fine-tune"]
    assert inside["fine-tune"].error == first.error  # where it was killed
    assert [span.parent_id for span in named(kept, "split")] == [inside["decode"].context.span_id]
    assert [(span.attributes["eyas.epoch"], span.attributes["eyas.loss"]) for span in named(kept, "epoch")] == [
        (1, 0.5),
        (1, 0.25),
        (2, 0.25),
    ]
    assert [span.parent_id for span in named(kept, "queue")] == [whole.context.span_id] * 2
    assert [span.parent_id for span in named(kept, "interrupted")] == [whole.context.span_id]
    assert named(kept, "publish")
    by_id = {span.context.span_id: span for span in kept.spans}
    assert len(by_id) == len(kept.spans)
    for span in kept.spans:
        parent = by_id.get(span.parent_id)
        if parent is not None:
            assert parent.start_ns <= span.start_ns <= span.end_ns <= parent.end_ns
    waited = sorted(named(kept, "queue") + named(kept, "attempt") + named(kept, "interrupted"), key=lambda span: span.start_ns)
    assert [span.name for span in waited] == ["queue", "attempt", "interrupted", "queue", "attempt"]
    assert all(one.end_ns == other.start_ns for one, other in pairwise(waited))


async def test_a_job_that_is_cancelled_in_the_queue(house: House, kept: Kept) -> None:
    await train(house)  # has the device, and no trace
    job = await traced_training(house)
    await house.ledger.pause(job.id)
    await house.ledger.resume(job.id)
    await house.ledger.pause(job.id)
    await house.ledger.cancel(job.id)
    assert [span.name for span in kept.spans] == ["queue", "queue", "interrupted", "job training", "interrupted"]
    assert len({span.context.span_id for span in kept.spans}) == 5


async def test_a_job_whose_call_is_not_traced_is_not_either(house: House, kept: Kept) -> None:
    tracing._current.set(None)
    job = await train(house)
    (await house.runner.started.get()).succeed()
    await follow(house, job)
    assert (await house.ledger.get(job.id)).trace is None
    assert kept.spans == []


async def test_a_trace_that_cannot_be_made_fails_no_job(house: House, kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    job = await traced_training(house)
    process = await house.runner.started.get()

    def away(*_: object) -> list[JobEvent]:
        raise StorageFailed("The database is away.")

    monkeypatch.setattr(house.store, "events", away)
    process.succeed()
    while not (await house.ledger.get(job.id)).state.ended:
        await house.ledger.changed_since(house.ledger.changes)
    await house.scheduler.close()
    assert (await house.ledger.get(job.id)).state is JobState.SUCCEEDED
    assert kept.spans == []


def test_an_attempt_whose_machines_were_taken_away_for_a_while_is_one() -> None:
    begun = datetime(2026, 1, 1, tzinfo=UTC)
    job = Job(id="j", type=JobType.TRAINING, create_time=begun, model="m", dataset="/data", attempt=1, trace=CALL)
    outline = Outline()
    moves = (JobState.QUEUED, JobState.STARTING, JobState.RUNNING, JobState.STARTING, JobState.RUNNING, JobState.SUCCEEDED)
    for minute, state in enumerate(moves):
        attempt = 0 if state is JobState.QUEUED else 1
        outline.see(JobEvent(0, begun + timedelta(minutes=minute), job=replace(job, state=state, attempt=attempt)))
    spans = spans_of(outline, outline.states[-1][1])
    minutes = {span.name: (span.end_ns - span.start_ns) / 60e9 for span in spans}
    assert minutes == {"job training": 5, "queue": 1, "attempt": 4, "start": 4}


def test_an_attempt_has_no_more_spans_than_it_may() -> None:
    begun = datetime(2026, 1, 1, tzinfo=UTC)
    job = Job(id="j", type=JobType.TRAINING, create_time=begun, model="m", dataset="/data", attempt=1, trace=CALL)
    outline = Outline()

    def at(second: int, state: JobState) -> None:
        outline.see(JobEvent(0, begun + timedelta(seconds=second), job=replace(job, state=state)))

    at(0, JobState.QUEUED)
    at(1, JobState.STARTING)
    for epoch in range(5000):
        outline.see(JobEvent(0, begun + timedelta(seconds=2 + epoch), progress=Progress(stage="fine-tune", epoch=1 + epoch)))
    at(6000, JobState.SUCCEEDED)
    spans = spans_of(outline, outline.states[-1][1])
    assert len(spans) == 1000
    assert {"job training", "attempt", "queue", "fine-tune"} <= {span.name for span in spans}
