"""Two versions on the same pictures, by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eyasd.core.comparison import LabelChange, Pairs
from eyasd.training.data.listing import File
from eyasd.training.outcome.evaluate import answers_of
from eyasd.training.outcome.figures import differences
from eyasd.training.scoring.compare import Sheet, changed_pictures, label_changes

LABELS = ("cat", "dog", "owl")


def files(*labels: str) -> list[File]:
    return [File(Path(f"/{i}.png"), f"{i}.png", tuple(filter(None, label.split("|"))), None) for i, label in enumerate(labels)]


def sheet(said: list[str], true: list[str], labels: tuple[str, ...] = LABELS, sure: float = 0.8) -> Sheet:
    """Returns what a model of one label a picture said, each time as surely."""
    probabilities = np.full((len(said), len(labels)), (1 - sure) / (len(labels) - 1), np.float32)
    probabilities[np.arange(len(said)), [labels.index(one) for one in said]] = sure
    return Sheet(labels, answers_of(probabilities, np.array([labels.index(one) for one in true]), None))


TRUE = ["cat", "cat", "cat", "dog", "dog", "owl"]
FIRST = sheet(["cat", "cat", "cat", "dog", "cat", "dog"], TRUE)
SECOND = sheet(
    ["cat", "dog", "owl", "dog", "dog", "cat"], TRUE, ("owl", "dog", "cat", "bat"), 0.7
)  # in another order, with one more


def test_who_is_right() -> None:
    assert Pairs.of(FIRST.answers.right, SECOND.answers.right) == Pairs(both=2, first=2, second=1, neither=1)


def test_wins_and_losses_are_by_the_names_of_labels() -> None:
    assert label_changes(FIRST, SECOND) == (LabelChange("cat", 3, 0, 2), LabelChange("dog", 2, 1, 0), LabelChange("owl", 1, 0, 0))


def test_what_changed_and_what_got_worse_first() -> None:
    count, changed = changed_pictures(FIRST, SECOND, files(*TRUE))
    assert count == 4
    assert [(one.path, one.label, one.first, one.second) for one in changed] == [
        ("1.png", "cat", "cat", "dog"),
        ("2.png", "cat", "cat", "owl"),
        ("5.png", "owl", "dog", "cat"),
        ("4.png", "dog", "cat", "dog"),
    ]
    assert {(round(one.first_confidence, 6), round(one.second_confidence, 6)) for one in changed} == {(0.8, 0.7)}


def test_of_many_changes_the_most_confident_are_told() -> None:
    count = 150
    true, said = ["cat"] * count, ["dog"] * count
    second = sheet(said, true)
    second.answers.probabilities[:, 1] = np.linspace(0.5, 0.9, count)
    found, changed = changed_pictures(sheet(true, true), second, files(*true))
    assert (found, len(changed)) == (count, 100)
    assert [one.path for one in changed[:2]] == ["149.png", "148.png"]


def test_sets_of_labels() -> None:
    true = np.array([[1, 0], [1, 1], [0, 0]], np.float32)
    thresholds = (0.5, 0.5)
    first = Sheet(("a", "b"), answers_of(np.array([[0.9, 0.2], [0.8, 0.4], [0.3, 0.1]], np.float32), true, thresholds))
    second = Sheet(("a", "b"), answers_of(np.array([[0.9, 0.6], [0.8, 0.6], [0.4, 0.1]], np.float32), true, thresholds))
    assert Pairs.of(first.answers.right, second.answers.right) == Pairs(both=1, first=1, second=1, neither=0)
    assert label_changes(first, second) == (LabelChange("a", 2, 0, 0), LabelChange("b", 1, 1, 1))
    count, changed = changed_pictures(first, second, files("a", "a|b", ""))
    assert count == 2
    assert [(one.label, one.first, one.second) for one in changed] == [("a", "a", "a|b"), ("a|b", "a", "a|b")]
    assert (changed[0].first_confidence, changed[0].second_confidence) == pytest.approx((0.9 * 0.8, 0.9 * 0.6))


class TestDifferences:
    def test_of_equal_answers_there_is_none(self) -> None:
        for row in differences(FIRST.answers, FIRST.answers, ("accuracy", "log_loss", "macro_f1")):
            assert (row.first, row.low, row.high) == (row.second, 0.0, 0.0)

    def test_by_hand(self) -> None:
        accuracy, loss, f1 = differences(FIRST.answers, SECOND.answers, ("accuracy", "log_loss", "macro_f1"))
        assert (accuracy.name, accuracy.first, accuracy.second) == ("accuracy", pytest.approx(4 / 6), pytest.approx(3 / 6))
        assert loss.first == pytest.approx(-(4 * np.log(0.8) + 2 * np.log(0.1)) / 6)
        assert loss.second == pytest.approx(-(3 * np.log(0.7) + 3 * np.log(0.1)) / 6)
        assert (f1.first, f1.second) == (pytest.approx((6 / 7 + 1 / 2) / 3), pytest.approx((2 / 5 + 4 / 5) / 3))
        assert accuracy.low < 0 < accuracy.high

    def test_the_pictures_are_the_same_for_both(self) -> None:
        """Of 1,000 pictures of which both get the same half wrong, and the second ten more, the difference is quite certain."""
        true = ["cat"] * 1000
        first = ["cat"] * 500 + ["dog"] * 500
        second = ["dog"] * 10 + first[10:]
        (accuracy,) = differences(sheet(first, true).answers, sheet(second, true).answers, ("accuracy",))
        spread = np.sqrt(0.01 * 0.99 / 1000)  # the ten are binomial
        assert (accuracy.low, accuracy.high) == pytest.approx((-0.01 - 1.96 * spread, -0.01 + 1.96 * spread), abs=1.5e-3)
