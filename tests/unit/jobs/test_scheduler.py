"""jobs.scheduler: from an accepted request to its end."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from builders import colour_network, comparison, evaluation, write_bundle
from eyasd.core import document, jobdir
from eyasd.core.bundle import MANIFEST, read_manifest
from eyasd.core.errors import DatasetNotFound, JobEnded, RequestIdReused
from eyasd.core.findings import DatasetReport, LabelCounts
from eyasd.core.jobs import Job, JobPriority, JobState, JobType, Progress, Waiting
from eyasd.core.names import ModelRef
from eyasd.core.promotion import Policy
from eyasd.core.spec import InspectionSpec, Preset, TrainSpec
from eyasd.core.tasks import Conditions, EvaluationOutcome, EvaluationTask, InspectionOutcome, InspectionTask, TrainingTask
from eyasd.jobs import scheduler as scheduler_module
from eyasd.jobs.outlook import Outlook
from eyasd.jobs.queue import QueueOptions
from fake_trainer import CACHE, SOURCES, House, cleared_to, follow, states, train


def a_job(house: House) -> Job:
    return Job(
        id="j1", type=JobType.TRAINING, create_time=datetime.now(UTC), model="m", dataset=str(house.photos), spec=TrainSpec()
    )


async def test_a_training_from_request_to_version(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler_module, "RENEW_SECONDS", 3600.0)
    value = house.metrics.registry.get_sample_value
    job = await train(house)
    process = await house.runner.started.get()
    assert (value("eyas_running_jobs"), value("eyas_job_queue_seconds_count")) == (1, 1)
    task = document.load(TrainingTask, (process.job_dir / jobdir.TRAINING).read_text())
    assert (task.job, task.attempt, task.dataset, task.spec.preset) == (job.id, 1, str(house.photos), Preset.FAST)
    assert (task.cache, task.sources) == (CACHE, SOURCES)
    process.say(message="a warning")
    process.succeed()
    events = await follow(house, job)
    assert states(events) == [JobState.QUEUED, JobState.STARTING, JobState.RUNNING, JobState.SUCCEEDED]
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert [event.message for event in events if event.message] == ["a warning"]
    assert [event.progress.stage for event in events if event.progress] == ["evaluate", "publish"]
    done = await house.ledger.get(job.id)
    assert (done.version, done.evaluation, done.end_time is not None) == (1, evaluation(), True)
    assert house.models.resolve(ModelRef("colours", alias="production")) == 1
    assert value("eyas_training_loss", {"job": job.id}) == 0.25
    assert value("eyas_jobs_total", {"type": "training", "state": "succeeded"}) == 1
    # What a person may ask about stays, the rest goes, once the end has been told.
    await cleared_to(process.job_dir, {jobdir.TRAINING, jobdir.PROGRESS, jobdir.RESULT})
    monkeypatch.setattr(scheduler_module, "RENEW_SECONDS", 0.0)
    while value("eyas_training_loss", {"job": job.id}) is not None or value("eyas_running_jobs"):
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("alias", "points_to"),
    [(None, {"production": 1}), ("canary", {"production": 1, "canary": 2}), ("production", {"production": 2})],
)
async def test_a_later_version_serves_only_when_asked(house: House, alias: str | None, points_to: dict[str, int]) -> None:
    for wanted in (None, alias):
        job = await train(house, alias=wanted)
        (await house.runner.started.get()).succeed()
        await follow(house, job)
    assert {name: record.version for name, record in house.models.current_aliases("colours").items()} == points_to


async def test_a_version_that_the_policy_refuses_is_published_but_does_not_serve(house: House) -> None:
    first = await train(house)
    (await house.runner.started.get()).succeed()
    await follow(house, first)
    demanded = Policy(aliases=("production",), at_least={"accuracy": 0.99}, at_most={})
    house.models.policies.set("colours", demanded, actor="ann")
    job = await train(house, alias="production")
    (await house.runner.started.get()).succeed()
    events = await follow(house, job)
    assert states(events)[-1] is JobState.SUCCEEDED
    assert (await house.ledger.get(job.id)).version == 2
    said = [event.message for event in events if event.message]
    assert said[-1].startswith(
        "Version 2 is published. colours@production stays where it is: of colours/2, accuracy is 0.9000, at least 0.99 is demanded."
    )
    record = house.models.aliases.get("colours", "production")
    assert record is not None
    assert record.version == 1


async def test_an_evaluation_gets_the_bundle_of_the_version_it_names(house: House, tmp_path: Path) -> None:
    house.models.publish("colours", write_bundle(tmp_path / "b"), "job1")
    job = await house.intake.evaluate(ref=ModelRef("colours", version=1), dataset=str(house.photos), request_id=None)
    process = await house.runner.started.get()
    task = document.load(EvaluationTask, (process.job_dir / jobdir.EVALUATION).read_text())
    assert task.model == "colours/1"
    assert (process.job_dir / jobdir.BUNDLE / "model.onnx").read_bytes() == (tmp_path / "b/model.onnx").read_bytes()
    (process.job_dir / jobdir.RESULT).write_text(document.dump(EvaluationOutcome(evaluation=evaluation())))
    process.end(jobdir.OK)
    assert states(await follow(house, job))[-1] is JobState.SUCCEEDED
    assert (await house.ledger.get(job.id)).evaluation == evaluation()


async def test_an_evaluation_of_several_gets_the_bundle_of_each(house: House, tmp_path: Path) -> None:
    for number in (1, 2):
        bundle = write_bundle(tmp_path / str(number), network=colour_network(green=number), job=f"job{number}")
        house.models.publish("colours", bundle, f"job{number}")
    first, second = (ModelRef("colours", version=number) for number in (1, 2))
    job = await house.intake.evaluate(ref=first, others=(second,), dataset=str(house.photos), request_id=None)
    assert job.others == (second,)
    process = await house.runner.started.get()
    task = document.load(EvaluationTask, (process.job_dir / jobdir.EVALUATION).read_text())
    assert (task.model, task.others) == ("colours/1", (second,))
    for number, place in ((1, jobdir.BUNDLE), (2, f"{jobdir.OTHERS}/1")):
        assert (process.job_dir / place / "model.onnx").read_bytes() == (tmp_path / str(number) / "model.onnx").read_bytes()
    scored, found = replace(evaluation(), test_split="s"), comparison(second)
    found = replace(found, evaluation=replace(found.evaluation, test_split="s"))
    house.models.looks.add("colours", "s", 1, "another job")
    (process.job_dir / jobdir.RESULT).write_text(document.dump(EvaluationOutcome(evaluation=scored, comparisons=(found,))))
    process.end(jobdir.OK)
    await follow(house, job)
    done = await house.ledger.get(job.id)
    assert done.evaluation == replace(scored, test_split_looks=3)
    assert done.comparisons == (replace(found, evaluation=replace(found.evaluation, test_split_looks=3)),)


async def test_a_training_looks_at_its_test_split_once(house: House) -> None:
    for looks in (1, 2):
        job = await train(house)
        process = await house.runner.started.get()
        process.succeed(replace(evaluation(), test_split="s"))
        await follow(house, job)
        found = (await house.ledger.get(job.id)).evaluation
        assert found is not None
        assert (found.test_split_looks, house.models.looks.count("colours", "s")) == (looks, looks)


async def test_a_training_gets_the_weights_of_the_version_it_starts_from(house: House, tmp_path: Path) -> None:
    house.models.publish("colours", write_bundle(tmp_path / "b"), "job1")
    house.models.aliases.set("colours", "production", 1, actor="ann", reason="")
    base = ModelRef("colours", alias="production")
    submit = house.intake.train
    asked = {"model": "shades", "dataset": str(house.photos), "spec": TrainSpec(), "alias": None, "request_id": "r"}
    job = await submit(**asked, base=base)
    assert job.base_version == ModelRef("colours", version=1)  # and stays that, wherever the alias goes
    assert (await submit(**asked, base=base)).id == job.id
    with pytest.raises(RequestIdReused):
        await submit(**asked)
    process = await house.runner.started.get()
    task = document.load(TrainingTask, (process.job_dir / jobdir.TRAINING).read_text())
    assert (task.base_version, task.spec) == (ModelRef("colours", version=1), TrainSpec())
    given = process.job_dir / jobdir.BASE
    assert {path.name for path in given.iterdir()} == {"manifest.json", "weights.safetensors"}
    assert (given / "weights.safetensors").read_bytes() == (tmp_path / "b/weights.safetensors").read_bytes()
    process.succeed()
    assert states(await follow(house, job))[-1] is JobState.SUCCEEDED
    assert (await house.ledger.get(job.id)).base_version == ModelRef("colours", version=1)


@pytest.mark.parametrize("content", [None, b"changed"])
async def test_a_training_does_not_start_from_damaged_weights(house: House, tmp_path: Path, content: bytes | None) -> None:
    house.models.publish("colours", write_bundle(tmp_path / "b"), "job1")
    weights = tmp_path / "models/colours/1/weights.safetensors"
    weights.unlink()
    if content is not None:
        weights.write_bytes(content)
    base = ModelRef("colours", version=1)
    job = await house.intake.train(
        model="colours", dataset=str(house.photos), spec=TrainSpec(), alias=None, request_id=None, base=base
    )
    assert states(await follow(house, job))[-1] is JobState.FAILED
    error = (await house.ledger.get(job.id)).error
    assert error is not None
    assert error.reason == "BROKEN_BUNDLE"
    assert "weights.safetensors" in error.message
    assert house.runner.started.empty()


async def test_an_inspection_ends_with_its_report(house: House) -> None:
    asked = InspectionSpec("resnet50", 7)
    submit = house.intake.inspect
    job = await submit(dataset=str(house.photos), spec=asked, request_id="r")
    assert (await submit(dataset=str(house.photos), spec=asked, request_id="r")).id == job.id
    with pytest.raises(RequestIdReused):
        await submit(dataset=str(house.photos), spec=InspectionSpec(), request_id="r")
    process = await house.runner.started.get()
    task = document.load(InspectionTask, (process.job_dir / jobdir.INSPECTION).read_text())
    assert (task.job, task.attempt, task.dataset, task.spec, task.hub) == (job.id, 1, str(house.photos), asked, False)
    assert (task.cache, task.sources) == (CACHE, SOURCES)
    report = DatasetReport((LabelCounts("blue", 1, 1, 1),), (), ("few pictures",), "d")
    (process.job_dir / jobdir.RESULT).write_text(document.dump(InspectionOutcome(dataset_report=report)))
    process.end(jobdir.OK)
    assert states(await follow(house, job))[-1] is JobState.SUCCEEDED
    assert (await house.ledger.get(job.id)).dataset_report == report
    await cleared_to(process.job_dir, {jobdir.INSPECTION, jobdir.RESULT})
    with pytest.raises(DatasetNotFound, match="no folder '/nowhere/at/all'"):
        await submit(dataset="/nowhere/at/all", spec=asked, request_id=None)


async def test_a_training_is_retraced_with_what_its_version_says_of_it(house: House, tmp_path: Path) -> None:
    made = write_bundle(tmp_path / "bundle")
    house.models.publish("colours", made, "job1")
    house.models.aliases.set("colours", "production", 1, actor="test", reason="")
    retraced, submit = ModelRef("colours", alias="production"), house.intake.inspect
    with pytest.raises(DatasetNotFound, match="no folder '/photos'"):
        await submit(dataset="", spec=InspectionSpec(), request_id=None, retraced=retraced)
    job = await submit(dataset=str(house.photos), spec=InspectionSpec(), request_id="r", retraced=retraced)
    assert (await submit(dataset=str(house.photos), spec=InspectionSpec(), request_id="r", retraced=retraced)).id == job.id
    process = await house.runner.started.get()
    task = document.load(InspectionTask, (process.job_dir / jobdir.INSPECTION).read_text())
    assert task.spec == InspectionSpec("colours", 0, ModelRef("colours", version=1))
    base = read_manifest((process.job_dir / jobdir.BASE / MANIFEST).read_bytes())
    assert base == house.models.manifest("colours", 1)
    found = InspectionOutcome(dataset_report=base.dataset_report, conditions=Conditions("0", {"torch": "2"}, "the CPU", None))
    (process.job_dir / jobdir.RESULT).write_text(document.dump(found))
    process.end(jobdir.OK)
    assert states(await follow(house, job))[-1] is JobState.SUCCEEDED
    assert (await house.ledger.get(job.id)).conditions == found.conditions


async def test_a_job_that_was_about_to_begin_when_the_daemon_went_down_is_left_as_it_was(house: House) -> None:
    await house.ledger.drain()
    job = await asyncio.to_thread(house.store.submit, a_job(house), None, "")
    claimed = await house.ledger.claim([job.id], 0)
    assert claimed is not None
    house.scheduler._spawn(claimed, begun=False)
    await house.scheduler.close()  # before the first step of the task
    assert house.runner.started.empty()
    left = house.store.get(job.id)
    assert (left.attempt, left.lost) == (1, 0)
    assert left.state in {JobState.INTERRUPTED, JobState.QUEUED}  # as soon as somebody looks


async def test_a_device_that_somebody_else_has_is_waited_for(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eyasd.jobs.scheduler._PASS_SECONDS", 0.02)
    monkeypatch.setattr("eyasd.jobs.attempt._TAKEN_WAIT", timedelta(0))
    house.runner.others, house.runner.refusals = ["GPU 0"], 1
    outlook = Outlook(house.ledger, house.scheduler, QueueOptions(devices=1))
    job = await train(house)
    waits = await outlook.of(job)
    assert waits is not None
    assert waits.reason == "It is next; the trainer is busy; GPU 0 is in use, and not by a job of this trainer."
    house.runner.others = []
    await house.ledger.tell()
    process = await house.runner.started.get()
    process.succeed()
    events = await follow(house, job)
    assert [event.message for event in events if event.message] == ["It wants 2 of 4 GPUs, and 1 is free: it waits for them."]
    assert (await house.ledger.get(job.id)).lost == 0


async def test_jobs_wait_for_their_turn(house: House) -> None:
    first, second = await train(house), await train(house)
    process = await house.runner.started.get()
    await asyncio.sleep(0.05)
    assert house.runner.started.empty()
    assert (await house.ledger.get(second.id)).state is JobState.QUEUED
    process.succeed()
    await follow(house, first)
    (await house.runner.started.get()).succeed()
    assert states(await follow(house, second))[-1] is JobState.SUCCEEDED
    assert house.models.versions("colours") == [1, 2]


async def test_urgent_jobs_go_first(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler_module, "RENEW_SECONDS", 0.0)
    await train(house)
    running = await house.runner.started.get()
    low = await train(house, priority=JobPriority.LOW)
    normal = await train(house)
    high = await train(house, priority=JobPriority.HIGH)
    order = []
    while house.metrics.registry.get_sample_value("eyas_queued_jobs") != 3:
        await asyncio.sleep(0.01)
    assert 0 < (house.metrics.registry.get_sample_value("eyas_oldest_queued_job_seconds") or 0) < 300
    for _ in range(3):
        running.succeed()
        running = await house.runner.started.get()
        order.append(running.job_dir.name)
    assert order == [high.id, normal.id, low.id]
    running.succeed()
    await follow(house, low)


async def test_those_who_wait_are_told_why(house: House) -> None:
    outlook = Outlook(house.ledger, house.scheduler, QueueOptions(devices=1))
    running, job = await train(house), await train(house)
    process = await house.runner.started.get()
    process.say(progress=Progress(stage="head", fraction=0.5, time_left=timedelta(minutes=10)))
    while not (await house.ledger.get(running.id)).progress:
        await asyncio.sleep(0.01)
    waiting = await outlook.of(job)
    assert waiting is not None
    assert waiting.reason == "It is next; the trainer is busy."
    assert waiting.expected_start is not None
    assert abs(waiting.expected_start - datetime.now(UTC) - timedelta(minutes=10)) < timedelta(minutes=1)
    assert await outlook.of(await house.ledger.get(running.id)) is None
    process.reason = "Its node is being prepared."
    starting = replace(running, state=JobState.STARTING)
    assert await outlook.of(starting) == Waiting("Its node is being prepared.")
    paused = await house.ledger.pause(job.id)
    assert await outlook.of(paused) == Waiting(f"It is paused; `eyas jobs resume {job.id}` lets it go on.")
    process.end(jobdir.OK)


async def test_a_time_budget_is_spent_at_work_alone(house: House) -> None:
    spec = TrainSpec(preset=Preset.FAST, budget=timedelta(hours=1))
    job = await house.intake.train(model="m", dataset=str(house.photos), spec=spec, alias=None, request_id=None)
    process = await house.runner.started.get()
    lease = house.ledger.lease(await house.ledger.get(job.id))
    await house.ledger.update(lease, worked=timedelta(minutes=50))
    process.end(-9)
    process = await house.runner.started.get()
    deadline = document.load(TrainingTask, (process.job_dir / jobdir.TRAINING).read_text()).deadline
    assert deadline is not None
    assert abs(deadline - datetime.now(UTC) - timedelta(hours=1)) < timedelta(minutes=1)
    process.succeed()
    await follow(house, job)


async def test_cancelling_a_queued_a_running_and_an_ended_job(house: House) -> None:
    running, queued = await train(house), await train(house)
    process = await house.runner.started.get()
    assert (await house.ledger.cancel(queued.id)).state is JobState.CANCELLED
    await house.ledger.cancel(running.id)
    assert states(await follow(house, running)) == [JobState.QUEUED, JobState.STARTING, JobState.RUNNING, JobState.CANCELLED]
    assert process.stops == 1
    assert (await house.ledger.cancel(running.id)).state is JobState.CANCELLED
    done = await train(house)
    (await house.runner.started.get()).succeed()
    await follow(house, done)
    with pytest.raises(JobEnded, match="succeeded already"):
        await house.ledger.cancel(done.id)
