"""access.limits: a caller has his share and no more, and costs no memory once he has rested."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyasd.access import limits as module
from eyasd.access.limits import Limits
from eyasd.core.errors import Overloaded


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def test_a_burst_and_then_the_rate() -> None:
    clock = Clock()
    limits = Limits(10, 20, clock)
    limits.spend("ann", 20)
    with pytest.raises(Overloaded, match=r"more than 10 pictures/s, and 20 at once.* again in 0.1 s") as refused:
        limits.spend("ann", 1)
    assert (refused.value.retry_after, refused.value.metadata["cause"]) == (timedelta(seconds=0.1), "rate")
    limits.spend("bob", 20)  # who has a bucket of his own
    clock.seconds += 0.1
    limits.spend("ann", 1)
    clock.seconds += 100
    limits.spend("ann", 20)


def test_a_request_larger_than_the_burst_is_paid_for_after_it() -> None:
    clock = Clock()
    limits = Limits(10, 4, clock)
    limits.spend("ann", 64)
    with pytest.raises(Overloaded) as refused:
        limits.spend("ann", 1)
    assert refused.value.retry_after == timedelta(seconds=6.1)
    clock.seconds += 6.1
    limits.spend("ann", 1)


def test_the_sentence_says_what_is_bounded() -> None:
    limits = Limits(2, 1, Clock(), what="calls")
    limits.spend("ann", 1)
    with pytest.raises(Overloaded, match=r"more than 2 calls/s, and 1 at once.* again in 0.5 s"):
        limits.spend("ann", 1)


def test_no_bound_keeps_nothing() -> None:
    limits = Limits(0, 0)
    limits.spend("ann", 10**9)
    assert len(limits) == 0


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_CALLERS", 50)
    clock = Clock()
    limits = Limits(1, 1, clock)
    for number in range(1000):
        limits.spend(f"10.0.0.{number}", 1)
        assert len(limits) <= 50
    clock.seconds += 2
    limits.spend("ann", 1)
    assert len(limits) == 1


@given(st.lists(st.tuples(st.floats(0, 2), st.integers(1, 30)), max_size=60))
def test_nobody_gets_more_than_his_share(asked: list[tuple[float, int]]) -> None:
    clock = Clock()
    limits, start, taken = Limits(5, 10, clock), clock.seconds, 0
    for pause, images in asked:
        clock.seconds += pause
        with suppress(Overloaded):
            limits.spend("ann", images)
            taken += images
        assert taken <= 10 + 5 * (clock.seconds - start) + 30  # the last may owe what it has over the burst
