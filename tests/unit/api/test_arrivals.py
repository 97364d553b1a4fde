"""api.arrivals: how many come at once, whose turn it is, and who has to give way."""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random

import pytest

from eyasd.api.arrivals import Arrivals, Patience, Refused, Streams, Turn
from eyasd.core.errors import MessageLate, Overloaded


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class One:
    """A message of somebody."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.taken = 0
        self.error: Refused | None = None
        self.waited = 0.0

    def take(self) -> None:
        self.taken += 1

    def expel(self, error: Refused, seconds: float) -> None:
        assert self.error is None
        self.error, self.waited = error, seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def arrivals(clock: Clock) -> Arrivals:
    """Eight places, the last two of them for those who have none."""
    return Arrivals(8, 30, now=clock)


def ask(arrivals: Arrivals, keys: str) -> list[One]:
    several = [One(key) for key in keys]
    for one in several:
        arrivals.ask(one)
    return several


def test_all_that_there_is_room_for_come_at_once(arrivals: Arrivals) -> None:
    several = ask(arrivals, "aaaaaa")
    assert all(one.taken == 1 for one in several)
    assert arrivals.counts == (6, 0)
    for one in several:
        arrivals.left(one, whole=False)
    assert arrivals.counts == (0, 0)


def test_the_last_places_are_for_those_who_have_none(arrivals: Arrivals) -> None:
    several = ask(arrivals, "aaaaaaabc")
    assert "".join(one.key for one in several if one.taken) == "aaaaaabc"
    assert arrivals.counts == (8, 1)


def test_who_has_least_is_next_and_of_these_who_waits_longest(arrivals: Arrivals) -> None:
    first = ask(arrivals, "aaaaaabc")
    waiting = ask(arrivals, "abcd")
    for one in (first[6], first[0], first[1]):
        arrivals.left(one, whole=False)
    assert [one.key for one in waiting if one.taken] == ["b", "d"]  # what is left is kept for who has none
    arrivals.left(first[7], whole=False)
    assert [one.key for one in waiting if one.taken] == ["b", "c", "d"]


def test_who_has_most_gives_way_to_one_who_has_none(arrivals: Arrivals, clock: Clock) -> None:
    first = ask(arrivals, "aaaaaabc")
    good = One("good")
    assert arrivals.ask(good) is Turn.LATER
    arrivals.look()
    assert not any(one.error for one in first)  # they have only just begun
    clock.now = 1.0
    arrivals.look()
    arrivals.look()
    assert [one.error is not None for one in first] == [True, *[False] * 7]
    assert isinstance(first[0].error, Overloaded)
    assert first[0].waited == 1
    assert not good.taken  # as what came of the other is still there
    arrivals.left(first[0], whole=False)
    assert good.taken == 1


def test_those_who_have_one_each_have_more_time(arrivals: Arrivals, clock: Clock) -> None:
    first = ask(arrivals, "abcdefgh")
    ask(arrivals, "i")
    clock.now = 4.9
    arrivals.look()
    assert not any(one.error for one in first)
    clock.now = 5.0
    arrivals.look()
    assert [one.error is not None for one in first] == [True, *[False] * 7]


def test_nobody_gives_way_to_himself(arrivals: Arrivals, clock: Clock) -> None:
    first = ask(arrivals, "aaaaaa")
    more = ask(arrivals, "aa")
    clock.now = 29.0
    arrivals.look()
    assert not any(one.error for one in first + more)


def test_what_is_late_is_given_up_and_what_waited_too_long(arrivals: Arrivals, clock: Clock) -> None:
    first, more = ask(arrivals, "aaaaaa"), ask(arrivals, "a")
    clock.now = 30.0
    arrivals.look()
    assert all(isinstance(one.error, MessageLate) for one in first)
    assert str(first[0].error) == "The message was not whole within 30 s: send less at a time."
    assert isinstance(more[0].error, Overloaded)
    arrivals.look()  # tells nobody twice
    for one in first:
        arrivals.left(one, whole=False)
    assert arrivals.counts == (0, 0)


def test_of_several_who_have_none_each_gets_a_place_the_first_first(clock: Clock) -> None:
    arrivals = Arrivals(4, 30, Patience(0.2, 0.2), clock)
    first = ask(arrivals, "abcd")
    waiting = []
    for key in "efg":
        clock.now += 0.01
        waiting += ask(arrivals, key)
    clock.now = 0.3
    arrivals.look()
    assert sum(one.error is not None for one in first) == 3
    arrivals.left(first[0], whole=False)
    assert [one.key for one in waiting if one.taken] == ["e"]


def test_who_was_too_slow_before_has_less_time(arrivals: Arrivals, clock: Clock) -> None:
    first = ask(arrivals, "abcdefgh")
    ask(arrivals, "i")
    clock.now = 5.0
    arrivals.look()
    arrivals.left(first[0], whole=False)  # which i has now
    arrivals.left(first[1], whole=False)
    again = ask(arrivals, "a")
    assert again[0].taken
    clock.now = 5.2
    ask(arrivals, "j")
    arrivals.look()
    assert again[0].error is not None
    arrivals.left(again[0], whole=False)
    clock.now = 70.0  # when that is forgotten
    for one in first[2:]:
        arrivals.left(one, whole=False)
    once_more = ask(arrivals, "aklmnopq")
    ask(arrivals, "r")
    clock.now = 70.5
    arrivals.look()
    assert not any(one.error for one in once_more)


def test_who_has_sent_whole_messages_is_before_who_has_sent_none(arrivals: Arrivals, clock: Clock) -> None:
    for one in ask(arrivals, "z"):
        arrivals.left(one, whole=True)
    first = ask(arrivals, "abcdefgh")
    waiting = ask(arrivals, "yz")
    clock.now = 1.0  # where one who is not known would wait for five
    arrivals.look()
    assert [one.error is not None for one in first] == [True, *[False] * 7]
    arrivals.left(first[0], whole=False)
    assert [one.key for one in waiting if one.taken] == ["z"]


def test_so_many_wait_and_no_more(arrivals: Arrivals) -> None:
    turns = Counter(arrivals.ask(One("a")) for _ in range(1_100))
    assert turns == {Turn.NOW: 6, Turn.LATER: 1_000, Turn.NEVER: 94}
    assert arrivals.ask(One("b")) is Turn.NOW


def test_who_gives_up_waits_no_more(arrivals: Arrivals) -> None:
    first, (one, other) = ask(arrivals, "aaaaaa"), ask(arrivals, "aa")
    arrivals.gave_up(one)
    arrivals.gave_up(first[1])  # what comes of it already holds its place
    assert arrivals.counts == (6, 1)
    arrivals.left(first[0], whole=False)
    assert (one.taken, other.taken) == (0, 1)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_no_place_is_lost_or_given_twice(seed: int, clock: Clock) -> None:
    random = Random(seed)
    most = random.choice((4, 5, 8, 32))
    arrivals = Arrivals(most, 30, now=clock)
    there: list[One] = []
    for _ in range(500):
        clock.now += random.choice((0.0, 0.1, 2.0))
        act = random.random()
        if act < 0.5:
            one = One(random.choice("aaaabcde"))
            if arrivals.ask(one) is not Turn.NEVER:
                there.append(one)
        elif act < 0.8 and there:
            one = there.pop(random.randrange(len(there)))
            arrivals.gave_up(one)
            arrivals.left(one, whole=False)
        else:
            arrivals.look()
            for one in [one for one in there if one.error]:
                there.remove(one)
                arrivals.left(one, whole=False)
        coming = sum(one.taken for one in there)
        assert arrivals.counts == (coming, len(there) - coming)
        assert coming <= most
        assert coming == len(there) or most - coming <= most // 4  # nobody waits where there is room for him
        assert all(one.taken <= 1 for one in there)
    while there:
        one = there.pop()
        arrivals.left(one, whole=False)
    assert arrivals.counts == (0, 0)


async def test_a_block_has_a_place_and_gives_it_back() -> None:
    arrivals = Arrivals(4, 30)
    async with arrivals.place("a"):
        assert arrivals.counts == (1, 0)
    assert arrivals.counts == (0, 0)


async def test_a_block_that_is_too_slow_is_told_so(clock: Clock) -> None:
    arrivals = Arrivals(4, 30, now=clock)

    async def read() -> None:
        async with arrivals.place("a"):
            await asyncio.Event().wait()

    reading = [asyncio.ensure_future(read()) for _ in range(4)]
    while arrivals.counts != (3, 1):
        await asyncio.sleep(0)
    reading.pop().cancel()  # the one that waits
    clock.now = 30.0
    await asyncio.sleep(0)
    arrivals.look()
    for one in reading:
        with pytest.raises(MessageLate):
            await one
    assert arrivals.counts == (0, 0)


def test_streams_have_an_end_and_the_last_of_them_are_for_those_who_have_none() -> None:
    streams = Streams(4)
    held = [streams.place("a") for _ in range(3)]
    with pytest.raises(Overloaded, match=r"reads 3 streams already \(api\.streams is 4\)"):
        streams.place("a")
    with streams.place("b"), pytest.raises(Overloaded, match="reads 4 streams"):
        streams.place("c")
    held.pop().close()
    with streams.place("a"):
        pass
    for one in held:
        one.close()
    for key in "abcd":
        streams.place(key)
