"""A label applies from the probability on that serves it best, as far as enough pictures tell."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics

from eyasd.training.outcome.thresholds import choose_thresholds


def logits_of(probabilities: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.log(probabilities / (1 - probabilities)).astype(np.float32)


def test_by_hand() -> None:
    # 10 at 0.6, of which 9 bear the label; 10 at 0.3, of which 5; 10 at 0.1, of which none. F1 from 0.6 on is 18/24, from 0.3 on
    # 28/34, of all 28/44.
    probabilities = np.repeat([[0.6], [0.3], [0.1]], 10, axis=0)
    true = np.array([*[1] * 9, 0, *[1] * 5, *[0] * 15], np.float32)[:, None]
    assert choose_thresholds(logits_of(probabilities), 1.0, true) == pytest.approx((0.2,))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_no_other_cut_is_better(temperature: float) -> None:
    random = np.random.default_rng(3)
    true = (random.random((200, 3)) < [0.5, 0.2, 0.1]).astype(np.float32)
    logits = (2 * true - 1 + random.normal(0, 2, true.shape)).astype(np.float32)
    found = choose_thresholds(logits, temperature, true)
    for label, threshold in enumerate(found):
        values, said = 1 / (1 + np.exp(-logits[:, label].astype(np.float64) / temperature)), true[:, label]
        achieved = metrics.f1_score(said, values >= threshold)
        assert all(achieved >= metrics.f1_score(said, values >= cut) for cut in values)


def test_a_label_told_without_a_doubt_has_room_on_both_sides() -> None:
    true = np.repeat([[1.0], [0.0]], 10, axis=0).astype(np.float32)
    (found,) = choose_thresholds(logits_of(np.where(true == 1, 0.9, 0.2).astype(np.float64)), 1.0, true)
    assert found == pytest.approx(0.55)


@pytest.mark.parametrize(("with_it", "without"), [(9, 100), (100, 9), (0, 50), (50, 0)])
def test_few_pictures_decide_nothing(with_it: int, without: int) -> None:
    true = np.array([1] * with_it + [0] * without, np.float32)[:, None]
    assert choose_thresholds(logits_of(np.full_like(true, 0.3, np.float64)), 1.0, true) == (0.5,)
