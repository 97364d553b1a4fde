"""Precision-recall curves against scikit-learn's, and what is left out of them."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from eyasd.training.outcome.report.curves import DRAWN, precision_recall

LABELS = ["hat", "shirt", "shoe"]


def answers(labels: int = 3, count: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    true = np.arange(labels) == rng.integers(labels, size=count)[:, None]
    return np.round(rng.random((count, labels)) / 2 + true * 0.3, 2).astype(np.float32), true  # rounded, so that some are equal


def test_the_curves_are_those_of_scikit_learn() -> None:
    probabilities, true = answers()
    curves = precision_recall(probabilities, true, LABELS)
    assert curves is not None
    assert [curve.average_precision for curve in curves.labels] == sorted(curve.average_precision for curve in curves.labels)
    for curve in curves.labels:
        i = LABELS.index(curve.label)
        assert curve.average_precision == pytest.approx(metrics.average_precision_score(true[:, i], probabilities[:, i]))
        assert curve.examples == true[:, i].sum()
        precisions, recalls, _ = metrics.precision_recall_curve(true[:, i], probabilities[:, i])
        points = {(round(float(r), 6), round(float(p), 6)) for r, p in zip(recalls, precisions, strict=True)}
        assert {(round(r, 6), round(p, 6)) for r, p in zip(curve.recalls[1:], curve.precisions[1:], strict=True)} <= points
        assert (curve.recalls[0], curve.recalls[-1]) == (0.0, 1.0)
    assert curves.micro.average_precision == pytest.approx(metrics.average_precision_score(true, probabilities, average="micro"))


def test_long_curves_are_thinned_and_only_the_hardest_are_kept() -> None:
    probabilities, true = answers(60, 6000)
    curves = precision_recall(
        probabilities + np.random.default_rng(1).random(probabilities.shape, np.float32) / 100, true, list(map(str, range(60)))
    )
    assert curves is not None
    assert len(curves.micro.recalls) <= 121
    assert curves.micro.recalls[-1] == 1
    assert [bool(curve.recalls) for curve in curves.labels] == [True] * DRAWN + [False] * 20


def test_a_label_on_no_picture_has_no_curve() -> None:
    true = np.array([[True, False, False], [False, True, False]])
    curves = precision_recall(np.full((2, 3), 0.5, np.float32), true, LABELS)
    assert curves is not None
    assert {curve.label for curve in curves.labels} == {"hat", "shirt"}
    assert precision_recall(np.empty((0, 3), np.float32), np.empty((0, 3), bool), LABELS) is None
    assert precision_recall(np.ones((2, 3), np.float32), np.zeros((2, 3), bool), LABELS) is None
