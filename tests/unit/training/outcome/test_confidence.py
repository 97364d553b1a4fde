"""The answers of a label are relied on from the confidence on at which they have the precision that was asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eyasd.core.spec import Loss
from eyasd.core.unknown import NEVER, ConfidenceRule
from eyasd.training.journal import Journal
from eyasd.training.outcome.confidence import Answers, confident_thresholds, decide, fewest_answers, lower_end, thresholds_of
from eyasd.training.outcome.thresholds import choose_thresholds


def answers(*groups: tuple[float, int, int]) -> Answers:
    """Returns answers in groups of one confidence: the confidence, how many are right, how many wrong."""
    confidences = np.concatenate([np.full(right + wrong, confidence) for confidence, right, wrong in groups])
    return confidences, np.concatenate([np.arange(right + wrong) < right for _, right, wrong in groups])


def test_the_lower_end_by_hand() -> None:
    # All of n right: n / (n + z^2), z^2 = 1.6424. Half of 100: 0.5 - 1.2816 sqrt(0.0025 + 1.6424 / 40000) / 1.016424 = 0.4364.
    assert lower_end(np.array([10, 50]), np.array([10, 100])) == pytest.approx([10 / 11.6424, 0.4364], abs=1e-4)
    assert fewest_answers(0.9) == 15
    assert fewest_answers(0.98) == 81


def test_one_label_by_hand() -> None:
    # 40 right at 0.9: the lower end is 40 / 41.642 = 0.9606, so the precision (40 + 30 x 0.9606) / 70 = 0.9831. With 8 of 10 at 0.6
    # it is 48 of 50: the lower end of 0.96 is 0.9080, so (48 + 30 x 0.9080) / 80 = 0.9405.
    mine = answers((0.9, 40, 0), (0.6, 8, 2))
    assert thresholds_of([mine], 0.94) == (0.6,)
    assert thresholds_of([mine], 0.95) == (0.9,)
    assert thresholds_of([mine], 0.98) == (0.9,)
    assert thresholds_of([mine], 0.985) == (NEVER,)


def test_a_label_of_few_answers_leans_on_all_labels() -> None:
    many, few, none = answers((0.9, 100, 0)), answers((0.95, 3, 0)), answers((0.9, 0, 0))
    # 103 of 103 show 0.9843, which also holds for a label without an answer; three alone show nothing.
    assert thresholds_of([many, few, none], 0.98) == (0.9, 0.9, 0.9)
    assert thresholds_of([few, none], 0.98) == (NEVER, NEVER)


def test_a_label_whose_answers_are_wrong_does_not_hide_behind_the_others() -> None:
    good, bad = answers((0.9, 1000, 0)), answers((0.9, 5, 5), (0.99, 2, 0))
    # At 0.9 the bad label has 7 of 12: (7 + 30 x 0.9915) / 42 = 0.87; at 0.99 it has 2 of 2, but all labels together no more.
    assert thresholds_of([good, bad], 0.9) == (0.9, NEVER)
    assert thresholds_of([good, bad], 0.85) == (0.9, 0.9)


def test_a_label_of_many_answers_speaks_for_itself() -> None:
    # Of all labels some 0.87 are right from 0.6 on, and all from 0.9 on; the first is, too: (2000 + 30 x 0.87) / 2030 = 0.998.
    sure, doubtful = answers((0.9, 1000, 0), (0.6, 1000, 0)), answers((0.9, 1000, 0), (0.6, 500, 500))
    assert thresholds_of([sure, doubtful], 0.99) == (0.6, 0.9)


def test_who_asks_for_more_gets_no_lower_threshold() -> None:
    random = np.random.default_rng(0)
    for _ in range(20):
        labels = []
        for count in random.integers(0, 200, 5):
            confidences = random.random(count)
            labels.append((confidences, random.random(count) < confidences ** random.choice([0.1, 0.5])))
        found = [thresholds_of(labels, precision) for precision in (0.5, 0.7, 0.9, 0.95, 0.99)]
        assert (np.diff(found, axis=0) >= 0).all()


def test_of_equal_confidences_none_is_let_in_without_the_others() -> None:
    mine = answers((0.9, 50, 0), (0.8, 50, 50))
    shuffled = np.random.default_rng(0).permutation(len(mine[0]))
    assert thresholds_of([(mine[0][shuffled], mine[1][shuffled])], 0.95) == (0.9,)


def test_the_answer_of_one_label_a_picture_is_the_most_probable_one() -> None:
    # 100 pictures of each label, all right, with 0.9 at a temperature of 2.
    targets = np.repeat([0, 1], 100)
    logits = np.where(np.arange(2) == targets[:, None], 2 * np.log(9), 0).astype(np.float32)
    assert confident_thresholds(logits, 2.0, targets, Loss.CROSS_ENTROPY, 0.9) == pytest.approx((0.9, 0.9))
    wrong = np.where(np.arange(200) % 2, 1 - targets, targets)
    assert confident_thresholds(logits, 2.0, wrong, Loss.CROSS_ENTROPY, 0.9) == (NEVER, NEVER)


def test_each_of_several_labels_is_an_answer() -> None:
    flags = np.repeat(np.array([[1, 0], [0, 0]], np.float32), 100, 0)
    logits = np.where(flags == 1, 3.0, -3.0).astype(np.float32)
    found = confident_thresholds(logits, 1.0, flags, Loss.BINARY_CROSS_ENTROPY, 0.9)
    # The second label has no answer so high, but the confidences of the first vouch for it.
    assert found == pytest.approx((1 / (1 + np.exp(-3)),) * 2)
    assert confident_thresholds(logits, 1.0, flags, Loss.BINARY_CROSS_ENTROPY, 0.99) == (found[0], NEVER)


def test_what_a_precision_decides(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "progress.jsonl", {"export": 1})
    flags = np.repeat(np.array([[1, 0], [0, 1]], np.float32), 100, 0)
    logits = np.where(flags == 1, 3.0, -3.0).astype(np.float32)
    several, one = (1.0, flags, Loss.BINARY_CROSS_ENTROPY, "ab"), (1.0, flags.argmax(1), Loss.CROSS_ENTROPY, "ab")
    assert decide(logits, *one, None, journal) == (None, None)
    assert decide(logits, *several, None, journal) == (choose_thresholds(logits, 1.0, flags), None)
    confident = confident_thresholds(logits, *several[:3], 0.99)
    assert decide(logits, *several, 0.99, journal) == (confident, None)
    rule = ConfidenceRule(0.99, confident_thresholds(logits, *one[:3], 0.99))
    assert decide(logits, *one, 0.99, journal) == (None, rule)
    assert not journal.path.exists()
    assert decide(logits, *one, 0.999, journal) == (None, ConfidenceRule(0.999, (NEVER, NEVER)))
    assert (
        "answers of 'a', 'b' do not show a precision of 0.999 on the 200 validation pictures, so each of them is always unknown "
        "where that is allowed; some 1,641 answers without an error would show it."
    ) in journal.path.read_text()
