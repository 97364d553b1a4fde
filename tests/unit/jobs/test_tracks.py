"""jobs.tracks: a tracker is told by one replica, of what it was not told yet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import structlog

from eyasd.core.errors import LeaseLost
from eyasd.core.tracks import Track
from eyasd.jobs.replica import LEASE_SECONDS
from eyasd.jobs.tracks import Tracks
from sagas import Saga, step, validation


@pytest.fixture
def saga(database: Path | str, log: structlog.typing.FilteringBoundLogger) -> Iterator[Saga]:
    made = Saga(database, log)
    yield made
    made.close()


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def tracks(saga: Saga, replica: str, clock: Clock, tracker: str = "mlflow") -> Tracks:
    made = saga.store.tracks(tracker, replica)
    made._clock = clock
    return made


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_one_replica_tells_a_tracker_until_it_is_silent_or_gone(saga: Saga, clock: Clock) -> None:
    def pass_time(seconds: int, renewed: str = "") -> list[bool]:
        """Lets time pass in which the second replica looks every second; returns what it finds."""
        found = []
        for _ in range(seconds):
            clock.now += 1
            saga.store.leases.renew(renewed)
            found.append(second.hold())
        return found

    first, second = tracks(saga, "a", clock), tracks(saga, "b", clock)
    assert first.hold()
    assert not second.hold()
    assert tracks(saga, "b", clock, "tensorboard").hold()  # each tracker by itself
    assert not any(pass_time(15, renewed="a"))
    assert pass_time(int(LEASE_SECONDS)) == [False] * (int(LEASE_SECONDS) - 1) + [True]
    assert not first.hold()
    with pytest.raises(LeaseLost):
        first.advance(Track(job="1", sequence=1))
    saga.store.leases.release("b")
    assert first.hold()
    saga.store.leases.take_over("c", gone={"a"})
    assert second.hold()


def test_a_replica_that_did_not_look_takes_nothing_over(saga: Saga, clock: Clock) -> None:
    first, second = tracks(saga, "a", clock), tracks(saga, "b", clock)
    assert first.hold()
    assert not second.hold()
    clock.now = 100.0
    assert not second.hold()


def test_jobs_are_behind_until_they_have_been_told_to_their_end(saga: Saga, clock: Clock) -> None:
    ours = tracks(saga, "a", clock)
    assert ours.hold()
    assert ours.behind() == ([], 0)
    saga.tell("1")
    saga.submit("2")
    events = len(saga.store.events("1", 1))
    assert ours.behind() == ([Track(job="1"), Track(job="2")], events + 1)
    half = Track(job="1", sequence=4, run="r1", size_bytes=7, step=2, validation=validation(1, 0.5))
    ours.advance(half)
    assert ours.behind() == ([half, Track(job="2")], events - 4 + 1)
    ours.advance(replace(half, sequence=events, done=True))
    ours.advance(Track(job="2", sequence=1))
    assert ours.behind() == ([], 0)
    lease = saga.begin("2")
    saga.say(lease, step(1))
    assert ours.behind() == ([Track(job="2", sequence=1)], 3)
    again = saga.store.tracks("mlflow", "a")
    assert again.hold()
    assert again.behind() == ours.behind()
    assert saga.store.tracks("mlflow elsewhere", "a").behind()[1] == events + 4  # which knows nothing yet


def test_what_is_told_of_a_job_that_is_given_up_is_not_behind(saga: Saga, clock: Clock) -> None:
    ours = tracks(saga, "a", clock)
    assert ours.hold()
    saga.submit("1")
    ours.advance(Track(job="1", sequence=1, done=True))
    saga.begin("1")
    assert ours.behind() == ([], 0)
