"""Pictures are drawn within the budget, each with the same chance."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from eyasd.serving.drift.sampling import Sampler


def drawn(rate: float, seconds: float, cost: float, burst: int = 1, others: float = 0.0) -> tuple[Counter[int], float]:
    """Returns how often each place in a burst was looked at, and the share of the time that it took.

    Args:
        rate: of pictures, a second.
        seconds: how long.
        cost: of looking at one, in seconds.
        burst: so many come at once.
        others: share of the pictures that somebody else wants.
    """
    now, chance = [0.0], random.Random(0)
    sampler = Sampler(0.005, chance.random, lambda: now[0])
    looked: Counter[int] = Counter()
    for _ in range(int(rate * seconds / burst)):
        for place in range(burst):
            wanted = sampler.wants()
            if (wanted or chance.random() < others) and sampler.takes():
                sampler.spent(cost)
                looked[place] += 1
        now[0] += burst / rate
    return looked, looked.total() * cost / seconds


def test_where_few_come_all_are_looked_at() -> None:
    looked, _ = drawn(rate=10, seconds=60, cost=0.0002)
    assert looked.total() == 600
    looked, _ = drawn(rate=6.4, seconds=600, cost=0.0002, burst=64)
    assert looked.total() == 3840


@pytest.mark.parametrize("others", [0.0, 0.5, 1.0])
def test_where_many_come_no_more_time_is_taken_than_there_is(others: float) -> None:
    _, share = drawn(rate=200, seconds=600, cost=0.005, others=others)
    assert 0.003 < share < 0.006  # the rush at the beginning is in it


@pytest.mark.parametrize("rate", [2, 200])
def test_the_first_of_a_burst_is_as_likely_as_the_last(rate: float) -> None:
    looked, _ = drawn(rate=rate, seconds=100_000 / rate, cost=0.0005, burst=20)
    assert min(looked.values()) > 0.6 * max(looked.values())
    assert len(looked) == 20
