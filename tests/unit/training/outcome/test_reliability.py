"""Confidences are held against what came of them."""

from __future__ import annotations

import numpy as np
import pytest

from eyasd.training.outcome.reliability import calibration_error, reliability

RANDOM = np.random.default_rng(0)
CONFIDENCES = RANDOM.random(300).astype(np.float32)
HELD = RANDOM.random(300) < CONFIDENCES


def test_calibration_error_by_hand() -> None:
    # Two bins: 0.9 said of two of which one is right, 0.5 said of two of which one is right.
    confidences = np.array([0.9, 0.9, 0.5, 0.5], np.float32)
    assert calibration_error(confidences, np.array([True, False, True, False])) == pytest.approx(0.2)
    assert calibration_error(np.array([1.0, 0.0], np.float32), np.array([True, False])) == 0


def test_several_answers_a_picture_count_as_many() -> None:
    assert calibration_error(CONFIDENCES.reshape(100, 3), HELD.reshape(100, 3)) == pytest.approx(
        calibration_error(CONFIDENCES, HELD)
    )
    assert reliability(CONFIDENCES.reshape(100, 3), HELD.reshape(100, 3)) == reliability(CONFIDENCES, HELD)


def test_the_bins_hold_every_answer() -> None:
    bins = reliability(CONFIDENCES, HELD)
    assert [bins[0].low, bins[-1].high, len(bins)] == [0, 1, 15]
    assert sum(one.answers for one in bins) == 300
    assert all(one.low < one.confidence <= one.high for one in bins if one.answers)
    assert sum(one.right * one.answers for one in bins) == pytest.approx(HELD.sum())
    found = sum(abs(one.right - one.confidence) * one.answers for one in bins) / 300
    assert found == pytest.approx(calibration_error(CONFIDENCES, HELD))
