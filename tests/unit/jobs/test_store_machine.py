"""jobs.store and jobs.leases against a model of them: whatever happens in whatever order, both say the same.

Replicas come, look, renew, die and go down; callers submit, cancel, pause and resume; late writers write. Time passes when the
machine says so.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
import structlog
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from eyasd.core.errors import JobEnded, LeaseLost, RequestIdReused
from eyasd.core.jobs import Job, JobEvent, JobState, JobType, Lease
from eyasd.jobs.replica import LEASE_SECONDS
from eyasd.jobs.rows import TRANSITIONS
from eyasd.jobs.store import JobStore
from postgres import Postgres

Log = structlog.typing.FilteringBoundLogger
NAMES = [f"job{number}" for number in range(4)]
MOMENTS = {"past": timedelta(hours=-1), "future": timedelta(hours=1), "never": None}

jobs = st.integers(0, 3)
replicas = st.integers(0, 2)


@dataclass
class Known:
    """What the model knows of a job."""

    moves: list[JobState]
    attempt: int = 0
    holder: str | None = None
    changed: int = 0  # how often its lease has been
    changed_at: float = 0
    flags: tuple[bool, bool] = (False, False)  # cancelling, pausing
    resumes: str = "never"
    messages: int = 0

    @property
    def state(self) -> JobState:
        return self.moves[-1]

    def hold(self, replica: str | None, now: float) -> None:
        self.holder, self.changed, self.changed_at = replica, self.changed + 1, now

    def move(self, state: JobState, resumes: str = "never") -> None:
        self.moves.append(state)
        self.resumes = resumes
        if not state.at_work:
            self.holder = None
            self.flags = (self.flags[0], False)


@dataclass
class Eyes:
    """A replica, and what it has seen of others' leases: since when each is as it is."""

    store: JobStore
    name: str
    looked: float = float("-inf")
    since: dict[str, tuple[int, float]] = field(default_factory=dict)


