"""A retrained version may take its base's place only if it loses nothing on the test split, and gains on what was captured."""

from __future__ import annotations

import numpy as np
import pytest

from eyasd.core import document
from eyasd.core.comparison import Pairs
from eyasd.core.gate import Gate, judge_regression
from eyasd.core.names import ModelRef

BASE = ModelRef("clothing", version=3)
SAME, BETTER = Pairs(90, 3, 3, 4), Pairs(30, 2, 15, 13)


def judged(test: Pairs, captured: Pairs) -> Gate:
    return judge_regression(BASE, 140, test, captured)


@pytest.mark.parametrize(
    ("test", "captured", "passed"),
    [
        (SAME, BETTER, True),
        (Pairs(90, 6, 3, 1), BETTER, True),  # a loss that chance explains
        (Pairs(80, 12, 2, 6), BETTER, False),
        (Pairs(20, 0, 9, 0), BETTER, False),  # too few to tell
        (SAME, Pairs(30, 15, 2, 13), False),
        (SAME, Pairs(20, 14, 18, 48), False),  # labels given at random are guessed by either
        (SAME, Pairs(0, 0, 4, 0), False),
        (SAME, Pairs(0, 0, 5, 0), True),
        (SAME, Pairs(0, 0, 0, 0), False),
    ],
)
def test_both_parts_must_be_met(test: Pairs, captured: Pairs, passed: bool) -> None:
    gate = judged(test, captured)
    assert gate.passed is passed
    assert document.load(Gate, document.dump(gate)) == gate


def test_a_verdict_says_what_it_rests_on() -> None:
    gate = judged(Pairs(80, 12, 2, 6), BETTER)
    test, captured = (finding.sentence for finding in gate.findings)
    figures = "accuracy 0.9200 before and 0.8200 after (-0.1000, 95 % interval -0.1700 to -0.0261) on 100 test pictures"
    assert test == f"{figures}: a significant loss (one-sided McNemar's test, p = 0.0065)"
    assert captured.startswith("accuracy 0.5333 before and 0.7500 after (+0.2167, 95 % interval +0.0")
    doubt = "part of which is that the base was in doubt or wrong about them: capture 30 more by chance to be sure"
    assert captured.endswith(f"on 60 captured pictures held out: a significant gain (p = 0.0012), {doubt}")
    fair = judge_regression(BASE, 140, SAME, BETTER, by_chance=True).captured.finding
    assert fair.sentence.endswith("on 60 captured pictures held out, captured by chance: a significant gain (p = 0.0012)")
    few = judged(Pairs(20, 0, 9, 0), Pairs(0, 0, 0, 0))
    assert [finding.sentence for finding in few.findings] == [
        "the test split of clothing/3 has 29 pictures that neither was trained on, and 30 are needed to tell a loss from chance",
        "no captured picture could be held out, so whether anything was gained on them is not known",
    ]


def test_the_interval_of_a_difference_holds_it_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    shares = (0.6, 0.1, 0.2, 0.1)  # both right, the first alone, the second alone, neither
    held = [
        low <= 0.1 <= high for low, high in (Pairs(*map(int, counts)).interval for counts in rng.multinomial(60, shares, size=4000))
    ]
    assert np.mean(held) == pytest.approx(0.95, abs=0.012)
    assert Pairs(0, 0, 1, 0).interval[1] <= 1
