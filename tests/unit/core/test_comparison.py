"""McNemar's exact test gives published p-values."""

from __future__ import annotations

import pytest
from scipy.stats import binomtest

from eyasd.core.comparison import Pairs


@pytest.mark.parametrize(
    ("pairs", "p_value"),
    [
        # Fagerland, Lydersen and Laake (2013), "The McNemar test for binary matched-pairs data", table 5: airway
        # hyper-responsiveness before and after stem cell transplantation, 0.070; and response before and after chemotherapy, 0.052.
        (Pairs(1, 1, 7, 12), 18 / 256),
        (Pairs(59, 6, 16, 80), 0.0525),
        (Pairs(5, 9, 1, 0), 22 / 1024),
        (Pairs(3, 4, 4, 3), 1.0),
        (Pairs(10, 0, 0, 0), 1.0),
        (Pairs(0, 0, 5, 0), 2 / 32),
    ],
)
def test_two_sided(pairs: Pairs, p_value: float) -> None:
    assert pairs.p_value == pytest.approx(p_value, abs=5e-5)
    assert Pairs(pairs.both, pairs.second, pairs.first, pairs.neither).p_value == pairs.p_value


def test_one_sided_asks_whether_the_second_is_worse() -> None:
    assert Pairs(0, 5, 0, 0).p_worse == pytest.approx(1 / 32)
    assert Pairs(0, 0, 5, 0).p_worse == pytest.approx(1)
    assert Pairs(7, 9, 1, 2).p_worse == pytest.approx(11 / 1024)
    assert Pairs(7, 0, 0, 2).p_worse == 1.0


@pytest.mark.parametrize(("first", "second"), [(3, 11), (250, 310), (40_000, 41_000), (600_000, 599_000)])
def test_large_counts_are_those_of_scipy(first: int, second: int) -> None:
    pairs = Pairs(1, first, second, 1)
    assert pairs.p_value == pytest.approx(binomtest(first, first + second).pvalue, rel=1e-6)
    assert pairs.p_worse == pytest.approx(binomtest(second, first + second, alternative="less").pvalue, rel=1e-6)
