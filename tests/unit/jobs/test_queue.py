"""jobs.queue: whose turn it is, that everybody's comes, and what those who wait are told."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyasd.core.jobs import Job, JobPriority, JobType, Progress, Queued, Waiting
from eyasd.jobs.queue import QueueOptions, forecast, next_up

NOW = datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC)
HIGH, NORMAL, LOW = JobPriority.HIGH, JobPriority.NORMAL, JobPriority.LOW
HOUR = timedelta(hours=1)
ONE = QueueOptions(devices=1)


def queued(name: str, priority: JobPriority = NORMAL, owner: str = "", devices: int = 1, *, hours: float = 0) -> Queued:
    """A job that was submitted so many hours after NOW."""
    return Queued(name, JobType.TRAINING, priority, owner, devices, NOW + hours * HOUR)


def running(name: str, owner: str = "", devices: int = 1, *, fraction: float = 0.5, left: float | None = None) -> Job:
    """A job that has so many hours left."""
    progress = Progress(stage="fine-tune", fraction=fraction, time_left=left * HOUR if left is not None else None)
    made = Job(id=name, type=JobType.TRAINING, create_time=NOW, model="m", dataset="/d", owner=owner, devices=devices)
    return replace(made, progress=progress)


@pytest.mark.parametrize(
    ("waiting", "first"),
    [
        ([queued("a"), queued("b")], "a"),
        ([queued("a"), queued("b", HIGH, hours=3.9)], "b"),
        ([queued("a"), queued("b", HIGH, hours=4.1)], "a"),
        ([queued("a", LOW), queued("b", hours=19.9)], "b"),
        ([queued("a", LOW), queued("b", hours=20.1)], "a"),
        ([queued("a", devices=2), queued("b")], "b"),
    ],
)
def test_the_next_job_is_the_first_by_submission_and_priority(waiting: list[Queued], first: str) -> None:
    assert next_up(waiting, [], [], ONE) == [first]


def test_nobody_starves_behind_urgent_jobs_without_end() -> None:
    victim = queued("victim", LOW)
    waiting = [victim]
    for hour in range(48):  # an urgent job an hour, of an hour each
        waiting.append(queued(str(hour), HIGH, hours=hour))
        (begun,) = next_up(waiting, [], [], ONE)
        if begun == "victim":
            break
        waiting = [job for job in waiting if job.id != begun]
    assert hour == 24


def test_a_job_of_many_devices_is_not_overtaken_by_those_that_would_fit() -> None:
    options = QueueOptions(devices=4)
    busy = [running(str(number), left=number) for number in (1, 2, 3)]
    waiting = [queued("wide", devices=4), queued("small")]
    assert next_up(waiting, busy, ["1", "2", "3"], options) == []
    assert next_up(waiting, [], [], options) == ["wide"]
    found = forecast(waiting, busy, ["1", "2", "3"], options, NOW)
    assert found["wide"] == Waiting("It is next; it wants 4 devices, and 1 of 4 is free.", NOW + 3 * HOUR)
    assert found["small"].reason == "1 job is before it; the first of them wants 4 devices, and 1 of 4 is free."


def test_trainings_take_as_many_gpus_as_the_trainer_gives_one_and_a_gpu_that_is_in_use_is_waited_for() -> None:
    options = QueueOptions(devices=4, jobs=3, training_devices=2)
    first, second, third = (queued(name, devices=0) for name in ("first", "second", "third"))
    small = replace(queued("small", devices=0), type=JobType.EVALUATION)
    assert [options.wanted(job) for job in (first, small, queued("x", devices=3))] == [2, 1, 3]
    assert next_up([first, second, third, small], [], [], options) == ["first", "second"]
    assert next_up([first, small, second], [], [], options) == ["first", "small"]  # and a GPU is kept for the second
    assert next_up([first, small, second], [], [], options, ["GPU 3"]) == ["first", "small"]
    assert next_up([first, second, small], [], [], options, ["GPU 3"]) == ["first"]  # the small one does not overtake
    found = forecast([first, second, small], [], [], options, NOW, ["GPU 3"])
    in_use = "GPU 3 is in use, and not by a job of this trainer"
    assert found["second"].reason == f"It is next; it wants 2 devices, and 1 of 4 is free; {in_use}."
    assert found["small"].reason == f"1 job is before it; the first of them wants 2 devices, and 1 of 4 is free; {in_use}."
    found = forecast([first], [], [], QueueOptions(devices=1), NOW, ["GPU 0"])
    assert found["first"].reason == "It is next; the trainer is busy; GPU 0 is in use, and not by a job of this trainer."


def test_no_more_jobs_run_than_may_though_there_are_devices() -> None:
    options = QueueOptions(devices=4, jobs=2)
    waiting, busy = [queued(name) for name in "abc"], [running("x", left=1)]
    assert next_up(waiting, busy, ["x"], options) == ["a"]
    found = forecast(waiting, busy, ["x"], options, NOW)
    assert found["b"] == Waiting("It is next; the trainer runs 2 jobs, as many as it may at a time.", NOW + HOUR)
    one = forecast(waiting, busy, ["x"], QueueOptions(devices=4, jobs=1), NOW)
    assert one["a"].reason == "It is next; the trainer is busy."


def test_an_owner_at_the_quota_holds_up_nobody_else() -> None:
    options = QueueOptions(devices=3, quota_running=1)
    waiting = [queued("a", owner="ann"), queued("b", owner="bob"), queued("c", owner="bob"), queued("d")]
    busy = [running("e", "ann", left=2)]  # of another trainer, and yet it counts
    assert next_up(waiting, busy, [], options) == ["b", "d"]
    found = forecast(waiting, busy, [], options, NOW)
    assert found["a"] == Waiting("No more than 1 job of ann may run at a time: it waits for one to end.", NOW + 2 * HOUR)
    assert found.keys() == {"a", "c"}
    assert found["c"] == Waiting("No more than 1 job of bob may run at a time: it waits for one to end.", NOW + 4 * HOUR)


def test_what_those_who_wait_are_told() -> None:
    busy = [running("x", left=0.5)]
    waiting = [queued("a"), queued("b"), queued("c"), queued("wide", devices=2)]
    assert forecast(waiting, busy, ["x"], ONE, NOW) == {
        "a": Waiting("It is next; the trainer is busy.", NOW + 0.5 * HOUR),
        "b": Waiting("1 job is before it; the trainer is busy.", NOW + 1.5 * HOUR),  # half an hour of x was half of it
        "c": Waiting("2 jobs are before it; the trainer is busy.", NOW + 2.5 * HOUR),
        "wide": Waiting("It wants 2 devices, and this trainer has 1."),
    }
    unknown = forecast(waiting, [running("x")], ["x"], ONE, NOW)
    assert {name: waits.expected_start for name, waits in unknown.items()} == dict.fromkeys("abc") | {"wide": None}


def test_a_job_of_another_kind_waits_for_no_known_end() -> None:
    waiting = [replace(queued("a"), type=JobType.EVALUATION), queued("b")]
    found = forecast(waiting, [running("x", left=1)], ["x"], ONE, NOW)
    assert [found[name].expected_start for name in "ab"] == [NOW + HOUR, None]


JOBS = st.lists(
    st.builds(
        Queued,
        id=st.uuids().map(str),
        type=st.just(JobType.TRAINING),
        priority=st.sampled_from(JobPriority),
        owner=st.sampled_from(["", "ann", "bob"]),
        devices=st.integers(1, 3),
        create_time=st.integers(-40, 0).map(lambda hours: NOW + hours * HOUR),
    ),
    max_size=12,
    unique_by=lambda job: job.id,
).map(lambda jobs: sorted(jobs, key=lambda job: job.create_time))
OPTIONS = st.builds(QueueOptions, devices=st.integers(1, 4), quota_running=st.integers(0, 2))
HEAD_STARTS = {HIGH: 0, NORMAL: 4, LOW: 24}


def begin(job: Queued, left: float) -> Job:
    return replace(running(job.id, job.owner, job.devices, fraction=0.0, left=left), type=job.type)


@given(waiting=JOBS, busy=JOBS, options=OPTIONS)
def test_devices_and_quotas_are_kept_and_so_are_turns(waiting: list[Queued], busy: list[Queued], options: QueueOptions) -> None:
    work = [begin(job, 1) for job in busy]
    started = next_up(waiting, work, [job.id for job in work], options)
    begun = [job for job in waiting if job.id in started]
    owners = Counter(job.owner for job in (*work, *begun))
    if begun:
        assert sum(job.devices for job in (*work, *begun)) <= options.devices
        assert not options.quota_running or max(owners[job.owner] for job in begun) <= options.quota_running
    turns = {job.id: (job.create_time + HEAD_STARTS[job.priority] * HOUR, waiting.index(job)) for job in waiting}
    assert started == sorted(started, key=turns.__getitem__)
    for job in waiting:
        passed_over = job.devices > options.devices or 0 < options.quota_running <= owners[job.owner]
        if job.id not in started and not passed_over:
            assert all(turns[other.id] < turns[job.id] for other in begun)
            assert sum(one.devices for one in (*work, *begun)) + job.devices > options.devices or any(
                turns[other.id] < turns[job.id] and other.id not in started for other in waiting
            )


@given(waiting=JOBS, options=OPTIONS)
def test_what_is_expected_comes_true_where_every_job_takes_as_long(waiting: list[Queued], options: QueueOptions) -> None:
    time, work, starts = NOW, [begin(Queued("first", JobType.TRAINING, NORMAL, "ann", 1, NOW), 2)], {}
    expected = {name: waits.expected_start for name, waits in forecast(waiting, work, ["first"], options, NOW).items()}
    ends, left = {"first": NOW + 2 * HOUR}, list(waiting)
    while True:
        for name in next_up(left, work, list(ends), options):
            starts[name], ends[name] = time, time + 2 * HOUR
            work.append(begin(next(job for job in left if job.id == name), 2))
        left = [job for job in left if job.id not in starts]
        if not ends:
            break
        over = min(ends, key=ends.__getitem__)
        time = ends.pop(over)
        work = [job for job in work if job.id != over]
    later = {name: start for name, start in starts.items() if start > NOW}
    assert {name: start for name, start in expected.items() if start is not None} == later
    assert all(job.devices > options.devices for job in left)
