"""What was taken for what, of few labels and of many."""

from __future__ import annotations

import numpy as np

from eyasd.training.outcome.evaluate import label_metrics
from eyasd.training.outcome.report.confusion import Pair, confusion


def test_few_labels_have_a_matrix_and_their_worst_pairs() -> None:
    matrix = np.array([[8, 2, 0], [5, 4, 1], [0, 0, 10]])
    found = confusion(label_metrics(matrix, ["hat", "shirt", "shoe"]))
    assert found.whole
    assert found.pairs == (Pair("shirt", "hat", 5, 0.5), Pair("hat", "shirt", 2, 0.2), Pair("shirt", "shoe", 1, 0.1))
    assert found.rows == ()
    assert found.mistaken == 2


def test_many_labels_have_the_worst_pairs_and_the_worst_labels() -> None:
    matrix = 10 * np.eye(50, dtype=np.int64)
    matrix[7, :7] = range(1, 8)
    matrix[40, 41] = 2
    found = confusion(label_metrics(matrix, [f"l{i}" for i in range(50)]))
    assert not found.whole
    assert [(pair.true, pair.given, pair.count) for pair in found.pairs[:2]] == [("l7", "l6", 7), ("l7", "l5", 6)]
    assert len(found.pairs) == 8
    assert [(row.label, row.examples, row.wrong) for row in found.rows] == [("l7", 38, 28), ("l40", 12, 2)]
    assert [pair.given for pair in found.rows[0].given] == ["l6", "l5", "l4", "l3", "l2"]
    assert found.mistaken == 2


def test_a_label_without_a_picture_and_a_model_without_a_mistake() -> None:
    found = confusion(label_metrics(np.diag([3, 0]), ["hat", "shirt"]))
    assert (found.pairs, found.rows, found.mistaken) == ((), (), 0)
