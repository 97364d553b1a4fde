"""Our figures are scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from eyasd.core.findings import UnreadableFile
from eyasd.core.spec import Loss
from eyasd.core.unknown import ConfidenceRule, DistributionRule, UnknownRules
from eyasd.training.outcome.calibrate import fit_temperature
from eyasd.training.outcome.evaluate import accepted_by, macro_means, score, wilson_interval

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


def test_of_many_labels_there_is_no_matrix_and_the_figures_are_the_same() -> None:
    count = 2_001
    targets = RANDOM.integers(0, count - 1, 500)  # nothing is of the last label
    probabilities = np.full((500, count), 1 / (2 * count), np.float32)
    probabilities[np.arange(500), np.where(RANDOM.random(500) < 0.5, targets, RANDOM.integers(0, count, 500))] += 0.5
    found = score(probabilities, targets, [str(number) for number in range(count)])
    predicted = probabilities.argmax(1)
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        targets, predicted, labels=range(count), zero_division=0
    )
    assert [row.precision for row in found.labels] == pytest.approx(precision)
    assert [row.recall for row in found.labels] == pytest.approx(recall)
    assert [row.f1 for row in found.labels] == pytest.approx(f1)
    assert [row.examples for row in found.labels] == list(support)
    assert {row.predicted_counts for row in found.labels} == {()}
    assert all(row.predicted_counts for row in score(probabilities[:, :2_000], targets, list(map(str, range(2_000)))).labels)


@pytest.mark.parametrize("thresholds", [None, (0.5, 0.4, 0.3, 0.2, 0.5)])
def test_a_field_is_the_figure_of_the_same_name(thresholds: tuple[float, ...] | None) -> None:
    targets = TARGETS if thresholds is None else np.eye(5, dtype=np.float32)[TARGETS]
    found = score(PROBABILITIES, targets, LABELS, thresholds=thresholds)
    figures = {figure.name: figure.value for figure in found.figures}
    names = ["accuracy", "macro_precision", "macro_recall", "macro_f1", "log_loss", "calibration_error"]
    names += [] if thresholds is None else ["micro_f1"]
    assert [getattr(found, name) for name in names] == [figures[name] for name in names]
    assert found.macro_f1 == pytest.approx(macro_means(found.labels)["macro_f1"])


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


def test_overconfidence_is_found_and_cured() -> None:
    calibrated = fit_temperature(LOGITS, TARGETS, Loss.CROSS_ENTROPY).temperature
    found = fit_temperature(5 * LOGITS, TARGETS, Loss.CROSS_ENTROPY)
    assert found.temperature == pytest.approx(5 * calibrated, rel=1e-3)
    assert found.error_after < found.error_before
    assert found.examples == 200


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
    assert (found.temperature, found.error_after, found.examples) == (1.0, found.error_before, 0)


def test_a_faultless_split_does_not_end_in_zero() -> None:
    faultless = 3 * np.eye(5, dtype=np.float32)[TARGETS]
    assert fit_temperature(faultless, TARGETS, Loss.CROSS_ENTROPY).temperature == pytest.approx(0.2, rel=1e-3)


class TestSeveralLabels:
    FLAGS = (RANDOM.random((300, 4)) < [0.6, 0.3, 0.1, 0.0]).astype(np.float32)  # nothing bears the last one
    SURE = (1 / (1 + np.exp(-(4 * FLAGS - 2 + RANDOM.normal(0, 2, (300, 4)))))).astype(np.float32)
    THRESHOLDS = (0.5, 0.4, 0.3, 0.5)

    def test_by_hand(self) -> None:
        """Of three pictures one is right in both labels; of the five flags said or true, two are both."""
        probabilities = np.array([[0.9, 0.6], [0.4, 0.7], [0.8, 0.3]], np.float32)
        flags = np.array([[1, 0], [1, 1], [0, 0]], np.float32)
        found = score(probabilities, flags, ["a", "b"], thresholds=(0.3, 0.65))
        assert found.accuracy == pytest.approx(2 / 3)
        assert [(row.examples, row.precision, row.recall, row.f1, row.threshold) for row in found.labels] == [
            (2, pytest.approx(2 / 3), 1.0, pytest.approx(0.8), 0.3),
            (1, 1.0, 1.0, 1.0, 0.65),
        ]
        assert found.micro_f1 == pytest.approx(2 * 3 / (4 + 3))
        assert found.macro_f1 == pytest.approx(0.9)
        # Of `a` the first and the third in order are right, of `b` the first.
        assert found.mean_average_precision == pytest.approx(((1 + 2 / 3) / 2 + 1) / 2)
        assert found.log_loss == pytest.approx(-np.log([0.9 * 0.4, 0.4 * 0.7, 0.2 * 0.7]).mean(), rel=1e-6)
        assert all(row.predicted_counts == () for row in found.labels)

    def test_figures_are_those_of_scikit_learn(self) -> None:
        found = score(self.SURE, self.FLAGS, list("abcd"), thresholds=self.THRESHOLDS)
        said = np.greater_equal(self.SURE, self.THRESHOLDS).astype(int)
        precision, recall, f1, support = metrics.precision_recall_fscore_support(self.FLAGS, said, zero_division=0)
        assert [row.precision for row in found.labels] == pytest.approx(precision)
        assert [row.recall for row in found.labels] == pytest.approx(recall)
        assert [row.f1 for row in found.labels] == pytest.approx(f1)
        assert [row.examples for row in found.labels] == list(support)
        assert found.accuracy == pytest.approx(metrics.accuracy_score(self.FLAGS, said))
        assert found.micro_f1 == pytest.approx(metrics.f1_score(self.FLAGS, said, average="micro"))
        assert found.macro_f1 == pytest.approx(f1[:3].mean())
        assert found.mean_average_precision == pytest.approx(
            metrics.average_precision_score(self.FLAGS[:, :3], self.SURE[:, :3], average="macro")
        )
        losses = [metrics.log_loss(self.FLAGS[:, i], self.SURE[:, i].astype(float), labels=[0, 1]) for i in range(4)]
        assert found.log_loss == pytest.approx(sum(losses), rel=1e-5)

    def test_calibration_is_of_every_label_of_every_picture(self) -> None:
        # 0.8 said four times of which three are so, 0.1 said four times of which none is.
        probabilities = np.array([[0.8, 0.1], [0.8, 0.1], [0.1, 0.8], [0.1, 0.8]], np.float32)
        flags = np.array([[1, 0], [1, 0], [0, 1], [0, 0]], np.float32)
        found = score(probabilities, flags, ["a", "b"], thresholds=(0.5, 0.5))
        assert found.calibration_error == pytest.approx((abs(0.75 - 0.8) + abs(0 - 0.1)) / 2)

    def test_overconfidence_is_found_and_cured(self) -> None:
        logits = np.log(self.SURE / (1 - self.SURE)).astype(np.float32)
        plain = fit_temperature(logits, self.FLAGS, Loss.BINARY_CROSS_ENTROPY).temperature
        found = fit_temperature(5 * logits, self.FLAGS, Loss.BINARY_CROSS_ENTROPY)
        assert found.temperature == pytest.approx(5 * plain, rel=1e-3)
        assert found.error_after < found.error_before

    def test_a_picture_without_labels_is_right_where_none_is_said(self) -> None:
        nothing = np.zeros((2, 2), np.float32)
        found = score(np.array([[0.1, 0.2], [0.9, 0.2]], np.float32), nothing, ["a", "b"], thresholds=(0.5, 0.5))
        assert (found.accuracy, found.micro_f1, found.mean_average_precision, found.macro_f1) == (0.5, 0.0, 0.0, 0.0)

    def test_a_label_on_every_picture_has_an_average_precision_though_nothing_is_to_be_found(self) -> None:
        flags = np.array([[1, 1], [1, 0], [1, 1]], np.float32)
        found = score(np.array([[0.9, 0.2], [0.1, 0.9], [0.5, 0.8]], np.float32), flags, ["a", "b"], thresholds=(0.5, 0.5))
        # Of `b` the second and the third in order are right.
        assert found.mean_average_precision == pytest.approx((1 + (1 / 2 + 2 / 3) / 2) / 2)
        assert {figure.name: figure.value for figure in found.figures}["average_precision"] == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_what_is_left_where_pictures_may_be_unknown() -> None:
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.1, 0.9]], np.float32)
    scores = np.array([1, 1, 1, 9], np.float32)
    far, sure = DistributionRule("", 2.0, 0.99, 0.0), ConfidenceRule(0.9, (0.7, 0.7))
    assert accepted_by(UnknownRules(far), probabilities, scores).tolist() == [True, True, True, False]
    assert accepted_by(UnknownRules(confidence=sure), probabilities, None).tolist() == [True, False, True, True]
    accepted = accepted_by(UnknownRules(far, sure), probabilities, scores)
    assert accepted.tolist() == [True, False, True, False]
    found = score(probabilities, np.array([0, 1, 0, 1]), ["a", "b"], accepted=accepted)
    assert (found.accuracy, found.coverage, found.accepted_accuracy) == (0.5, 0.5, 0.5)
    none = score(probabilities, np.array([0, 1, 0, 1]), ["a", "b"], accepted=np.zeros(4, np.bool_))
    assert (none.coverage, none.accepted_accuracy) == (0.0, None)
    plain = score(probabilities, np.array([0, 1, 0, 1]), ["a", "b"])
    assert (plain.coverage, plain.accepted_accuracy) == (None, None)
