"""What a soak says of curves that are known."""

from __future__ import annotations

import numpy as np
import pytest

from soak.verdict import Word, judge

SECONDS = np.arange(0, 3600, 2.0)
HOURS = SECONDS / 3600


def at_work(level: float = 100, seed: int = 1) -> np.ndarray:
    """Returns the memory of a process at work: it goes up and down with swaps, has peaks, and wanders a little."""
    random = np.random.default_rng(seed)
    swaps = 5 * (SECONDS % 20 < 6)
    peaks = np.where(random.random(len(SECONDS)) < 0.15, 300 * random.random(len(SECONDS)), 0)
    return level + swaps + peaks + random.normal(0, 1, len(SECONDS))


@pytest.mark.parametrize("seed", range(5))
def test_work_and_warming_up_are_no_growth(seed: int) -> None:
    warming = 60 * (1 - np.exp(-SECONDS / 200))
    found = judge(SECONDS, at_work(seed=seed) + warming, allowed=4)
    assert found.word is Word.FLAT
    assert found.low < 1
    assert found.level == pytest.approx(160, abs=10)


@pytest.mark.parametrize("growth", [6, 10, 100])
def test_growth_is_found_and_measured(growth: float) -> None:
    found = judge(SECONDS, at_work() + growth * HOURS, allowed=4)
    assert found.word is Word.GROWS
    assert found.slope == pytest.approx(growth, abs=1.5)
    assert found.low <= found.slope <= found.high


def test_a_descriptor_every_five_minutes_is_found_and_some_that_come_and_go_are_not() -> None:
    blips = np.where(SECONDS % 60 < 20, 7, 0)
    assert judge(SECONDS, 30 + blips, allowed=4).slope == 0
    assert judge(SECONDS, 30 + blips + SECONDS // 300, allowed=4).word is Word.GROWS


def test_where_the_noise_is_larger_than_what_is_allowed_nothing_is_said() -> None:
    noise = np.random.default_rng(3).normal(0, 200, len(SECONDS))
    assert judge(SECONDS, noise, allowed=4).word is Word.UNSURE


def test_a_fall_is_flat() -> None:
    assert judge(SECONDS, 100 - 50 * HOURS, allowed=4).word is Word.FLAT


def test_what_was_not_measured_is_left_out() -> None:
    seldom = np.where(np.arange(len(SECONDS)) % 10 == 0, 30 + 20 * HOURS, np.nan)
    assert judge(SECONDS, seldom, allowed=4).slope == pytest.approx(20, abs=1)
    assert judge(SECONDS, np.full(len(SECONDS), np.nan), allowed=4).word is Word.UNSURE
    assert judge(SECONDS[:9], at_work()[:9], allowed=4).word is Word.UNSURE


def test_under_peaks_that_last_a_leak_is_seen_and_the_peaks_are_not() -> None:
    peaks = np.where((SECONDS // 7) * 7919 % 13 < 9, 400 * np.sin(SECONDS / 300) ** 2, 0)
    assert judge(SECONDS, at_work() + peaks, allowed=4).word is not Word.FLAT
    assert judge(SECONDS, at_work() + peaks, allowed=4, quantile=0.0).word is Word.FLAT
    assert judge(SECONDS, at_work() + peaks + 10 * HOURS, allowed=4, quantile=0.0).word is Word.GROWS


def test_of_several_processes_the_floor_of_each_counts_though_they_are_never_there_together() -> None:
    random = np.random.default_rng(4)
    filled = np.array([10 * ((SECONDS + begin) % 15 > 3) for begin in (0, 7)]) * random.uniform(0.5, 1.5, len(SECONDS))
    each = 80 + filled
    assert each.sum(0).min() > 163
    found = judge(SECONDS, each, allowed=4, quantile=0.0)
    assert (found.word, found.level, found.slope) == (Word.FLAT, 160, 0)
    assert judge(SECONDS, each + [[0], [1]] * (6 * HOURS), allowed=4, quantile=0.0).slope == pytest.approx(6, abs=0.5)
    each[1] = np.nan
    assert judge(SECONDS, each, allowed=4, quantile=0.0).word is Word.UNSURE
