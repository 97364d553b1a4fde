"""jobs.database: what is written is written once, whatever becomes of the connection, and an answer does not take for ever."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
import structlog
from sqlalchemy import Connection, text

from eyasd.core import jobdir
from eyasd.core.errors import DatabaseAway, QuotaExceeded, StorageFailed
from eyasd.core.jobs import Job, JobEvent, JobState, JobType, Lease
from eyasd.jobs.runner import Ending
from eyasd.jobs.store import JobStore
from eyasd.registry.models import Models
from fake_trainer import House, at_work, follow, train
from postgres import Postgres
from waits import until
from wire import Wire

Log = structlog.typing.FilteringBoundLogger


def job(name: str) -> Job:
    return Job(id=name, type=JobType.TRAINING, create_time=datetime.now(UTC), model="m", dataset="/d")


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


def test_a_quota_holds_where_many_come_at_once(store: JobStore) -> None:
    def submit(number: int) -> bool:
        try:
            store.submit(replace(job(f"many{number}"), owner="ann"), None, "", 3)
        except QuotaExceeded:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(submit, range(16))) == 3


def test_a_server_that_is_down_is_away_at_once_and_nothing_is_lost(store: JobStore, postgres: Postgres) -> None:
    store.submit(job("b"), None, "")
    postgres.stop()
    try:
        start = time.monotonic()
        for call in (lambda: store.get("a"), lambda: store.submit(job("c"), None, ""), lambda: store.leases.renew("r")):
            with pytest.raises(DatabaseAway, match="does not answer: try again in some seconds"):
                call()
        assert time.monotonic() - start < 6  # as long as to wait for three connections
    finally:
        postgres.start()
    assert store.leases.renew("r") == {"a"}
    assert [one.id for one in store.page(None, 9)[0]] == ["b", "a"]


def test_connections_that_the_server_ended_are_made_anew(store: JobStore, postgres: Postgres) -> None:
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'eyasd'")
    assert store.leases.renew("r") == {"a"}


async def test_while_a_database_says_nothing_callers_are_told_in_time_and_jobs_go_on(
    postgres: Postgres, wire: Wire, tmp_path: Path, models: Models, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eyasd.jobs.attempt._STORAGE_RETRY_SECONDS", 0.05)
    house = House(tmp_path, models, log, postgres.url(postgres.create(), wire.folder))
    made = await train(house, request_id="r")
    process = await house.runner.started.get()
    await at_work(house, made)
    wire.hold()
    process.say(message="nobody hears")
    calls = (house.ledger.get(made.id), house.ledger.page(None, 9), train(house, request_id="s"), follow(house, made))
    start = time.monotonic()
    told = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(one) for one in told] == [DatabaseAway] * 4
    assert time.monotonic() - start < 1 + 7  # of a busy machine's; the database itself would take 10
    process.succeed()
    await asyncio.sleep(3)  # as long as a follower waits
    wire.let_go()
    events = await follow_through(house, made)
    assert [event.message for event in events if event.message] == ["nobody hears"]
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert (await house.ledger.get(made.id)).version == 1
    again = await train(house, request_id="s")
    assert [one.id for one in (await house.ledger.page(None, 9))[0]] == [again.id, made.id]
    await house.end()


async def test_a_trainer_that_is_cut_off_trains_on_until_another_takes_its_plate_down(
    postgres: Postgres, wire: Wire, tmp_path: Path, models: Models, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in {"FRESH_SECONDS": 0.6, "SEEN_SECONDS": 1.5, "ALONE_SECONDS": 1.8, "_LOOK_SECONDS": 0.02}.items():
        monkeypatch.setattr(f"eyasd.jobs.plates.{name}", seconds)
    monkeypatch.setattr("eyasd.jobs.scheduler.RENEW_SECONDS", 0.0)
    monkeypatch.setattr("eyasd.jobs.scheduler._PASS_SECONDS", 0.05)
    monkeypatch.setattr("eyasd.jobs.scheduler._TOUCH_SECONDS", 0.02)
    monkeypatch.setattr("eyasd.jobs.attempt._STORAGE_RETRY_SECONDS", 0.05)
    house = House(tmp_path, models, log, postgres.url(postgres.create(), wire.folder))
    made = await train(house)
    process = await house.runner.started.get()
    await at_work(house, made)
    plate = tmp_path / "models" / ".trainers" / house.replica.id
    await until(plate.exists)
    wire.hold()
    await asyncio.sleep(3)  # as when the database is away: nobody else can have taken the job over
    assert process.stops == 0
    plate.unlink()
    assert await asyncio.wait_for(process.wait(), 20) == Ending(jobdir.TERMINATED)
    wire.let_go()
    again = await asyncio.wait_for(house.runner.started.get(), 150)  # nobody has taken it over, after all
    again.succeed()
    events = await follow_through(house, made)
    assert [event.message for event in events if event.message] == [
        "Its trainer could not say that it still had it, so it was ended; it goes on from its checkpoint."
    ]
    assert (await house.ledger.get(made.id)).lost == 0
    assert plate.exists()
    await house.end()
    assert not plate.exists()


async def follow_through(house: House, made: Job) -> list[JobEvent]:
    """Watches a job as a client does, that begins again where nobody answered."""
    while True:
        with contextlib.suppress(DatabaseAway):
            return await follow(house, made)
