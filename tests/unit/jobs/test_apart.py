"""jobs.attempt where pods share no folder with the trainer: the test plays pods, which speak by reports and through a store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog

from builders import evaluation, write_bundle
from eyasd.core import document, jobdir
from eyasd.core.errors import LeaseLost, StorageFailed
from eyasd.core.findings import DatasetReport, LabelCounts
from eyasd.core.jobdir import ProgressLine, Unreported
from eyasd.core.jobs import Job, JobError, JobState, Progress
from eyasd.core.tasks import TrainingOutcome, TrainingTask
from eyasd.jobs import attempt as attempt_module
from eyasd.jobs import scheduler as scheduler_module
from eyasd.jobs import stalls
from eyasd.jobs.exchange import Exchange
from eyasd.pod import layout
from eyasd.registry.models import Models
from eyasd.storage.local import LocalStore
from fake_trainer import FakeProcess, House, follow, states, train
from waits import until


class Store(LocalStore):
    """A store that is away at times."""

    away = False

    def children(self, prefix: str) -> list[str]:
        if self.away:
            raise StorageFailed("The bucket is away.")
        return super().children(prefix)

    def read(self, key: str) -> bytes:
        if self.away:
            raise StorageFailed("The bucket is away.")
        return super().read(key)


class Pod:
    """One attempt's, on a machine of its own."""

    def __init__(self, house: House, store: Store, job: Job, attempt: int, process: FakeProcess) -> None:
        self.house, self.store, self.job, self.attempt, self.process = house, store, job, attempt, process
        self.scratch = house.folder / f"pod-{job.id}-{attempt}"
        assert layout.receive(store, layout.place(job.id, attempt, "in"), self.scratch)

    async def report(self, first: int, *lines: ProgressLine) -> int:
        known, _ = await self.house.ledger.report(self.job.id, self.attempt, first, [document.dump(line) for line in lines])
        return known

    def succeed(self) -> None:
        write_bundle(self.scratch / jobdir.BUNDLE, job=self.job.id, evaluation=evaluation())
        report = DatasetReport((LabelCounts("blue", 1, 1, 1),), (), (), "d")
        outcome = TrainingOutcome(dataset_report=report, evaluation=evaluation())
        self.leave(**{jobdir.RESULT: document.dump(outcome)})
        self.process.end(jobdir.OK)

    def leave(self, **texts: str) -> None:
        for name, text in texts.items():
            (self.scratch / name).write_text(text)
        left = [path for path in self.scratch.rglob("*") if path.is_file()]
        layout.send(self.store, f"{layout.place(self.job.id, self.attempt, 'out')}/1", self.scratch, left)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
