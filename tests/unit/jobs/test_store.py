"""jobs.store: what was promised is kept, a request makes one job, and no job takes a path that is not drawn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog

from eyasd.core.errors import JobEnded, JobNotFound, LeaseLost, QuotaExceeded, RequestIdReused, StartupFailed, StorageFailed
from eyasd.core.jobs import Job, JobEvent, JobPriority, JobState, JobType, Lease, Progress, Queued
from eyasd.jobs.store import JobStore
from eyasd.jobs.tables import EVENTS

Log = structlog.typing.FilteringBoundLogger


def job(name: str) -> Job:
    return Job(id=name, type=JobType.TRAINING, create_time=datetime.now(UTC), model="m", dataset="/d")


def start(store: JobStore, name: str) -> Lease:
    """Brings a queued job to work, as the replica `r` does."""
    claimed = store.leases.claim("r", [name])
    assert claimed is not None
    lease = Lease(name, claimed.attempt, "r")
    store.update(lease, state=JobState.RUNNING)
    return lease


@pytest.fixture
def store(database: Path | str, log: Log) -> Iterator[JobStore]:
    made = JobStore(database, log)
    yield made
    made.close()


def test_a_job_outlives_the_daemon(store: JobStore, database: Path | str, log: Log) -> None:
    made = store.submit(job("a"), None, "r")
    start(store, "a")
    store.close()
    again = JobStore(database, log)
    assert again.get("a").attempt == 1
    assert [event.job.state for event in again.events("a", 1) if event.job] == [
        JobState.QUEUED,
        JobState.STARTING,
        JobState.RUNNING,
    ]
    assert again.in_state(JobState.RUNNING)[0].create_time == made.create_time
    again.close()
    with pytest.raises(StorageFailed, match="closed"):
        again.get("a")


def test_a_repeated_request_is_the_same_job_and_another_one_is_refused(store: JobStore) -> None:
    assert store.submit(job("a"), "id", "train x") == store.submit(job("b"), "id", "train x")
    with pytest.raises(RequestIdReused, match="'id'"):
        store.submit(job("c"), "id", "train y")
    store.submit(job("d"), None, "train x")
    assert [j.id for j in store.in_state(JobState.QUEUED)] == ["a", "d"]


def test_a_request_id_is_its_callers_own_and_that_of_nobody_in_particular_everybodys(store: JobStore) -> None:
    ann, bob = (lambda name, who=who: store.submit(job(name), "id", f"train {name}", 0, f"token:{who}") for who in ("ann", "bob"))
    assert [ann("a").id, bob("b").id, store.submit(job("c"), "id", "train c").id] == ["a", "b", "c"]  # nobody is in another's way
    assert [ann("a").id, bob("b").id, store.submit(job("c"), "id", "train c").id] == ["a", "b", "c"]  # nor answered with his
    for submit in (ann, bob):
        with pytest.raises(RequestIdReused, match="'id'"):
            submit("c")
    assert [one.id for one in store.in_state(JobState.QUEUED)] == ["a", "b", "c"]


def test_a_request_that_an_earlier_version_took_in_is_still_its_owners(store: JobStore) -> None:
    before = replace(job("a"), owner="ann")
    store.submit(before, "id", "train x")  # which kept ids as they are
    assert store.submit(replace(job("b"), owner="ann"), "id", "train x", 0, "token:ann").id == "a"
    assert store.submit(replace(job("c"), owner="bob"), "id", "train x", 0, "token:bob").id == "c"
    assert store.submit(replace(job("d"), owner="ann"), "id", "train y", 0, "token:ann").id == "d"  # which nobody can be blocked by


def test_no_more_jobs_of_an_owner_are_queued_than_the_quota(store: JobStore) -> None:
    ann = [replace(job(name), owner="ann") for name in "abc"]
    for one in ann[:2]:
        store.submit(one, one.id, "", 2)
    with pytest.raises(QuotaExceeded, match="2 jobs of ann are queued, which is as many as may be"):
        store.submit(ann[2], "c", "", 2)
    assert store.submit(ann[1], "b", "", 2).id == "b"  # it was accepted before
    store.submit(job("d"), None, "", 2)
    start(store, "a")
    assert store.submit(ann[2], "c", "", 2).id == "c"


def test_pages_are_newest_first_and_miss_nothing(store: JobStore) -> None:
    for name in "abcde":
        store.submit(job(name), None, "")
    first, following = store.page(None, 2)
    second, following2 = store.page(following, 2)
    third, end = store.page(following2, 2)
    assert [[j.id for j in page] for page in (first, second, third)] == [["e", "d"], ["c", "b"], ["a"]]
    assert end is None


def test_the_queue_is_what_is_queued_oldest_first(store: JobStore) -> None:
    wanted = [replace(job("a"), priority=JobPriority.HIGH, owner="ann", devices=4), replace(job("b"), type=JobType.EVALUATION)]
    for one in (*wanted, job("c")):
        store.submit(one, None, "")
    start(store, "c")
    assert store.queued() == [Queued(one.id, one.type, one.priority, one.owner, one.devices, one.create_time) for one in wanted]


def test_progress_is_recorded_with_the_position_and_numbered_without_gaps(store: JobStore) -> None:
    store.submit(job("a"), None, "")
    now = datetime.now(UTC)
    lease = start(store, "a")
    store.record(lease, [JobEvent(0, now, message="hello"), JobEvent(0, now, progress=Progress(stage="audit"))], 77)
    assert store.progress_bytes("a") == 77
    assert store.get("a").progress == Progress(stage="audit")
    assert [event.sequence for event in store.events("a", 1)] == [1, 2, 3, 4, 5]
    assert [event.message for event in store.events("a", 4, limit=1)] == ["hello"]


def test_what_was_recorded_by_a_call_that_was_given_up_is_not_recorded_again(store: JobStore) -> None:
    store.submit(job("a"), None, "")
    lease = start(store, "a")
    said = JobEvent(0, datetime.now(UTC), message="hello")
    for _ in range(2):
        store.record(lease, [said], 77, since=0)
    assert [event.message for event in store.events("a", 4)] == ["hello"]
    store.record(lease, [said], 99, since=77)
    assert (store.progress_bytes("a"), store.newest(["a", "b"])) == (99, {"a": 5})


@pytest.mark.parametrize("call", ["get", "events", "update", "record", "cancel", "pause", "resume"])
def test_an_unknown_job(store: JobStore, call: str) -> None:
    lease = Lease("x", 1, "r")
    arguments = {"events": ("x", 1), "update": (lease,), "record": (lease, [], 0)}.get(call, ("x",))
    with pytest.raises(JobNotFound, match="no job 'x'"):
        getattr(store, call)(*arguments)


def test_a_job_that_waits_is_cancelled_at_once_and_one_at_work_is_marked(store: JobStore) -> None:
    for name in ("queued", "paused", "running", "done"):
        store.submit(job(name), None, "")
    store.pause("paused")
    start(store, "running")
    store.update(start(store, "done"), state=JobState.SUCCEEDED)
    for name in ("queued", "paused"):
        cancelled = store.cancel(name)
        assert (cancelled.state, cancelled.cancelling, cancelled.end_time is not None) == (JobState.CANCELLED, True, True)
        assert store.cancel(name) == cancelled
    assert [event.job.state for event in store.events("queued", 1) if event.job] == [JobState.QUEUED, JobState.CANCELLED]
    marked = store.cancel("running")
    assert (marked.state, marked.cancelling, marked.end_time) == (JobState.RUNNING, True, None)
    with pytest.raises(JobEnded, match="succeeded already"):
        store.cancel("done")


def test_a_job_is_paused_and_resumed_wherever_it_is(store: JobStore) -> None:
    for name in ("queued", "running", "done"):
        store.submit(job(name), None, "")
    lease = start(store, "running")
    assert store.pause("queued").state is JobState.INTERRUPTED
    marked = store.pause("running")
    assert (marked.state, marked.pausing) == (JobState.RUNNING, True)
    assert store.resume("running").pausing is False
    store.pause("running")
    stopped = store.update(lease, state=JobState.INTERRUPTED)
    assert (stopped.pausing, stopped.resume_time) == (False, None)
    assert store.wake() == []  # a pause ends when somebody says so
    assert [store.resume(name).state for name in ("queued", "running")] == [JobState.QUEUED] * 2
    assert store.resume("queued").state is JobState.QUEUED
    store.update(start(store, "done"), state=JobState.FAILED)
    for call in (store.pause, store.resume):
        with pytest.raises(JobEnded, match="has failed already"):
            call("done")


def test_an_interrupted_job_is_queued_when_its_time_has_come(store: JobStore) -> None:
    now = datetime.now(UTC)
    # Nobody is to wait for 5 minutes: the last was interrupted before the clock was set back by an hour.
    for name, wait in (("soon", -1), ("later", 60), ("far", 3610)):
        store.submit(job(name), None, "")
        store.update(start(store, name), state=JobState.INTERRUPTED, resume_time=now + timedelta(seconds=wait))
    woken = [(one.id, one.state, one.resume_time) for one in store.wake()]
    assert woken == [(name, JobState.QUEUED, None) for name in ("soon", "far")]
    assert store.pause("later").resume_time is None


def test_events_are_only_ever_added(store: JobStore) -> None:
    store.submit(job("a"), None, "")
    before = store.events("a", 1)
    for change in (EVENTS.delete(), EVENTS.update().values(document="{}")):
        with pytest.raises(StorageFailed, match="events are only ever added"):
            store._database.write(lambda connection, change=change: connection.execute(change))  # type: ignore[misc]
    assert store.events("a", 1) == before


def test_a_file_that_is_no_database_stops_the_start(tmp_path: Path, log: Log) -> None:
    (tmp_path / "jobs.sqlite").write_bytes(b"not a database, but long enough to be taken for one" * 30)
    with pytest.raises(StartupFailed, match=r"jobs\.sqlite cannot be used: file is not a database\.$"):
        JobStore(tmp_path / "jobs.sqlite", log)


def test_a_full_disk_loses_nothing_that_was_promised(tmp_path: Path, log: Log) -> None:
    store = JobStore(tmp_path / "jobs.sqlite", log)
    store.submit(job("a"), None, "")
    limit(store, pages=1)
    with pytest.raises(StorageFailed, match="full"):
        for number in range(2000):
            store.submit(job(f"b{number}"), None, "x" * 2000)
    assert store.get("a").state is JobState.QUEUED
    limit(store, pages=100_000)
    assert store.submit(job("c"), None, "").id == "c"
    store.close()


def limit(store: JobStore, pages: int) -> None:
    """Makes the disk full, by SQLite's own means, or gives it room."""
    store._database.read(lambda connection: connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}").all())


