"""Every picture once a pass, or the rarer labels more often; in an order that its seed alone decides."""

from __future__ import annotations

import numpy as np
import pytest

from eyasd.training.tuning.sampling import chances, epoch_order

# 800, 150 and 50 pictures.
CLASSES = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [800, 150, 50]))


def test_without_a_power_every_picture_is_seen_once() -> None:
    assert sorted(epoch_order(CLASSES, 0.0, 1)) == list(range(1000))


@pytest.mark.parametrize(("power", "seen"), [(0.0, (800, 150, 50)), (0.5, (596, 258, 149)), (1.0, (333, 333, 333))])
def test_labels_are_seen_as_often_as_the_power_says(power: float, seen: tuple[int, ...]) -> None:
    order = epoch_order(CLASSES, power, 1)
    assert len(order) == 1000
    assert np.bincount(CLASSES[order]) == pytest.approx(seen, abs=4)
    assert chances(CLASSES, power).sum() == pytest.approx(1.0)


def test_no_picture_is_seen_more_or_less_often_than_its_label_asks_for() -> None:
    times = np.bincount(epoch_order(CLASSES, 1.0, 1), minlength=1000)
    # 333 draws of 800, of 150 and of 50 pictures.
    assert set(times[CLASSES == 0]) == {0, 1}
    assert set(times[CLASSES == 1]) == {2, 3}
    assert set(times[CLASSES == 2]) == {6, 7}


def test_in_the_long_run_every_picture_is_seen() -> None:
    seen = np.concatenate([epoch_order(CLASSES, 1.0, seed) for seed in range(30)])
    assert set(seen) == set(range(1000))


def test_captured_pictures_are_seen_as_often_as_their_weight_says() -> None:
    weights = np.where(np.arange(1000) < 100, 4.0, 1.0)
    times = np.bincount(epoch_order(CLASSES, 0.0, 1, weights), minlength=1000)
    # 1000 draws of which 400 of 1300 are of the hundred, each of them 3.1 times, the others 0.77 times.
    assert times.sum() == 1000
    assert times[:100].sum() == pytest.approx(308, abs=4)
    assert set(times[:100]) <= {3, 4}
    assert set(times[100:]) == {0, 1}
    both = epoch_order(CLASSES, 1.0, 1, weights)
    assert np.isin(both, np.arange(100)).mean() > 0.25


@pytest.mark.parametrize("power", [0.0, 0.7])
def test_a_seed_gives_the_same_order_again_and_another_seed_another(power: float) -> None:
    assert (epoch_order(CLASSES, power, 1) == epoch_order(CLASSES, power, 1)).all()
    assert (epoch_order(CLASSES, power, 1) != epoch_order(CLASSES, power, 2)).any()


def test_the_pictures_of_a_label_are_spread_over_the_epoch() -> None:
    order = epoch_order(CLASSES, 1.0, 1)
    assert all(250 < np.flatnonzero(CLASSES[order] == label).mean() < 750 for label in range(3))
    assert (np.diff(CLASSES[order]) != 0).mean() > 0.5
