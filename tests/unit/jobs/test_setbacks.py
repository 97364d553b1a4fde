"""jobs.scheduler: whatever befalls a job on its way, it is told, and nothing is lost."""

from __future__ import annotations

import asyncio

import pytest

from eyasd.core import document, jobdir
from eyasd.core.errors import JobEnded, StorageFailed, Unavailable
from eyasd.core.jobs import Job, JobEvent, JobState, Lease, Progress
from eyasd.core.pulse import IDLE_SECONDS, Pulse
from eyasd.core.tasks import TrainingTask
from eyasd.jobs import attempt as attempt_module
from eyasd.jobs import folder, publishing, stalls
from eyasd.jobs import scheduler as scheduler_module
from eyasd.jobs.runner import Cause
from eyasd.registry.models import Models
from fake_trainer import House, at_work, cleared_to, follow, states, train

BEGUN = (JobState.STARTING, JobState.RUNNING)


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


@pytest.mark.parametrize("late", [False, True])
async def test_what_a_process_says_in_the_end_is_not_lost_though_the_database_is_slow(
    house: House, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    job = await train(house)
    process = await house.runner.started.get()
    kept, loop = house.store.record, asyncio.get_running_loop()

    async def end() -> None:
        process.say(message="second")
        process.say(message="third")
        process.succeed()

    def record(lease: Lease, events: list[JobEvent], end_bytes: int | None, since: int | None = None) -> None:
        told = [event.message for event in events]
        if "first" in told:
            asyncio.run_coroutine_threadsafe(end(), loop).result()
        if late and told[:2] == ["second", "third"]:  # only now it does what an earlier try had asked for
            second_bytes = (process.job_dir / jobdir.PROGRESS).read_bytes().index(b"\n", since) + 1
            kept(lease, events[:1], second_bytes, since)
        kept(lease, events, end_bytes, since)

    monkeypatch.setattr(house.store, "record", record)
    process.say(message="first")
    events = await follow(house, job)
    assert states(events)[-1] is JobState.SUCCEEDED
    assert [event.message for event in events if event.message] == ["first", "second", "third"]


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
