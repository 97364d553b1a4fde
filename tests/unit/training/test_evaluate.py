"""Our figures are scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from eyasd.core.spec import Loss
from eyasd.core.types import UnreadableFile
from eyasd.training.calibrate import fit_temperature
from eyasd.training.evaluate import calibration_error, score, wilson_interval

RANDOM = np.random.default_rng(0)
TARGETS = RANDOM.integers(0, 4, 200)
LOGITS = (3 * np.eye(5)[TARGETS] + RANDOM.normal(0, 2, (200, 5))).astype(np.float32)
PROBABILITIES = (np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)).astype(np.float32)
LABELS = list("abcde")  # nothing is of the label `e`


def test_figures_are_those_of_scikit_learn() -> None:
    found = score(PROBABILITIES, TARGETS, LABELS)
    predicted = PROBABILITIES.argmax(1)
    precision, recall, f1, support = metrics.precision_recall_fscore_support(TARGETS, predicted, labels=range(5), zero_division=0)
    assert found.accuracy == pytest.approx(metrics.accuracy_score(TARGETS, predicted))
    assert [row.precision for row in found.labels] == pytest.approx(precision)
    assert [row.recall for row in found.labels] == pytest.approx(recall)
    assert [row.f1 for row in found.labels] == pytest.approx(f1)
    assert [row.examples for row in found.labels] == list(support)
    assert np.array_equal(
        [row.predicted_counts for row in found.labels], metrics.confusion_matrix(TARGETS, predicted, labels=range(5))
    )
    assert found.log_loss == pytest.approx(metrics.log_loss(TARGETS, PROBABILITIES, labels=range(5)), rel=1e-5)


def test_macro_means_leave_out_labels_without_examples() -> None:
    found = score(PROBABILITIES, TARGETS, LABELS)
    assert found.macro_recall == pytest.approx(
        metrics.recall_score(TARGETS, PROBABILITIES.argmax(1), labels=range(4), average="macro")
    )
    assert found.macro_f1 == pytest.approx(np.mean([row.f1 for row in found.labels[:4]]))
    assert found.macro_precision == pytest.approx(np.mean([row.precision for row in found.labels[:4]]))


def test_a_certain_error_is_finite_and_unreadable_files_pass_through() -> None:
    file = UnreadableFile("x", "why")
    found = score(np.array([[1.0, 0.0]], np.float32), np.array([1]), ["a", "b"], (file,))
    assert found.log_loss == pytest.approx(-np.log(1e-12))
    assert found.unreadable_files == (file,)


def test_leaked_pictures_are_taken_out() -> None:
    probabilities, targets = np.array([[1, 0], [1, 0], [1, 0], [0, 1]], np.float32), np.array([0, 0, 1, 0])
    leaked = np.array([True, False, False, False])
    found = score(probabilities, targets, ["a", "b"], leaked=leaked)
    assert (found.accuracy, found.leaked_examples, found.accuracy_without_leaked) == (0.5, 1, pytest.approx(1 / 3))
    none, all_of_them = (score(probabilities, targets, ["a", "b"], leaked=np.full(4, value)) for value in (False, True))
    assert (none.leaked_examples, none.accuracy_without_leaked) == (0, None)
    assert (all_of_them.leaked_examples, all_of_them.accuracy_without_leaked) == (4, None)


def test_wilson_interval() -> None:
    # Newcombe (1998), table I: 81 of 263, and 0 of 20.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson_interval(20, 20) == pytest.approx((0.8389, 1.0), abs=1e-4)


def test_calibration_error_by_hand() -> None:
    # Two bins: 0.9 said of two of which one is right, 0.5 said of two of which one is right.
    confidences = np.array([0.9, 0.9, 0.5, 0.5], np.float32)
    assert calibration_error(confidences, np.array([True, False, True, False])) == pytest.approx(0.2)
    assert calibration_error(np.array([1.0, 0.0], np.float32), np.array([True, False])) == 0


def test_overconfidence_is_found_and_cured() -> None:
    calibrated = fit_temperature(LOGITS, TARGETS, Loss.CROSS_ENTROPY).temperature
    found = fit_temperature(5 * LOGITS, TARGETS, Loss.CROSS_ENTROPY)
    assert found.temperature == pytest.approx(5 * calibrated, rel=1e-3)
    assert found.error_after < found.error_before


def test_the_temperature_has_the_least_loss() -> None:
    best = fit_temperature(LOGITS, TARGETS, Loss.CROSS_ENTROPY).temperature

    def loss(temperature: float) -> float:
        scaled = np.exp(LOGITS.astype(np.float64) / temperature)
        return metrics.log_loss(TARGETS, scaled / scaled.sum(1, keepdims=True), labels=range(5))

    assert all(loss(best) <= loss(best * factor) for factor in (0.5, 0.9, 0.99, 1.01, 1.1, 2))


def test_sigmoids_are_calibrated_too() -> None:
    truth = RANDOM.random(4000) < 1 / (1 + np.exp(-LOGITS[:1, 0]))
    logits = np.stack([np.full(4000, 3 * LOGITS[0, 0]), np.full(4000, -3 * LOGITS[0, 0])], 1)
    targets = np.where(truth, 0, 1)
    assert fit_temperature(logits, targets, Loss.BINARY_CROSS_ENTROPY).temperature == pytest.approx(3, rel=0.2)


def test_a_few_pictures_calibrate_nothing() -> None:
    found = fit_temperature(5 * LOGITS[:20], TARGETS[:20], Loss.CROSS_ENTROPY)
    assert (found.temperature, found.error_after) == (1.0, found.error_before)


def test_a_faultless_split_does_not_end_in_zero() -> None:
    faultless = 3 * np.eye(5, dtype=np.float32)[TARGETS]
    assert fit_temperature(faultless, TARGETS, Loss.CROSS_ENTROPY).temperature == pytest.approx(0.2, rel=1e-3)
