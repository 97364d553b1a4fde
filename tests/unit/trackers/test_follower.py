"""trackers.follower: a tracker is told everything once and in order, whoever dies or is away meanwhile, and no job hears of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from eyasd.core.errors import DatabaseAway
from eyasd.core.tracks import Track
from eyasd.jobs.feed import Feed
from eyasd.trackers.follower import TrackerAway, TrackerRefuses, TrackLost
from eyasd.trackers.story import Chapter
from sagas import Saga, step


class Listener:
    """A tracker that remembers what it was told, and fails as the test says."""

    name, place = "listener", "here"

    def __init__(self) -> None:
        self.told: list[tuple[str, int]] = []
        self.failure: Exception | None = None
        self.tended = 0
        self.closed = False

    async def tell(self, track: Track, told: Chapter) -> Track:
        if self.failure is not None:
            raise self.failure
        self.told += [(track.job, number) for number in range(track.sequence + 1, told.after.sequence + 1)]
        return replace(told.after, run="r")

    async def tend(self) -> None:
        self.tended += 1

    async def close(self) -> None:
        self.closed = True


class Dying(Feed):
    """A feed of a daemon that is killed when it was about to note what it has told."""

    async def advance(self, track: Track) -> None:
        raise KeyboardInterrupt


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
def logged() -> Iterator[list]:
    with capture_logs() as lines:
        yield lines


def all_of(saga: Saga, *jobs: str) -> list[tuple[str, int]]:
    return [(job, event.sequence) for job in jobs for event in saga.store.events(job, 1, 10_000)]


async def test_jobs_are_told_in_order_and_once(saga: Saga, listener: Listener) -> None:
    saga.tell("1")
    saga.tell("2")
    follower = saga.follower(listener)
    assert await follower._look() == 1.0
    await follower._look()
    assert listener.told == all_of(saga, "1", "2")
    assert listener.tended == 2
    saga.submit("3")
    await follower._look()
    assert listener.told[-1] == ("3", 1)
    assert saga.sample("eyas_tracker_behind_events", "listener") == 0
    assert saga.sample("eyas_tracker_errors_total", "listener") == 0


async def test_what_does_not_fit_a_page_is_told_in_the_same_look(saga: Saga, listener: Listener) -> None:
    saga.submit("1")
    lease = saga.begin("1")
    saga.say(lease, *(step(number) for number in range(1, 450)))
    await saga.follower(listener)._look()
    assert listener.told == all_of(saga, "1")
    assert len(listener.told) == 452


async def test_an_outage_is_told_of_once_and_then_made_up_for(saga: Saga, listener: Listener, logged: list) -> None:
    saga.tell("1")
    follower = saga.follower(listener)
    listener.failure = TrackerAway("no route")
    assert [await follower._look() for _ in range(8)] == [2, 4, 8, 16, 30, 30, 30, 30]
    assert saga.sample("eyas_tracker_behind_events", "listener") == len(all_of(saga, "1"))
    assert saga.sample("eyas_tracker_errors_total", "listener") == 8
    saga.tell("2")  # a job that neither waits nor fails meanwhile
    assert [line for line in logged if line["log_level"] == "warning"] == [
        {"event": "tracker away", "log_level": "warning", "tracker": "listener", "place": "here", "error": "no route"}
    ]
    listener.failure = None
    assert await follower._look() == 1.0
    assert listener.told == all_of(saga, "1", "2")
    assert logged[-1] == {"event": "tracker back", "log_level": "info", "tracker": "listener"}
    listener.failure = TrackerAway("no route")
    saga.submit("3")
    assert await follower._look() == 2.0
    assert [line["event"] for line in logged] == ["tracker away", "tracker back", "tracker away"]


async def test_what_was_not_noted_is_told_again_by_the_next_daemon(saga: Saga, listener: Listener) -> None:
    saga.tell("1")
    with pytest.raises(KeyboardInterrupt):
        await saga.follower(listener, feed=Dying)._look()
    assert listener.told == all_of(saga, "1")
    saga.store.leases.take_over("b", gone={"a"})
    await saga.follower(listener, "b")._look()
    assert listener.told == [*all_of(saga, "1"), *all_of(saga, "1")]  # which the tracker takes for the same


async def test_one_of_two_trainers_tells(saga: Saga, listener: Listener) -> None:
    other = Listener()
    first, second = saga.follower(listener), saga.follower(other, "b")
    saga.tell("1")
    assert [await first._look(), await second._look()] == [1.0, 1.0]
    assert other.told == []
    assert other.tended == 0
    saga.store.leases.release("a")
    saga.tell("2")
    await second._look()
    await first._look()
    assert (listener.told, other.told) == (all_of(saga, "1"), all_of(saga, "2"))


async def test_a_job_that_the_tracker_refuses_is_given_up_and_no_other(saga: Saga, listener: Listener, logged: list) -> None:
    saga.submit("1")
    follower = saga.follower(listener)
    listener.failure = TrackerRefuses("the run is deleted")
    await follower._look()
    listener.failure = None
    saga.begin("1")
    saga.tell("2")
    await follower._look()
    assert listener.told == all_of(saga, "2")
    assert [(line["event"], line.get("job"), line.get("error")) for line in logged] == [
        ("tracker refuses a job", "1", "the run is deleted")
    ]


async def test_a_job_that_the_tracker_has_lost_is_told_anew(saga: Saga, listener: Listener) -> None:
    saga.tell("1")
    follower = saga.follower(listener)
    await follower._look()
    saga.submit("2")
    await follower._look()
    saga.begin("2")

    class Losing(Listener):
        async def tell(self, track: Track, told: Chapter) -> Track:
            if track.sequence:
                raise TrackLost
            return await super().tell(track, told)

    losing = Losing()
    await saga.follower(losing)._look()
    assert losing.told == all_of(saga, "2")


async def test_what_nobody_foresaw_of_one_job_holds_up_no_other(saga: Saga, logged: list) -> None:
    class Stumbling(Listener):
        async def tell(self, track: Track, told: Chapter) -> Track:
            if track.job == "1":
                raise ZeroDivisionError("what?")
            return await super().tell(track, told)

    saga.tell("1")
    saga.tell("2")
    stumbling = Stumbling()
    assert await saga.follower(stumbling)._look() == 2.0
    assert stumbling.told == all_of(saga, "2")
    assert logged[-1]["error"] == "ZeroDivisionError: what?"


async def test_a_database_that_is_away_is_no_outage_of_the_tracker(saga: Saga, listener: Listener, logged: list) -> None:
    class Away(Feed):
        async def hold(self) -> bool:
            raise DatabaseAway("away")

    assert await saga.follower(listener, feed=Away)._look() == 1.0
    assert logged == []
