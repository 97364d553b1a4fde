"""When a watch that broke off goes on, and when it gives up."""

from __future__ import annotations

import pytest

import eyas
from eyas import _convert
from eyas._patience import GIVE_UP_SECONDS
from eyas._watch import Watch
from replies import update


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


GONE = eyas.Unavailable("gone")


def patience(watch: Watch, clock: Clock, stood: float) -> float:
    """Returns for how long a watch is tried again, where each stream stands for some time and says nothing."""
    began = clock.now
    with pytest.raises(eyas.Unavailable):
        while clock.now < began + 3600:
            watch.open()
            clock.now += stood
            clock.now += watch.break_off(GONE)
    return clock.now - began


def test_it_goes_on_after_the_last_update() -> None:
    watch = Watch(4, Clock())
    assert watch.sequence == 4
    watch.receive(_convert.event(update(7, message="x")))
    assert watch.sequence == 8
    assert Watch(0, Clock()).sequence == 1


def test_it_waits_longer_each_time_and_gives_up_after_a_minute() -> None:
    clock = Clock()
    watch = Watch(1, clock)
    delays = [watch.break_off(GONE) for _ in range(8)]
    assert delays == sorted(delays)
    assert (delays[0], delays[-1]) == (0.2, 5.0)
    assert GIVE_UP_SECONDS < patience(watch, clock, stood=0.1) < GIVE_UP_SECONDS + 10


def test_an_update_gives_it_new_patience() -> None:
    clock = Clock()
    watch = Watch(1, clock)
    clock.now += 59
    watch.break_off(GONE)
    watch.receive(_convert.event(update(1, message="x")))
    clock.now += 59
    assert watch.break_off(GONE) == 0.2


def test_a_job_that_waits_for_hours_is_not_given_up_when_the_server_ends_its_connections() -> None:
    clock = Clock()
    watch = Watch(1, clock)
    for _ in range(20):
        watch.open()
        clock.now += 300
        assert watch.break_off(GONE) == 0.2  # as after the first


def test_other_errors_are_raised_at_once() -> None:
    error = eyas.NotFound("no such job")
    with pytest.raises(eyas.NotFound) as caught:
        Watch(1, Clock()).break_off(error)
    assert caught.value is error
