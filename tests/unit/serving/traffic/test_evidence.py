"""The tests are exact: they say what can be counted by hand, or by trying it out."""

from __future__ import annotations

import random
from itertools import product
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyasd.serving.traffic.evidence import is_slower, p_above, p_more


def test_failures_against_a_bound() -> None:
    assert p_above(0, 10, 0.1) == 1
    assert p_above(10, 10, 0.5) == pytest.approx(2**-10)
    assert p_above(1, 3, 0.0) == 0
    assert p_above(3, 3, 1.0) == 1
    assert p_above(2, 3, 0.25) == pytest.approx(3 * 0.25**2 * 0.75 + 0.25**3)


@given(st.integers(0, 6), st.integers(1, 6), st.integers(0, 6), st.integers(0, 6))
def test_failures_against_the_others(failures: int, trials: int, other_failures: int, other_trials: int) -> None:
    failures, other_failures = min(failures, trials), min(other_failures, other_trials)
    failed, total = failures + other_failures, trials + other_trials
    ways = sum(comb(trials, k) * comb(other_trials, failed - k) for k in range(failures, min(trials, failed) + 1))
    assert p_more(failures, trials, other_failures, other_trials) == pytest.approx(ways / comb(total, failed))


def test_without_others_nothing_is_more() -> None:
    assert p_more(5, 5, 0, 0) == pytest.approx(1)


def test_what_is_twice_as_slow_is_found_and_what_is_as_slow_is_not() -> None:
    draw = random.Random(0)
    others = [draw.expovariate(1) for _ in range(1000)]
    same, slow = [draw.expovariate(1) for _ in range(200)], [2 * draw.expovariate(1) for _ in range(200)]
    assert is_slower(slow, others, 1.0, 0.5, 1e-4)
    assert not is_slower(slow, others, 2.0, 0.5, 1e-4)
    assert not is_slower(same, others, 1.0, 0.5, 1e-4)


def test_too_few_times_prove_nothing() -> None:
    assert not is_slower([100.0] * 3, [1.0] * 1000, 1.0, 0.5, 1e-4)
    assert not is_slower([100.0] * 1000, [1.0] * 3, 1.0, 0.5, 1e-4)
    assert not is_slower([], [], 1.0, 0.5, 1e-4)


@pytest.mark.parametrize(("count", "quantile"), list(product((5, 8), (0.5, 0.8))))
def test_a_false_alarm_is_as_rare_as_it_is_said_to_be(count: int, quantile: float) -> None:
    """Of times that lie evenly between 0 and 1, in both, the quantile is known; the worst case is one side that is exact."""
    draw, alarm, rounds = random.Random(1), 0.2, 500
    wrong = 0
    for _ in range(rounds):
        times, others = ([draw.random() for _ in range(n)] for n in (count, 400))
        wrong += is_slower(times, others, 1.0, quantile, alarm)
    assert wrong / rounds <= alarm
