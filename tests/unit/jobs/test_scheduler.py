"""jobs.scheduler: from an accepted request to its end, whatever happens on the way."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from builders import colour_network, comparison, evaluation, write_bundle
from eyasd.core import document, jobdir
from eyasd.core.bundle import MANIFEST, read_manifest
from eyasd.core.errors import DatasetNotFound, JobEnded, RequestIdReused, StorageFailed, Unavailable
from eyasd.core.findings import DatasetReport, LabelCounts
from eyasd.core.jobs import Job, JobPriority, JobState, JobType, Progress, Waiting
from eyasd.core.names import ModelRef
from eyasd.core.promotion import Policy
from eyasd.core.pulse import IDLE_SECONDS, Pulse
from eyasd.core.spec import InspectionSpec, Preset, TrainSpec
from eyasd.core.tasks import Conditions, EvaluationOutcome, EvaluationTask, InspectionOutcome, InspectionTask, TrainingTask
from eyasd.jobs import attempt as attempt_module
from eyasd.jobs import folder, publishing, stalls
from eyasd.jobs import scheduler as scheduler_module
from eyasd.jobs.outlook import Outlook
from eyasd.jobs.queue import QueueOptions
from eyasd.jobs.runner import Cause
from eyasd.registry.models import Models
from fake_trainer import CACHE, SOURCES, House, at_work, follow, states, train

BEGUN = (JobState.STARTING, JobState.RUNNING)


def a_job(house: House) -> Job:
    return Job(
        id="j1", type=JobType.TRAINING, create_time=datetime.now(UTC), model="m", dataset=str(house.photos), spec=TrainSpec()
    )


async def cleared_to(job_dir: Path, names: set[str]) -> None:
    """Waits until these files, and no others, are left of a job, which happens once its end has been told."""

    def found() -> set[str]:
        return {path.name for path in job_dir.iterdir()}

    while found() != names:
        await asyncio.sleep(0.01)


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


async def test_a_failure_the_trainer_explains(house: House) -> None:
    job = await train(house)
    (await house.runner.started.get()).fail("BAD_DATASET", "There is one label; at least two are needed.")
    await follow(house, job)
    failed = await house.ledger.get(job.id)
    assert failed.state is JobState.FAILED
    assert failed.error is not None
    assert (failed.error.reason, failed.error.message) == ("BAD_DATASET", "There is one label; at least two are needed.")


async def test_a_crash_is_told_with_its_last_line_and_not_repeated(house: House) -> None:
    job = await train(house)
    process = await house.runner.started.get()
    (process.job_dir / jobdir.LOG).write_text("Traceback ...\nRuntimeError: the roof is on fire\n")
    process.end(1)
    await follow(house, job)
    failed = await house.ledger.get(job.id)
    assert failed.error is not None
    assert failed.error.message == "The training program crashed: RuntimeError: the roof is on fire"
    assert failed.attempt == 1


async def test_a_killed_process_is_started_again_at_most_three_times(house: House) -> None:
    job = await train(house)
    for attempt in (1, 2, 3):
        process = await house.runner.started.get()
        assert document.load(TrainingTask, (process.job_dir / jobdir.TRAINING).read_text()).attempt == attempt
        process.end(-9, Cause.LOST)
    await follow(house, job)
    failed = await house.ledger.get(job.id)
    assert failed.error is not None
    assert failed.error.reason == "TRAINER_FAILED"
    killed = "The training program was ended by signal 9 (Killed), perhaps for want of memory."
    assert failed.error.message == f"{killed} That was attempt 3 of 3 that were lost."


@pytest.mark.parametrize("cause", [Cause.TIME_LIMIT, Cause.REFUSED])
async def test_what_another_attempt_would_not_help_is_final_and_told_in_the_words_of_the_place(house: House, cause: Cause) -> None:
    job = await train(house)
    (await house.runner.started.get()).end(None, cause, "The pod's image does not exist.")
    await follow(house, job)
    failed = await house.ledger.get(job.id)
    assert (failed.state, failed.attempt) == (JobState.FAILED, 1)
    assert failed.error is not None
    assert failed.error.message == "The pod's image does not exist."


async def test_what_did_not_fit_the_memory_is_tried_once_more_in_smaller_parts(house: House) -> None:
    job = await train(house)
    for parts in (1, 2):
        process = await house.runner.started.get()
        assert document.load(TrainingTask, (process.job_dir / jobdir.TRAINING).read_text()).micro_batches == parts
        process.fail("TRAINER_OUT_OF_MEMORY", "The GPU ran out of memory; choose a smaller batch_size.")
    events = await follow(house, job)
    said = "The GPU ran out of memory; choose a smaller batch_size. It is tried again with each batch in 2 parts."
    assert [event.message for event in events if event.message] == [said]
    assert states(events) == [JobState.QUEUED, *BEGUN, JobState.INTERRUPTED, JobState.QUEUED, *BEGUN, JobState.FAILED]
    assert house.metrics.registry.get_sample_value("eyas_failed_attempts_total", {"fault": "memory"}) == 2
    failed = await house.ledger.get(job.id)
    assert (failed.attempt, failed.lost) == (2, 0)
    assert failed.error is not None
    assert failed.error.reason == "TRAINER_OUT_OF_MEMORY"


async def test_a_full_disk_is_waited_for(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare, tries = folder.prepare, []

    def fill_up(*arguments: object) -> None:
        tries.append(arguments)
        if len(tries) == 1:
            raise StorageFailed("No space left on device.")
        prepare(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(folder, "prepare", fill_up)
    job = await train(house)
    (await house.runner.started.get()).succeed()
    events = await follow(house, job)
    assert states(events)[-1] is JobState.SUCCEEDED
    assert [event.message for event in events if event.message] == ["No space left on device."]
    assert (await house.ledger.get(job.id)).lost == 1


async def test_a_job_is_paused_at_its_checkpoint_and_goes_on_from_it(house: House) -> None:
    job, other = await train(house), await train(house)
    process = await house.runner.started.get()
    asked = await house.ledger.pause(job.id)
    assert asked.pausing or asked.state is JobState.INTERRUPTED
    second = await house.runner.started.get()  # the device is free for the other one
    assert second.job_dir.name == other.id
    paused = await house.ledger.get(job.id)
    assert (paused.state, paused.pausing, paused.resume_time, paused.lost) == (JobState.INTERRUPTED, False, None, 0)
    assert process.stops == 1
    assert (await house.ledger.pause(job.id)).state is JobState.INTERRUPTED
    assert (await house.ledger.resume(job.id)).state is JobState.QUEUED
    second.succeed()
    third = await house.runner.started.get()
    assert third.job_dir == process.job_dir
    third.succeed()
    assert states(await follow(house, job)) == [
        JobState.QUEUED,
        *BEGUN,
        JobState.INTERRUPTED,
        JobState.QUEUED,
        *BEGUN,
        JobState.SUCCEEDED,
    ]
    with pytest.raises(JobEnded, match="succeeded already, so it cannot be paused"):
        await house.ledger.pause(job.id)


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


async def test_a_daemon_that_was_killed_finds_its_processes(house: House) -> None:
    job = await train(house)
    process = await house.runner.started.get()
    process.say(progress=Progress(stage="audit"))
    await at_work(house, job)
    await house.restart()
    process.succeed()
    events = await follow(house, job)
    assert states(events) == [JobState.QUEUED, JobState.STARTING, JobState.RUNNING, JobState.SUCCEEDED]
    assert [event.progress.stage for event in events if event.progress] == ["audit", "evaluate", "publish"]
    assert house.models.versions("colours") == [1]


async def test_a_result_written_while_no_daemon_ran_is_taken(house: House) -> None:
    job = await train(house)
    process = await house.runner.started.get()
    process.succeed()
    await house.restart()
    assert states(await follow(house, job))[-1] is JobState.SUCCEEDED
    assert house.models.versions("colours") == [1]


async def test_what_a_job_left_that_ended_elsewhere_is_cleared_and_what_others_need_is_not(house: House) -> None:
    ended = await train(house)
    process = await house.runner.started.get()
    process.succeed()
    await follow(house, ended)
    running = await train(house)
    other = await house.runner.started.get()
    unknown = house.folder / "jobs" / "unknown"
    unknown.mkdir()
    left = [folder / "checkpoint.safetensors" for folder in (process.job_dir, other.job_dir, unknown)]
    for file in left:
        file.touch()
    await house.restart()
    while left[0].exists():
        await asyncio.sleep(0.01)
    await cleared_to(process.job_dir, {jobdir.TRAINING, jobdir.PROGRESS, jobdir.RESULT})
    other.succeed()
    assert states(await follow(house, running))[-1] is JobState.SUCCEEDED
    assert left[2].exists()


async def test_a_process_that_died_with_the_daemon_is_started_again(house: House) -> None:
    job = await train(house)
    process = await house.runner.started.get()
    house.runner.alive.clear()
    await at_work(house, job)
    await house.restart()
    process.ended.cancel()
    second = await house.runner.started.get()
    assert second.job_dir == process.job_dir  # where its checkpoints are
    second.succeed()
    assert states(await follow(house, job)) == [
        JobState.QUEUED,
        JobState.STARTING,
        JobState.RUNNING,
        JobState.INTERRUPTED,
        JobState.QUEUED,
        JobState.STARTING,
        JobState.RUNNING,
        JobState.SUCCEEDED,
    ]


async def test_going_down_ends_watches_and_queues_jobs_for_the_next_daemon(house: House) -> None:
    job = await train(house)
    await house.runner.started.get()
    watching = asyncio.create_task(follow(house, job))
    await asyncio.sleep(0.05)
    await house.scheduler.close()
    with pytest.raises(Unavailable):
        await watching
    await asyncio.sleep(0.1)
    assert house.runner.started.empty()  # it is for the next daemon
    assert house.store.get(job.id).state is JobState.QUEUED
    await house.restart()
    (await house.runner.started.get()).succeed()
    assert states(await follow(house, job))[-1] is JobState.SUCCEEDED
    assert (await house.ledger.get(job.id)).lost == 0


async def test_a_process_of_another_machine_is_left_at_work_and_found_by_the_next_daemon(house: House) -> None:
    job = await train(house)
    process = await house.runner.started.get()
    process.stays = True
    await at_work(house, job)
    await house.scheduler.close()
    assert process.stops == 0
    assert house.store.get(job.id).state is JobState.RUNNING
    await house.restart()
    process.succeed()
    assert states(await follow(house, job))[-1] is JobState.SUCCEEDED
    assert (await house.ledger.get(job.id)).attempt == 1


async def test_what_keeps_a_process_from_its_work_is_told_once_and_then_where_it_works(house: House) -> None:
    house.runner.reason = "No node has room."
    job = await train(house)
    process = await house.runner.started.get()
    await until_said(house, job, "No node has room.")
    process.reason = "The image is pulled."
    await until_said(house, job, "The image is pulled.")
    assert house.store.get(job.id).state is JobState.STARTING
    process.reason, process.place = "", "node gpu-7"
    await at_work(house, job)
    process.succeed()
    said = [event.message for event in await follow(house, job) if event.message]
    assert said == ["No node has room.", "The image is pulled.", "It runs on node gpu-7."]


async def test_a_job_whose_machines_are_taken_away_waits_and_goes_on_in_the_same_attempt(house: House) -> None:
    job = await train(house)
    process = await house.runner.started.get()
    process.place = "node gpu-7"
    await at_work(house, job)
    process.suspended, process.reason = True, "The Job waits for its turn."
    await until_state(house, job, JobState.STARTING)
    assert house.scheduler.reason(job.id) == "The Job waits for its turn."
    process.suspended, process.reason, process.place = False, "", "node gpu-8"
    await until_state(house, job, JobState.RUNNING)
    process.succeed()
    events = await follow(house, job)
    assert states(events) == [JobState.QUEUED, *BEGUN, *BEGUN, JobState.SUCCEEDED]
    assert [event.message for event in events if event.message][1:] == ["The Job waits for its turn.", "It runs on node gpu-8."]
    assert house.store.get(job.id).attempt == 1


async def until_state(house: House, job: Job, state: JobState) -> None:
    while (await house.ledger.get(job.id)).state is not state:
        await house.ledger.changed_since(house.ledger.changes)


async def until_said(house: House, job: Job, message: str) -> None:
    async for event in house.ledger.watch(job.id, 1):
        if event.message == message:
            return


async def test_an_attempt_that_was_taken_over_neither_reports_nor_publishes(house: House) -> None:
    job = await train(house)
    process = await house.runner.started.get()
    await at_work(house, job)
    taken = await asyncio.to_thread(house.store.leases.take_over, "another", {house.replica.id})
    assert [one.id for one in taken] == [job.id]
    process.say(message="from beyond")
    process.succeed()
    while house.scheduler.here:
        await asyncio.sleep(0.01)
    left = await house.ledger.get(job.id)
    assert (left.state, left.version) == (JobState.RUNNING, None)
    assert house.models.names() == []
    assert [event.message for event in house.store.events(job.id, 1) if event.message] == []


async def test_a_process_is_told_that_it_is_held_while_the_database_does_not_answer(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler_module, "_PASS_SECONDS", 0.01)
    monkeypatch.setattr(scheduler_module, "RENEW_SECONDS", 0.0)
    job = await train(house)
    process = await house.runner.started.get()
    await at_work(house, job)
    monkeypatch.setattr(house.ledger, "renew", asyncio.Event().wait)
    await asyncio.sleep(0.1)  # what is under way comes to its end
    lease = process.job_dir / jobdir.LEASE
    lease.unlink(missing_ok=True)
    while not lease.exists():
        await asyncio.sleep(0.01)


async def test_a_full_repository_delays_a_version_and_loses_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "_RETRY_SECONDS", (0.01,))
    publish, tries = Models.publish, []

    def fill_up(self: Models, *arguments: object) -> int:
        tries.append(arguments)
        if len(tries) < 4:
            raise StorageFailed("No space left on device.")
        return publish(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Models, "publish", fill_up)
    job = await train(house)
    (await house.runner.started.get()).succeed()
    events = await follow(house, job)
    assert states(events)[-1] is JobState.SUCCEEDED
    assert [event.message for event in events if event.message] == [
        "No space left on device. The finished model is kept, and published as soon as that is possible."
    ]
    assert len(tries) == 4


async def test_a_database_that_fails_for_a_while_loses_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt_module, "_STORAGE_RETRY_SECONDS", 0.01)
    job = await train(house)
    process = await house.runner.started.get()
    kept, tries = house.store.record, []

    def record(*arguments: object) -> None:
        tries.append(arguments)
        if len(tries) < 3:
            raise StorageFailed("disk I/O error")
        kept(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(house.store, "record", record)
    process.say(message="first")
    process.succeed()
    events = await follow(house, job)
    assert states(events)[-1] is JobState.SUCCEEDED
    assert [event.message for event in events if event.message] == ["first"]
    assert len(tries) >= 3
    assert house.metrics.registry.get_sample_value("eyas_database_errors_total", {"operation": "record"}) == 2


async def test_a_training_that_hangs_is_told_with_where_and_that_it_goes_on(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stalls, "_LOOK_SECONDS", 0.0)
    job = await train(house)
    process = await house.runner.started.get()
    process.threads = 'Process 7:\nCurrent thread 0x1 (most recent call first):\n  File "feed.py", line 5 in take\n'

    async def beat(number: int, seconds: float, awaited: int) -> str:
        (process.job_dir / jobdir.PULSE).write_text(document.dump(Pulse(number, "head", seconds, seconds)))
        said: list[str] = []
        async for event in house.ledger.watch(job.id, 1):
            said += [event.message] if event.message else []
            if len(said) == awaited:
                break
        return said[-1]

    said = await beat(1, IDLE_SECONDS, 1)
    assert "hangs in stage 'head'" in said
    assert said.endswith(" It is at take (feed.py:5).")
    assert house.metrics.registry.get_sample_value("eyas_stalled_jobs") == 1
    assert "goes on" in await beat(2, 0.0, 2)
    await beat(3, IDLE_SECONDS, 3)
    process.succeed()
    await follow(house, job)
    assert house.metrics.registry.get_sample_value("eyas_stalled_jobs") == 0
