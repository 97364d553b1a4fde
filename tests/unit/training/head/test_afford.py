"""A head for which there is no time with all pictures is fitted to as many as there is time for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from tests.unit.training.conftest import JobFolder, main_on

from eyasd.core.bundle import MANIFEST, read_manifest
from eyasd.core.findings import DatasetReport
from eyasd.core.jobdir import BUNDLE
from eyasd.core.spec import TrainSpec
from eyasd.training.budget import Budget
from eyasd.training.data.audit import Audit
from eyasd.training.head.afford import affordable, stratified
from eyasd.training.journal import Journal
from eyasd.training.network import Network, input_format
from eyasd.training.recipe import resolve
from eyasd.training.tuning import validate

COMMON, RARE = 300, 100
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def data() -> Audit:
    rows = np.arange(COMMON + RARE + 80)
    targets = np.concatenate([np.zeros(COMMON, np.int64), np.ones(RARE, np.int64), rows[:80] % 2])
    splits = {"train": rows[: COMMON + RARE], "validation": rows[COMMON + RARE :][:40], "test": rows[-40:]}
    return Audit(("a", "b"), splits, targets, rows, np.zeros(len(rows), np.bool_), DatasetReport((), (), (), ""))


@pytest.fixture
def choose(data: Audit, journal: Journal, monkeypatch: pytest.MonkeyPatch) -> Callable[[float | None], np.ndarray]:
    """Chooses with so many seconds left, on a machine that takes 0.1 s for a picture."""
    recipe = resolve(TrainSpec(backbone="test_resnet", pretrained=False, image_size_px=32), 400, 160)
    network = Network(recipe, input_format("test_resnet"), 2)
    images = np.zeros((COMMON + RARE + 80, 32, 32, 3), np.uint8)
    now = [NOW.timestamp()]
    monkeypatch.setattr(Budget, "left_seconds", lambda self: self.deadline.timestamp() - now[0])
    passes = validate.logits_of

    def slow(network: Network, images: np.ndarray, rows: np.ndarray, journal: Journal) -> np.ndarray:
        now[0] += 0.1 * len(rows)
        return passes(network, images, rows, journal)

    monkeypatch.setattr(validate, "logits_of", slow)
    monkeypatch.setattr(validate.time, "monotonic", lambda: now[0])

    def chosen(seconds: float | None) -> np.ndarray:
        budget = Budget(None if seconds is None else NOW + timedelta(seconds=seconds))
        return affordable(network, images, data, budget, 0, journal)

    return chosen


@pytest.mark.parametrize("seconds", [None, 1000.0])
def test_where_there_is_time_for_all_all_are_seen(
    seconds: float | None, choose: Callable[..., np.ndarray], data: Audit, tmp_path: Path
) -> None:
    assert (choose(seconds) == data.rows["train"]).all()
    assert "room" not in (tmp_path / "progress.jsonl").read_text()


def test_a_short_budget_leaves_some_out_of_each_label_its_share(
    choose: Callable[..., np.ndarray], data: Audit, tmp_path: Path
) -> None:
    # 6.4 s go into the measurement, 78 s are kept for the end and 8 s for the head; 0.05 s a picture leaves 272, of which the
    # validation split takes 40.
    rows = choose(106.025)
    assert np.bincount(data.targets[rows]).tolist() == [174, 58]
    assert set(rows) <= set(data.rows["train"])
    said = (tmp_path / "progress.jsonl").read_text()
    assert "room for a head fitted to 232 of 400 training pictures, and for no fine-tuning" in said


def test_without_any_time_a_few_of_each_label_are_seen(choose: Callable[..., np.ndarray], data: Audit) -> None:
    assert np.bincount(data.targets[choose(1.0)]).tolist() == [45, 15]


def test_the_choice_follows_from_the_seed() -> None:
    rows, groups = np.arange(100), np.arange(100) % 4
    assert (stratified(rows, groups, 20, 0) == stratified(rows, groups, 20, 0)).all()
    assert (stratified(rows, groups, 20, 0) != stratified(rows, groups, 20, 1)).any()
    assert (stratified(rows, groups, 100, 0) == rows).all()


def test_a_version_comes_of_a_budget_that_was_over_before_it_began(
    squares: Callable[..., Path], job: Callable[..., JobFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = TrainSpec(backbone="test_resnet", pretrained=False, image_size_px=32, epochs=3)
    folder = job(squares({"red": 80, "blue": 80}), spec, deadline=datetime.now(UTC) - timedelta(seconds=1))
    assert main_on(folder.path, monkeypatch) == 0
    assert any("room for a head fitted to 60 of 112 training pictures" in message for message in folder.messages())
    manifest = read_manifest((folder.path / BUNDLE / MANIFEST).read_bytes())
    assert len(manifest.history) == 1
    assert manifest.evaluation.accuracy > 0.9