class Machine(RuleBasedStateMachine):
    """Three replicas and four jobs."""

    def __init__(self, open_store: Callable[[], JobStore]) -> None:
        super().__init__()
        self.open_store = open_store
        self.now = 0.0
        self.born = 0
        self.dead: set[str] = set()
        self.known: dict[str, Known] = {}
        self.requests: dict[str, tuple[str, str]] = {}
        self.replicas: list[Eyes] = []

    @initialize()
    def open(self) -> None:
        self.replicas = [self._birth() for _ in range(3)]

    def _birth(self) -> Eyes:
        store = self.open_store()
        store.leases._clock = lambda: self.now
        self.born += 1
        return Eyes(store, f"replica{self.born}")

    @rule(request=st.sampled_from([None, "p", "q"]), content=st.sampled_from("xy"))
    def submit(self, request: str | None, content: str) -> None:
        if len(self.known) == len(NAMES) and request not in self.requests:
            return
        name = NAMES[min(len(self.known), len(NAMES) - 1)]
        job = Job(id=name, type=JobType.TRAINING, create_time=datetime.now(UTC), model="m", dataset="/d")
        store = self.replicas[0].store
        if request not in self.requests:
            assert store.submit(job, request, content) == job
            self.known[name] = Known([JobState.QUEUED])
            if request is not None:
                self.requests[request] = (name, content)
        elif self.requests[request][1] == content:
            assert store.submit(job, request, content).id == self.requests[request][0]
        else:
            with pytest.raises(RequestIdReused):
                store.submit(job, request, content)

    @rule(replica=replicas, order=st.permutations(NAMES))
    def claim(self, replica: int, order: list[str]) -> None:
        eyes = self.replicas[replica]
        expected = next((name for name in order if name in self.known and self.known[name].state is JobState.QUEUED), None)
        claimed = eyes.store.leases.claim(eyes.name, order)
        assert (claimed and claimed.id) == expected
        if expected is not None:
            known = self.known[expected]
            known.move(JobState.STARTING)
            known.attempt += 1
            known.hold(eyes.name, self.now)

    @precondition(lambda self: self._held())
    @rule(which=jobs, state=st.sampled_from(JobState), resumes=st.sampled_from(list(MOMENTS)))
    def holder_writes(self, which: int, state: JobState, resumes: str) -> None:
        held = self._held()
        name = held[which % len(held)]
        known = self.known[name]
        store = next(eyes.store for eyes in self.replicas if eyes.name == known.holder)
        lease = Lease(name, known.attempt, str(known.holder))
        wait = MOMENTS[resumes] if state is JobState.INTERRUPTED else None
        changes = {"state": state, "resume_time": datetime.now(UTC) + wait if wait else None}
        if state is known.state or state in TRANSITIONS[known.state]:
            store.update(lease, **changes)
            if state is not known.state:
                known.move(state, resumes if wait else "never")
        else:
            with pytest.raises(JobEnded):
                store.update(lease, **changes)

    @precondition(lambda self: self._held())
    @rule(which=jobs)
    def holder_reports(self, which: int) -> None:
        held = self._held()
        name = held[which % len(held)]
        known = self.known[name]
        known.messages += 1
        self.replicas[0].store.record(Lease(name, known.attempt, str(known.holder)), [_said(str(known.messages))], known.messages)

    @precondition(lambda self: self.known)
    @rule(which=jobs, attempt=st.integers(0, 3), replica=st.integers(1, 6))
    def somebody_else_writes(self, which: int, attempt: int, replica: int) -> None:
        name = NAMES[which % len(self.known)]
        known, stale = self.known[name], Lease(name, attempt, f"replica{replica}")
        if (stale.replica, stale.attempt) != (known.holder, known.attempt):
            for write in (lambda s: s.update(stale, state=JobState.FAILED), lambda s: s.record(stale, [_said("stale")], 99)):
                with pytest.raises(LeaseLost):
                    write(self.replicas[0].store)

    @precondition(lambda self: self.known)
    @rule(which=jobs)
    def cancel(self, which: int) -> None:
        name = NAMES[which % len(self.known)]
        known = self.known[name]
        if known.state in {JobState.SUCCEEDED, JobState.FAILED}:
            with pytest.raises(JobEnded):
                self.replicas[1].store.cancel(name)
            return
        self.replicas[1].store.cancel(name)
        if known.state is not JobState.CANCELLED:
            known.flags = (True, known.flags[1])
            if not known.state.at_work:
                known.move(JobState.CANCELLED, known.resumes)

    @precondition(lambda self: self.known)
    @rule(which=jobs, pauses=st.booleans())
    def pause_or_resume(self, which: int, pauses: bool) -> None:
        name = NAMES[which % len(self.known)]
        known, store = self.known[name], self.replicas[2].store
        call = store.pause if pauses else store.resume
        if known.state.ended:
            with pytest.raises(JobEnded):
                call(name)
            return
        call(name)
        if known.state.at_work:
            known.flags = (known.flags[0], pauses)
        elif pauses and known.state is JobState.QUEUED:
            known.move(JobState.INTERRUPTED)
        elif pauses:
            known.resumes = "never"
        elif known.state is JobState.INTERRUPTED:
            known.move(JobState.QUEUED)

    @rule(replica=replicas)
    def wake(self, replica: int) -> None:
        due = {name for name, known in self.known.items() if known.state is JobState.INTERRUPTED and known.resumes == "past"}
        assert {job.id for job in self.replicas[replica].store.wake()} == due
        for name in due:
            self.known[name].move(JobState.QUEUED)

    def renew(self, replica: int) -> None:
        eyes = self.replicas[replica]
        held = {name for name, known in self.known.items() if known.holder == eyes.name}
        assert eyes.store.leases.renew(eyes.name) == held
        for name in held:
            self.known[name].hold(eyes.name, self.now)

    @rule(seconds=st.integers(1, 15), look=st.sets(replicas, min_size=1), renew=st.sets(replicas), knows=st.booleans())
    def time_passes(self, seconds: int, look: set[int], renew: set[int], knows: bool) -> None:
        """Some of the replicas look every second, and may know who is dead; some renew their leases every third."""
        for second in range(seconds):
            self.now += 1
            for replica in sorted(look):
                self._look(self.replicas[replica], self.dead if knows else set())
            for replica in sorted(renew) if second % 3 == 0 else ():
                self.renew(replica)

    @precondition(lambda self: self._held())
    @rule(renew=st.sets(replicas))
    def as_long_as_a_lease_passes(self, renew: set[int]) -> None:
        self.time_passes(int(LEASE_SECONDS) + 2, {0, 1, 2}, renew, knows=False)

    def _look(self, eyes: Eyes, gone: set[str]) -> None:
        if self.now - eyes.looked > 3:
            eyes.since.clear()
        eyes.looked = self.now
        expected = set()
        others = {name: known for name, known in self.known.items() if known.state.at_work and known.holder != eyes.name}
        seen = {name: eyes.since.get(name, (-1, 0.0)) for name in others}
        eyes.since = {
            name: seen[name] if seen[name][0] == known.changed else (known.changed, self.now) for name, known in others.items()
        }
        for name, known in others.items():
            silent = self.now - eyes.since[name][1] >= LEASE_SECONDS
            if silent or known.holder is None or known.holder in gone:
                assert not silent or self.now - known.changed_at >= LEASE_SECONDS
                expected.add(name)
        assert {job.id for job in eyes.store.leases.take_over(eyes.name, gone)} == expected
        for name in expected:
            self.known[name].hold(eyes.name, self.now)

    @rule(replica=replicas)
    def dies_and_another_comes(self, replica: int) -> None:
        self.replicas[replica].store.close()
        self.dead.add(self.replicas[replica].name)
        self.replicas[replica] = self._birth()

    @rule(replica=replicas)
    def goes_down(self, replica: int) -> None:
        eyes = self.replicas[replica]
        eyes.store.leases.release(eyes.name)
        for known in self.known.values():
            if known.holder == eyes.name:
                known.hold(None, self.now)

    @invariant()
    def both_say_the_same(self) -> None:
        for name, known in self.known.items():
            store = self.replicas[0].store
            job, events = store.get(name), store.events(name, 1)
            assert (job.state, job.attempt, (job.cancelling, job.pausing)) == (known.state, known.attempt, known.flags)
            assert [event.sequence for event in events] == list(range(1, len(events) + 1))
            assert [event.job.state for event in events if event.job] == known.moves
            assert [event.message for event in events if event.message] == [str(n + 1) for n in range(known.messages)]
            assert store.progress_bytes(name) == known.messages
            assert all(after in TRANSITIONS[before] for before, after in zip(known.moves, known.moves[1:], strict=False))
        if self.replicas:
            queued = [one.id for one in self.replicas[0].store.queued()]
            assert queued == [name for name, known in self.known.items() if known.state is JobState.QUEUED]

    def teardown(self) -> None:
        for eyes in self.replicas:
            eyes.store.close()

    def _held(self) -> list[str]:
        """The jobs whose holder lives."""
        names = {eyes.name for eyes in self.replicas}
        return [name for name, known in self.known.items() if known.holder in names]


def _said(message: str) -> JobEvent:
    return JobEvent(0, datetime.now(UTC), message=message)


def test_sqlite_does_what_the_model_does(tmp_path: Path, log: Log) -> None:
    JobStore(tmp_path / "empty.sqlite", log).close()
    path = tmp_path / "jobs.sqlite"

    def machine() -> Machine:
        for old in tmp_path.glob("jobs.sqlite*"):
            old.unlink()
        shutil.copy(tmp_path / "empty.sqlite", path)
        return Machine(lambda: JobStore(path, log))

    run_state_machine_as_test(machine, settings=settings(max_examples=25, stateful_step_count=30))


def test_postgresql_does_what_the_model_does(postgres: Postgres, log: Log) -> None:
    url = postgres.url(postgres.create())
    JobStore(url, log).close()

    def machine() -> Machine:
        with psycopg.connect(url) as connection:
            connection.execute("TRUNCATE jobs, events, tracks")
        return Machine(lambda: JobStore(url, log))

    run_state_machine_as_test(machine, settings=settings(max_examples=5, stateful_step_count=20))
