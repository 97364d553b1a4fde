"""jobs.leases: each job is held by one replica, which may be dead; and nothing counts that is written without a lease."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier

import pytest
import structlog

from eyasd.core.errors import LeaseLost
from eyasd.core.jobs import Job, JobEvent, JobState, JobType, Lease
from eyasd.jobs.replica import LEASE_SECONDS, Replica
from eyasd.jobs.store import JobStore
from postgres import Postgres

Log = structlog.typing.FilteringBoundLogger


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Two:
    """Two replicas, `a` and `b`, on one database, whose clock the test moves, and jobs `1` and `2`."""

    def __init__(self, database: Path | str, log: Log) -> None:
        self.a, self.b = JobStore(database, log), JobStore(database, log)
        self.clock = Clock()
        self.b.leases._clock = self.clock
        for name in ("1", "2"):
            self.a.submit(Job(id=name, type=JobType.TRAINING, create_time=datetime.now(UTC), model="m", dataset="/d"), None, "")

    def pass_time(self, seconds: float) -> list[str]:
        """Lets time pass in which `b` looks every second; returns what it takes over."""
        taken = [job.id for job in self.b.leases.take_over("b")]
        for _ in range(int(seconds)):
            self.clock.now += 1
            taken += [job.id for job in self.b.leases.take_over("b")]
        return taken


@pytest.fixture
def two(database: Path | str, log: Log) -> Iterator[Two]:
    made = Two(database, log)
    yield made
    made.a.close()
    made.b.close()


def test_a_job_is_claimed_once_in_the_order_that_is_asked_for(two: Two) -> None:
    first = two.a.leases.claim("a", ["2", "1"])
    assert first is not None
    assert (first.id, first.state, first.attempt, first.start_time is not None) == ("2", JobState.STARTING, 1, True)
    second = two.b.leases.claim("b", ["2", "x", "1"])
    assert second is not None
    assert second.id == "1"
    assert two.a.leases.claim("a", ["2", "1"]) is None
    assert two.a.leases.claim("a", []) is None
    assert (two.a.leases.renew("a"), two.b.leases.renew("b")) == ({"2"}, {"1"})
    two.a.update(Lease("2", 1, "a"), state=JobState.INTERRUPTED, resume_time=None)
    assert two.a.leases.renew("a") == set()
    two.a.resume("2")
    again = two.b.leases.claim("b", ["2"])
    assert again is not None
    assert (again.attempt, again.start_time) == (2, first.start_time)


def test_replicas_that_claim_at_once_share_the_jobs(postgres: Postgres, log: Log) -> None:
    url = postgres.url(postgres.create())
    stores = {name: JobStore(url, log) for name in "abcd"}
    jobs = [f"{number}" for number in range(40)]
    for name in jobs:
        made = Job(id=name, type=JobType.TRAINING, create_time=datetime.now(UTC), model="m", dataset="/d")
        stores["a"].submit(made, None, "")

    def claim_all(replica: str) -> list[str]:
        claimed = []
        while (job := stores[replica].leases.claim(replica, jobs)) is not None:
            claimed.append(job.id)
        return claimed

    with ThreadPoolExecutor(4) as threads:
        shares = list(threads.map(claim_all, stores))
    assert sorted(job for share in shares for job in share) == sorted(jobs)
    assert all(event.sequence == 2 for job in jobs for event in stores["a"].events(job, 2))
    for store in stores.values():
        store.close()


def test_replicas_that_claim_at_once_keep_the_quota_of_an_owner(database: Path | str, log: Log) -> None:
    stores = {name: JobStore(database, log) for name in "abcdefgh"}
    jobs = [f"{owner}{number}" for number in range(6) for owner in ("ann", "bob")]
    for name in jobs:
        made = Job(id=name, type=JobType.TRAINING, create_time=datetime.now(UTC), model="m", dataset="/d", owner=name[:3])
        stores["a"].submit(made, None, "")
    together = Barrier(len(stores))

    def claim(replica: str) -> str | None:
        stores[replica].get(jobs[0])  # connects
        together.wait(100)
        job = stores[replica].leases.claim(replica, jobs, quota=2)
        return job and job.owner

    with ThreadPoolExecutor(len(stores)) as threads:
        assert Counter(threads.map(claim, stores)) == {"ann": 2, "bob": 2, None: 4}
    for store in stores.values():
        store.close()


def test_what_is_renewed_is_never_taken_and_what_is_not_is_after_a_while(two: Two) -> None:
    two.a.leases.claim("a", ["1"])
    for _ in range(10):
        assert two.pass_time(3) == []
        two.a.leases.renew("a")
    assert two.pass_time(LEASE_SECONDS - 1) == []
    assert two.pass_time(1) == ["1"]
    taken = two.b.get("1")
    assert (taken.state, taken.attempt) == (JobState.STARTING, 1)
    assert (two.a.leases.renew("a"), two.b.leases.renew("b")) == (set(), {"1"})
    assert two.pass_time(30) == []  # nobody takes what is his own


def test_nothing_is_taken_by_who_could_not_look_for_a_while(two: Two) -> None:
    two.a.leases.claim("a", ["1"])
    two.pass_time(5)
    two.clock.now += 60  # the database was away, for the other, too
    assert two.pass_time(LEASE_SECONDS - 1) == []
    two.a.leases.renew("a")
    assert two.pass_time(LEASE_SECONDS - 1) == []
    assert two.pass_time(1) == ["1"]


def test_the_dead_and_those_that_went_down_are_not_waited_for(two: Two) -> None:
    two.a.leases.claim("a", ["1"])
    assert [job.id for job in two.b.leases.take_over("b", {"a"})] == ["1"]
    two.b.leases.release("b")
    assert [job.id for job in two.a.leases.take_over("a")] == ["1"]
    assert two.a.get("1").state is JobState.STARTING


def test_what_is_written_without_a_lease_does_not_count(two: Two) -> None:
    two.a.leases.claim("a", ["1"])
    held = Lease("1", 1, "a")
    two.a.record(held, [JobEvent(0, datetime.now(UTC), message="mine")], 5)
    assert two.pass_time(LEASE_SECONDS) == ["1"]
    before = (two.b.get("1"), two.b.events("1", 1), two.b.progress_bytes("1"))
    for stale in (held, Lease("1", 0, "b"), Lease("1", 2, "b"), Lease("2", 0, "b")):
        with pytest.raises(LeaseLost, match="is over, or another replica's"):
            two.a.update(stale, state=JobState.RUNNING)
        with pytest.raises(LeaseLost):
            two.a.record(stale, [JobEvent(0, datetime.now(UTC), message="stale")], 9)
    assert (two.b.get("1"), two.b.events("1", 1), two.b.progress_bytes("1")) == before
    two.b.update(Lease("1", 1, "b"), state=JobState.FAILED)
    with pytest.raises(LeaseLost):
        two.b.record(Lease("1", 1, "b"), [], 6)


def test_a_replica_that_ends_is_seen_to_be_gone(tmp_path: Path) -> None:
    first, second = Replica(tmp_path / "replicas"), Replica(tmp_path / "replicas")
    assert (first.gone(), second.gone()) == (set(), set())
    second.close()
    assert first.gone() == set()
    dead = tmp_path / "replicas" / "dead"
    dead.write_text(first._boot)
    (tmp_path / "replicas" / "elsewhere").write_text("another machine's, whose lock cannot be seen from here")
    assert first.gone() == {"dead"}
    first.forget({"dead"})
    assert not dead.exists()
    first.close()
