"""The headline figures are scikit-learn's, also of pictures that count more than once; and their intervals hold what they say."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from eyasd.core.evaluation import FIGURES, Evaluation, Figure
from eyasd.training.outcome import figures
from eyasd.training.outcome.evaluate import score
from eyasd.training.outcome.reliability import calibration_error

RANDOM = np.random.default_rng(0)
LABELS = list("abcdefg")  # nothing is of the label `g`


def answers(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that are often right, and what is so."""
    random = np.random.default_rng(seed)
    targets = random.integers(0, 6, count)
    logits = (3 * np.eye(7)[targets] + random.normal(0, 2, (count, 7))).round(1)  # with ties
    return (np.exp(logits) / np.exp(logits).sum(1, keepdims=True)).astype(np.float32), targets


def named(evaluation: Evaluation) -> dict[str, Figure]:
    return {figure.name: figure for figure in evaluation.figures}


def test_figures_of_one_label_a_picture_are_those_of_scikit_learn() -> None:
    probabilities, targets = answers(300)
    found = {name: figure.value for name, figure in named(score(probabilities, targets, LABELS)).items()}
    predicted, flags = probabilities.argmax(1), np.eye(7, dtype=bool)[targets]
    expected = {
        "accuracy": metrics.accuracy_score(targets, predicted),
        "balanced_accuracy": np.mean([(predicted == label)[targets == label].mean() for label in range(6)]),
        "top_5_accuracy": metrics.top_k_accuracy_score(targets, probabilities, k=5, labels=range(7)),
        "log_loss": metrics.log_loss(targets, probabilities, labels=range(7)),
        "roc_auc": np.mean([metrics.roc_auc_score(flags[:, i], probabilities[:, i]) for i in range(6)]),
        "average_precision": np.mean([metrics.average_precision_score(flags[:, i], probabilities[:, i]) for i in range(6)]),
        "calibration_error": calibration_error(probabilities.max(1), predicted == targets),
    }
    for mean in ("macro", "micro", "weighted"):
        values = metrics.precision_recall_fscore_support(targets, predicted, labels=range(6), average=mean, zero_division=0)
        expected |= {f"{mean}_{name}": value for name, value in zip(("precision", "recall", "f1"), values[:3], strict=True)}
    # Over the labels 0 to 5 alone scikit-learn's micro mean leaves out the pictures that were taken for `g`.
    expected |= {f"micro_{name}": expected["accuracy"] for name in ("precision", "recall", "f1")}
    assert found == pytest.approx(expected, rel=1e-5)
    assert found.keys() == set(FIGURES)


def test_figures_of_sets_of_labels_are_those_of_scikit_learn() -> None:
    random = np.random.default_rng(1)
    true = random.random((200, 4)) < 0.4
    probabilities = np.clip(0.5 * true + 0.6 * random.random((200, 4)), 0.01, 0.99).astype(np.float32)
    thresholds = (0.5, 0.6, 0.4, 0.5)
    found = {
        name: figure.value
        for name, figure in named(score(probabilities, true.astype(np.float32), list("abcd"), thresholds=thresholds)).items()
    }
    applies = probabilities >= np.array(thresholds, np.float32)
    expected = {
        "accuracy": metrics.accuracy_score(true, applies),
        "roc_auc": metrics.roc_auc_score(true, probabilities, average="macro"),
        "average_precision": metrics.average_precision_score(true, probabilities, average="macro"),
    }
    for mean in ("macro", "micro", "weighted"):
        values = metrics.precision_recall_fscore_support(true, applies, average=mean, zero_division=0)
        expected |= {f"{mean}_{name}": value for name, value in zip(("precision", "recall", "f1"), values[:3], strict=True)}
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-5)
    assert found.keys() - expected.keys() == {"log_loss", "calibration_error"}
    assert found.keys() < set(FIGURES)


def test_a_picture_that_counts_twice_counts_as_two() -> None:
    probabilities, targets = answers(40)
    twice = np.concatenate([np.arange(40), np.arange(0, 40, 3), [5, 5]])
    flags = np.eye(7, dtype=bool)[targets]
    weights = np.bincount(twice, minlength=40).astype(np.float64)[None]
    order = figures._Order.of(probabilities[:, 2], flags[:, 2])
    expected = [
        metrics.roc_auc_score(flags[twice, 2], probabilities[twice, 2]),
        metrics.average_precision_score(flags[twice, 2], probabilities[twice, 2]),
    ]
    assert order.areas(weights)[0] == pytest.approx(expected)


def test_average_precision_is_that_of_scikit_learn_with_equals_too() -> None:
    random = np.random.default_rng(1)
    for _ in range(20):
        probabilities, true = random.integers(0, 6, 30).astype(np.float32) / 6, random.random(30) < 0.4
        found = figures._Order.of(probabilities, true).areas(np.ones((1, 30)))[0, 1]
        assert found == pytest.approx(metrics.average_precision_score(true, probabilities))


def test_intervals_hold_the_truth_as_often_as_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    probabilities, targets = answers(20_000)
    with monkeypatch.context() as alone:  # of the truth nobody asks for the interval
        alone.setattr(figures, "RESAMPLES", 1)
        alone.setattr(figures, "_FEWEST_RESAMPLES", 1)
        truth = named(score(probabilities, targets, LABELS))
    samples = [RANDOM.choice(20_000, 150, replace=False) for _ in range(60)]
    found = [named(score(probabilities[rows], targets[rows], LABELS)) for rows in samples]
    for name in ("accuracy", "macro_f1", "log_loss", "roc_auc"):
        held = np.mean([one[name].low <= truth[name].value <= one[name].high for one in found])
        assert 0.87 <= held <= 1, name  # 0.95 of 60; fewer than 0.87 of them come in one of 300 such tests
        assert all(one[name].low <= one[name].value <= one[name].high for one in found)


def test_the_intervals_follow_from_the_pictures_alone() -> None:
    probabilities, targets = answers(50)
    assert score(probabilities, targets, LABELS) == score(probabilities, targets, LABELS)


def test_without_a_second_label_there_is_no_order_to_judge() -> None:
    found = named(score(np.array([[0.9, 0.1]] * 4, np.float32), np.zeros(4, np.int64), ["a", "b"]))
    assert not {"roc_auc", "average_precision", "top_5_accuracy"} & found.keys()
    assert (found["accuracy"].value, found["accuracy"].low, found["accuracy"].high) == (1, 1, 1)


def test_many_pictures_and_labels_are_resampled_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    resamples = figures._resamples
    monkeypatch.setattr(figures, "_resamples", lambda count, number, seed: drawn.append(number) or resamples(count, number, seed))
    monkeypatch.setattr(figures, "_MOST_WORK", 300 * 7 * 200)
    score(*answers(300), LABELS)
    assert drawn == [1000, 200]
