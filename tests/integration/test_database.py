"""jobs.database: what is written is written once, whatever becomes of the connection, and an answer does not take for ever."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
import structlog
from sqlalchemy import Connection, text

from eyasd.core.errors import DatabaseAway, StorageFailed
from eyasd.core.jobs import Job, JobEvent, JobState, JobType, Lease
from eyasd.jobs.store import JobStore
from postgres import Postgres
from wire import Wire

Log = structlog.typing.FilteringBoundLogger


def job(name: str) -> Job:
    return Job(id=name, type=JobType.TRAINING, create_time=datetime.now(UTC), model="m", dataset="/d")


@pytest.fixture
def wire(postgres: Postgres, tmp_path: Path) -> Iterator[Wire]:
    made = Wire(tmp_path, postgres.folder)
    yield made
    made.end()


@pytest.fixture
def store(postgres: Postgres, wire: Wire, log: Log) -> Iterator[JobStore]:
    """A store at the other end of the wire, with a job `a` that replica `r` holds."""
    made = JobStore(postgres.url(postgres.create(), wire.folder), log)
    made.submit(job("a"), None, "")
    made.leases.claim("r", ["a"])
    yield made
    made.close()


WRITES: dict[str, Callable[[JobStore], object]] = {
    "submit": lambda store: store.submit(job("b"), None, "x"),
    "claim": lambda store: store.leases.claim("r", ["q"]),
    "update": lambda store: store.update(Lease("a", 1, "r"), state=JobState.RUNNING),
    "end": lambda store: store.update(Lease("a", 1, "r"), state=JobState.FAILED),
    "record": lambda store: store.record(Lease("a", 1, "r"), [JobEvent(0, datetime.now(UTC), message="hello")], 5),
    "cancel": lambda store: store.cancel("q"),
}


@pytest.mark.parametrize("what", ["lose", "lose_answer_to"])
@pytest.mark.parametrize("write", WRITES)
def test_a_write_whose_commit_or_its_answer_is_lost_counts_once(store: JobStore, wire: Wire, what: str, write: str) -> None:
    store.submit(job("q"), None, "")
    before = {name: store.events(name, 1) for name in ("a", "q")}
    setattr(wire, what, b"COMMIT")
    WRITES[write](store)
    assert wire.lost == 1
    added = [len(store.events(name, 1)) - len(events) for name, events in before.items()]
    jobs, _ = store.page(None, 10)
    assert (len(jobs), added) == {
        "submit": (3, [0, 0]),
        "claim": (2, [0, 1]),
        "update": (2, [1, 0]),
        "end": (2, [1, 0]),
        "record": (2, [1, 0]),
        "cancel": (2, [0, 1]),
    }[write]


def test_a_connection_that_breaks_is_not_noticed(store: JobStore, wire: Wire) -> None:
    wire.cut()
    assert store.get("a").id == "a"
    wire.cut()
    store.record(Lease("a", 1, "r"), [JobEvent(0, datetime.now(UTC), message="hello")], 5)
    assert store.progress_bytes("a") == 5


def test_a_transaction_that_another_was_in_the_way_of_is_repeated(store: JobStore) -> None:
    for state in ("40001", "40P01"):
        calls = []

        def work(connection: Connection, calls: list[int] = calls, state: str = state) -> int:
            calls.append(1)
            if len(calls) < 3:
                connection.execute(text(f"DO $$ BEGIN RAISE SQLSTATE '{state}'; END $$"))
            return len(calls)

        assert store._database.write(work) == 3
    with pytest.raises(StorageFailed, match="could not be used"):
        store._database.write(lambda connection: connection.execute(text("SELECT 1 / 0")))


def test_a_request_that_comes_twice_at_once_is_one_job(store: JobStore) -> None:
    names = [f"twin{number}" for number in range(16)]
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda name: store.submit(job(name), "id", "x").id, names))
    assert len(set(made)) == 1


def test_a_server_that_is_down_is_away_at_once_and_nothing_is_lost(store: JobStore, postgres: Postgres) -> None:
    store.submit(job("b"), None, "")
    postgres.stop()
    try:
        start = time.monotonic()
        for call in (lambda: store.get("a"), lambda: store.submit(job("c"), None, ""), lambda: store.leases.renew("r")):
            with pytest.raises(DatabaseAway, match="does not answer: try again in some seconds"):
                call()
        assert time.monotonic() - start < 3
    finally:
        postgres.start()
    assert store.leases.renew("r") == {"a"}
    assert [one.id for one in store.page(None, 9)[0]] == ["b", "a"]


def test_connections_that_the_server_ended_are_made_anew(store: JobStore, postgres: Postgres) -> None:
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'eyasd'")
    assert store.leases.renew("r") == {"a"}
