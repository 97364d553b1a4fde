"""jobs.store: what was promised is kept, a request makes one job, and no job takes a path that is not drawn."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eyasd.core.errors import JobEnded, JobNotFound, RequestIdReused, StartupFailed, StorageFailed
from eyasd.core.jobs import Job, JobEvent, JobState, JobType, Progress
from eyasd.jobs.store import TRANSITIONS, JobStore

Log = structlog.typing.FilteringBoundLogger


def job(name: str) -> Job:
    return Job(id=name, type=JobType.TRAINING, create_time=datetime.now(UTC), model="m", dataset="/d")


@pytest.fixture
def store(database: Path | str, log: Log) -> Iterator[JobStore]:
    made = JobStore(database, log)
    yield made
    made.close()


def test_a_job_outlives_the_daemon(store: JobStore, database: Path | str, log: Log) -> None:
    made = store.submit(job("a"), None, "r")
    store.update("a", state=JobState.RUNNING, attempt=1)
    store.close()
    again = JobStore(database, log)
    assert again.get("a").attempt == 1
    assert [event.job.state for event in again.events("a", 1) if event.job] == [JobState.QUEUED, JobState.RUNNING]
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


def test_pages_are_newest_first_and_miss_nothing(store: JobStore) -> None:
    for name in "abcde":
        store.submit(job(name), None, "")
    first, following = store.page(None, 2)
    second, following2 = store.page(following, 2)
    third, end = store.page(following2, 2)
    assert [[j.id for j in page] for page in (first, second, third)] == [["e", "d"], ["c", "b"], ["a"]]
    assert end is None


def test_progress_is_recorded_with_the_position_and_numbered_without_gaps(store: JobStore) -> None:
    store.submit(job("a"), None, "")
    now = datetime.now(UTC)
    store.record("a", [JobEvent(0, now, message="hello"), JobEvent(0, now, progress=Progress(stage="audit"))], 77)
    assert store.progress_bytes("a") == 77
    assert store.get("a").progress == Progress(stage="audit")
    assert [event.sequence for event in store.events("a", 1)] == [1, 2, 3]
    assert [event.message for event in store.events("a", 2, limit=1)] == ["hello"]


@pytest.mark.parametrize("call", ["get", "events", "update", "cancel"])
def test_an_unknown_job(store: JobStore, call: str) -> None:
    with pytest.raises(JobNotFound, match="no job 'x'"):
        getattr(store, call)(*(("x", 1) if call == "events" else ("x",)))


def test_a_queued_job_is_cancelled_at_once_and_a_running_one_is_marked(store: JobStore) -> None:
    for name in ("queued", "running", "done"):
        store.submit(job(name), None, "")
    for name in ("running", "done"):
        store.update(name, state=JobState.RUNNING)
    store.update("done", state=JobState.SUCCEEDED)
    cancelled = store.cancel("queued")
    assert (cancelled.state, cancelled.cancelling, cancelled.end_time is not None) == (JobState.CANCELLED, True, True)
    assert store.cancel("queued") == cancelled
    assert [event.job.state for event in store.events("queued", 1) if event.job] == [JobState.QUEUED, JobState.CANCELLED]
    marked = store.cancel("running")
    assert (marked.state, marked.cancelling, marked.end_time) == (JobState.RUNNING, True, None)
    with pytest.raises(JobEnded, match="succeeded already"):
        store.cancel("done")


@given(path=st.lists(st.sampled_from(JobState), max_size=8))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_state_is_reached_by_a_path_that_is_not_drawn(store: JobStore, path: list[JobState]) -> None:
    name = secrets.token_hex(8)
    state = store.submit(job(name), None, "").state
    for wanted in path:
        if wanted is state or wanted in TRANSITIONS[state]:
            state = store.update(name, state=wanted).state
            assert state is wanted
        else:
            with pytest.raises(JobEnded):
                store.update(name, state=wanted)
    assert store.get(name).state is state
    assert state.ended == (not TRANSITIONS[state])


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
