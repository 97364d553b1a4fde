"""Wrong labels are found among right ones, and copies do not vouch for each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from eyasd.core.findings import DatasetReport, Suspects
from eyasd.training.data.audit import Audit
from eyasd.training.data.listing import File
from eyasd.training.head import suspects
from eyasd.training.head.suspects import examine, find_suspects, out_of_fold
from eyasd.training.journal import Interrupted

LABELS = ("cat", "cow", "dog")


def clouds(counts: tuple[int, ...], seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Returns features and true classes of pictures that a linear probe tells apart almost always."""
    random = np.random.default_rng(seed)
    targets = np.repeat(np.arange(len(counts)), counts)
    features = random.normal(0, 1, (len(targets), 64)) + random.normal(0, 1, (len(counts), 64))[targets]
    return features.astype(np.float32), targets


def audited(targets: NDArray[np.int64], units: NDArray[np.int64] | None = None) -> Audit:
    report = DatasetReport((), (), (), "")
    units = np.arange(len(targets)) if units is None else units
    return Audit(LABELS, {}, targets, units, np.zeros(len(targets), np.bool_), report)


def examined(features: NDArray[np.float32], data: Audit) -> Suspects | None:
    files = [File(Path(f"/{i}"), f"{i}.jpg", (), None) for i in range(len(features))]
    return examine(features, np.arange(len(features)), files, data, 0, lambda: None)


def test_planted_errors_come_first_with_their_true_labels() -> None:
    features, truth = clouds((150, 150, 150))
    wrong = np.random.default_rng(1).choice(450, 20, replace=False)
    given = truth.copy()
    given[wrong] = (truth[wrong] + 1) % 3
    found = examined(features, audited(given))
    assert found is not None
    assert found.examined == 450
    named = [int(one.path.removesuffix(".jpg")) for one in found.pictures]
    hits = len(set(named) & set(wrong.tolist()))
    assert hits / len(named) >= 0.9
    assert hits / len(wrong) >= 0.7  # where the probe is less sure than usual, it says nothing
    assert found.count == len(named)
    one = found.pictures[0]
    assert (one.label, one.suggested_label) == (LABELS[given[named[0]]], LABELS[truth[named[0]]])
    assert 0.5 < one.probability <= 1


def test_right_labels_are_hardly_suspected() -> None:
    found = examined(clouds((150, 150, 150))[0], audited(clouds((150, 150, 150))[1]))
    assert found is not None
    assert found.count <= 15


def test_copies_do_not_vouch_for_each_other() -> None:
    features, truth = clouds((60, 60, 60))
    features = np.concatenate([features, np.repeat(features[:1], 30, axis=0)])  # 31 copies of a cat, called dogs
    given = np.concatenate([truth, np.full(30, 2)])
    given[0] = 2
    units = np.arange(len(given))
    units[180:] = 0
    apart, together = examined(features, audited(given)), examined(features, audited(given, units))
    assert apart is not None
    assert together is not None

    def copies(found: Suspects) -> int:
        return sum(one.path in {"0.jpg", *(f"{i}.jpg" for i in range(180, 210))} for one in found.pictures)

    assert copies(apart) == 0
    assert copies(together) == 31


def test_labels_of_few_pictures_are_not_judged() -> None:
    features, targets = clouds((40, 40, 4))
    found = examined(features, audited(targets))
    assert found is not None
    assert found.examined == 80
    assert {one.suggested_label for one in found.pictures} <= {"cat", "cow"}
    features, targets = clouds((40, 4, 4))
    assert examined(features, audited(targets)) is None


def test_at_most_fifty_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    features, truth = clouds((150, 150, 150))
    monkeypatch.setattr(suspects, "_MAX_SUSPECTS", 5)
    found = examined(features, audited(np.random.default_rng(0).permutation(truth)))
    assert found is not None
    assert len(found.pictures) == 5 < found.count


def test_a_picture_as_sure_of_its_own_label_is_none() -> None:
    # The probe is never sure of the second label, so 0.3 is as much as usual of it; but 0.7 of the first is more.
    probabilities = np.array([[0.9, 0.1]] * 10 + [[0.7, 0.3], [0.1, 0.9], [0.75, 0.25]], np.float32)
    rows, likely = find_suspects(probabilities, np.array([0] * 12 + [1]))
    assert (rows.tolist(), likely.tolist()) == ([11], [1])


def test_it_is_the_same_again_and_can_be_stopped() -> None:
    features, targets = clouds((30, 30, 30))
    once, again = (out_of_fold(features, targets, np.arange(90), 3, 0, lambda: None) for _ in range(2))
    assert np.array_equal(once, again)
    assert once.sum(1) == pytest.approx(np.ones(90))
    assert not np.array_equal(once, out_of_fold(features, targets, np.arange(90), 3, 1, lambda: None))

    def stop() -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        out_of_fold(features, targets, np.arange(90), 3, 0, stop)