def test_lines_that_are_reported_count_once_however_often_they_come(store: JobStore) -> None:
    store.submit(job("a"), None, "r")
    lease = start(store, "a")
    lines = [JobEvent(0, datetime.now(UTC), message=f"{number}") for number in range(1, 6)]
    assert store.report("a", 1, 0, [])[0] == 0
    assert store.report("a", 1, 1, lines[:3])[0] == 3
    assert store.report("a", 1, 1, lines[:3])[0] == 3
    store.record(lease, [JobEvent(0, datetime.now(UTC), message="between")], None)
    assert store.report("a", 1, 2, [*lines[1:4], None])[0] == 5  # the last one was damaged
    assert [event.message for event in store.events("a", 1) if event.message] == ["1", "2", "3", "between", "4"]
    further = JobEvent(0, datetime.now(UTC), progress=Progress(stage="head"))
    assert store.report("a", 1, 6, [further])[1].progress == Progress(stage="head")
    assert store.get("a").progress == Progress(stage="head")
    second = 2**32 + 1  # of a pod that is in the place of another, which had more on its way
    assert store.report("a", 1, second, lines[4:])[0] == second
    assert store.report("a", 1, 7, lines[:1])[0] == second
    assert [event.message for event in store.events("a", 1) if event.message][-2:] == ["4", "5"]


def test_an_attempt_that_is_over_reports_in_vain(store: JobStore) -> None:
    store.submit(job("a"), None, "r")
    lease = start(store, "a")
    line = JobEvent(0, datetime.now(UTC), message="late")
    for attempt in (0, 2):
        with pytest.raises(LeaseLost):
            store.report("a", attempt, 1, [line])
    store.update(lease, state=JobState.INTERRUPTED, resume_time=None)
    with pytest.raises(LeaseLost):
        store.report("a", 1, 1, [line])
    assert [event.message for event in store.events("a", 1) if event.message] == []
