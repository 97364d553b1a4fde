"""Exact tests of whether one of two versions fails more often or is slower; nothing is assumed of how times are distributed.

Each returns the probability of what was seen, or worse, if the version were within its bound: the smaller, the surer. Knows
counts and times alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import exp, lgamma, log, log1p


def p_above(failures: int, trials: int, rate: float) -> float:
    """Returns the probability of so many failures, or more, where each trial fails with probability `rate` (binomial)."""
    if failures <= 0 or rate >= 1:
        return 1.0
    if rate <= 0:
        return 0.0
    return _tail(exp(_log_binomial(k, trials, rate)) for k in range(failures, trials + 1))


def p_more(failures: int, trials: int, other_failures: int, other_trials: int) -> float:
    """Returns the probability of so many of all failures, or more, among `trials` if both failed alike (Fisher's exact test)."""
    total, failed = trials + other_trials, failures + other_failures
    whole = _log_choose(total, failed)
    most = min(trials, failed)
    chances = (_log_choose(trials, k) + _log_choose(other_trials, failed - k) - whole for k in range(failures, most + 1))
    return _tail(map(exp, chances))


def is_slower(times: Sequence[float], others: Sequence[float], ratio: float, quantile: float, alarm: float) -> bool:
    """Returns whether a quantile of the times is surely more than `ratio` times that of the others.

    Compares the lower end of the one's confidence interval with the upper end of the other's. Both come from order statistics
    (David and Nagaraja, Order Statistics, 3rd edition, section 7.1), so they are exact for any distribution, and the comparison is
    conservative.

    Args:
        times: in seconds.
        others: in seconds.
        ratio: 1 is as slow.
        quantile: 0..1.
        alarm: the largest probability of saying so wrongly.
    """
    low, high = _lower_rank(len(times), quantile, alarm / 2), _lower_rank(len(others), 1 - quantile, alarm / 2)
    if not low or not high:
        return False
    return sorted(times)[low - 1] > ratio * sorted(others)[-high]


def _tail(chances: Iterable[float]) -> float:
    """Returns the sum of the end of a distribution with one summit, without the terms that no longer count."""
    total = before = 0.0
    for chance in chances:
        total += chance
        if chance < before and chance < 1e-16 * total:
            break
        before = chance
    return min(1.0, total)


def _lower_rank(count: int, quantile: float, alarm: float) -> int:
    """Returns the rank, from 1, of the largest order statistic that exceeds the quantile with at most this probability; 0 is none.

    It does if fewer than that many of the times lie at or below the quantile.
    """
    below, rank = 0.0, 0
    while rank < count:
        below += exp(_log_binomial(rank, count, quantile))
        if below > alarm:
            break
        rank += 1
    return rank


def _log_binomial(k: int, trials: int, rate: float) -> float:
    return _log_choose(trials, k) + k * log(rate) + (trials - k) * log1p(-rate)


def _log_choose(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)