async def house(
    tmp_path: Path, store: Store, models: Models, log: structlog.typing.FilteringBoundLogger, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[House]:
    monkeypatch.setattr(attempt_module, "_RECEIVE_RETRY_SECONDS", (0.01,))
    made = House(tmp_path, models, log, exchange=Exchange(store, (str(tmp_path),)))
    yield made
    await made.end()


async def pod(house: House, store: Store, job: Job, attempt: int = 1) -> Pod:
    return Pod(house, store, job, attempt, await house.runner.started.get())


def said(text: str) -> ProgressLine:
    return ProgressLine(datetime.now(UTC), message=text)


async def test_a_training_from_request_to_version(house: House, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler_module, "RENEW_SECONDS", 3600.0)  # when figures of ended jobs go
    job = await train(house)
    one = await pod(house, store, job)
    task = document.load(TrainingTask, (one.scratch / jobdir.TRAINING).read_text())
    assert (task.job, task.attempt) == (job.id, 1)
    progress = ProgressLine(datetime.now(UTC), progress=Progress(stage="evaluate", fraction=0.9, loss=0.25))
    assert await one.report(1, said("a warning"), progress) == 2
    assert await one.report(1, said("a warning"), progress, said("another")) == 3
    one.succeed()
    events = await follow(house, job)
    assert states(events) == [JobState.QUEUED, JobState.STARTING, JobState.RUNNING, JobState.SUCCEEDED]
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert [event.message for event in events if event.message] == ["a warning", "another"]
    assert [event.progress.stage for event in events if event.progress] == ["evaluate", "publish"]
    assert (await house.ledger.get(job.id)).version == 1
    assert house.metrics.registry.get_sample_value("eyas_training_loss", {"job": job.id}) == 0.25
    await until(lambda: store.keys("jobs") == [])


async def test_what_a_pod_left_is_taken_by_the_next_trainer_and_cleaned_up_after_one_that_died(house: House, store: Store) -> None:
    job = await train(house)
    one = await pod(house, store, job)
    await one.report(1, said("one"))
    store.away = True
    # Nobody answered the last that it reported, so it does not know that its second line arrived.
    await one.report(2, said("two"))
    (one.scratch / jobdir.UNREPORTED).write_text(
        document.dump(Unreported(2, tuple(map(document.dump, map(said, ("two", "three"))))))
    )
    one.succeed()
    await until(lambda: len([event for event in house.store.events(job.id, 1) if event.message]) > 2)
    await house.restart()
    store.away = False
    events = await follow(house, job)
    assert states(events)[-1] is JobState.SUCCEEDED
    told = list(dict.fromkeys(event.message for event in events if event.message))
    assert told == ["one", "two", "The bucket is away. What the attempt has left is fetched as soon as that is possible.", "three"]
    store.write(f"jobs/{job.id}/1/late", b"")
    store.write("jobs/unknown/1/in.json", b"")
    await house.restart()
    await until(lambda: store.keys("jobs") == ["jobs/unknown/1/in.json"])


async def test_a_stale_attempt_neither_reports_nor_leaves_a_result(house: House, store: Store) -> None:
    job = await train(house)
    first = await pod(house, store, job)
    await first.report(1, said("first"), said("second"))
    first.process.end(-9)
    second = await pod(house, store, job, 2)
    with pytest.raises(LeaseLost):
        await first.report(3, said("stale"))
    first.succeed()
    assert await second.report(1, said("third")) == 1  # counted anew
    second.process.end(-9)
    third = await pod(house, store, job, 3)
    third.succeed()
    events = await follow(house, job)
    assert [event.message for event in events if event.message][:2] == ["first", "second"]
    assert (await house.ledger.get(job.id)).attempt == 3
    assert "stale" not in [event.message for event in events]


async def test_a_pod_whose_store_is_away_is_followed_by_another_and_then_that_is_told(house: House, store: Store) -> None:
    job = await train(house)
    for attempt in (1, 2, 3):
        one = await pod(house, store, job, attempt)
        one.leave(**{jobdir.LOG: "s3://photos does not answer.\n"})
        one.process.end(jobdir.PASSING)
    await follow(house, job)
    error = (await house.ledger.get(job.id)).error
    assert error == JobError("STORAGE_FAILED", "s3://photos does not answer. That was attempt 3 of 3 that were lost.")


@pytest.mark.parametrize("changed", [False, True])
async def test_a_result_that_cannot_be_had_is_told(
    house: House, store: Store, changed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt_module, "_RECEIVE_SECONDS", 0.05)
    job = await train(house)
    one = await pod(house, store, job)
    one.succeed()
    if changed:
        store.write(f"{layout.place(job.id, 1, 'out')}/1/{jobdir.RESULT}", b"fake")
    else:
        store.away = True
    await until(lambda: house.store.get(job.id).lost == 1)
    wanted = "nothing whole" if changed else "could not be fetched for 0 minutes: The bucket is away."
    assert wanted in house.store.get(job.id).setback
    store.away = False
    (await pod(house, store, job, 2)).succeed()
    assert states(await follow(house, job))[-1] is JobState.SUCCEEDED


async def test_a_job_that_is_cancelled_waits_for_no_store(house: House, store: Store) -> None:
    job = await train(house)
    one = await pod(house, store, job)
    store.away = True
    one.process.end(-9)
    await until(lambda: any(event.message for event in house.store.events(job.id, 1)))
    await house.ledger.cancel(job.id)
    assert states(await follow(house, job))[-1] is JobState.CANCELLED


async def test_a_dataset_that_pods_do_not_see_fails_the_job(house: House) -> None:
    house.ledger.exchange._mounted = ("/elsewhere",)  # type: ignore[union-attr]
    job = await train(house)
    await follow(house, job)
    error = (await house.ledger.get(job.id)).error
    assert error is not None
    assert error.reason == "INVALID_ARGUMENT"
    assert "which the pods that train do not see" in error.message


async def test_pods_that_are_not_heard_of_are_told_of_and_that_they_are_again(
    house: House, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_LOOK_SECONDS", "BIRTH_SECONDS"):
        monkeypatch.setattr(stalls, name, 0.0)
    job = await train(house)
    one = await pod(house, store, job)
    silent = "The pods are at work, and have reported nothing for 0 s"
    await until(lambda: any((event.message or "").startswith(silent) for event in house.store.events(job.id, 1)))
    assert house.metrics.registry.get_sample_value("eyas_stalled_jobs") == 1
    await one.report(1, said("here"))
    await until(lambda: any(event.message == "The pods report again." for event in house.store.events(job.id, 1)))
    assert house.metrics.registry.get_sample_value("eyas_stalled_jobs") == 0
    one.succeed()
    assert states(await follow(house, job))[-1] is JobState.SUCCEEDED
