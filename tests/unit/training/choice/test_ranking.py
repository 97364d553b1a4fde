"""Which backbone a training goes on with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from tests.unit.training.conftest import JobFolder

from eyasd.core import jobdir
from eyasd.core.bundle import MODEL, REPORT
from eyasd.core.choices import RankedBackbone
from eyasd.core.errors import InvalidArgument, WeightsNotFound
from eyasd.core.findings import DatasetReport
from eyasd.core.spec import TrainSpec
from eyasd.training.choice import ranking
from eyasd.training.choice.ranking import Cost, candidates, described, no_room, pick, restricted, sampled
from eyasd.training.data.audit import Audit
from eyasd.training.network import input_format, multiply_adds


def losses_of(*shift: float, noise: float = 0.0) -> np.ndarray:
    """Losses of 100 pictures: the same for all backbones, but for a shift and a little of its own."""
    common = np.random.default_rng(0).exponential(1.0, 100)
    own = np.random.default_rng(1).normal(0, 1, 100)
    return common + sum(shift) + noise * (own - own.mean()) / own.std(ddof=1)


class TestPick:
    def test_a_clear_winner(self) -> None:
        winner, errors = pick({"quick": losses_of(0.2, noise=0.1), "slow": losses_of()})
        assert winner == "slow"
        assert errors["slow"] == 0
        assert errors["quick"] == pytest.approx(0.01, rel=1e-3)

    def test_within_one_standard_error_the_quicker_one_wins(self) -> None:
        # The losses themselves differ by 1 from picture to picture; what counts is how the difference varies.
        assert pick({"quick": losses_of(0.008, noise=0.1), "slow": losses_of()})[0] == "quick"
        assert pick({"quick": losses_of(0.02, noise=0.1), "slow": losses_of()})[0] == "slow"

    def test_of_equals_the_quickest(self) -> None:
        assert pick({"a": losses_of(), "b": losses_of(), "c": losses_of()})[0] == "a"

    def test_one_picture_has_no_spread(self) -> None:
        assert pick({"a": np.array([1.0]), "b": np.array([0.5])}) == ("b", {"a": 0.0, "b": 0.0})


class TestRoom:
    def test_what_fits_is_tried(self) -> None:
        assert no_room(Cost(20, 100), left_seconds=300, ranking_seconds=60, epochs=10) == ""
        assert no_room(Cost(1e6, 1e6), left_seconds=float("inf"), ranking_seconds=float("inf"), epochs=10) == ""

    def test_too_long_to_try(self) -> None:
        assert "takes some 80 s, and 60 s of the budget" in no_room(Cost(80, 10), 300, 60, 10)
        assert "and 0 s of the budget" in no_room(Cost(80, 10), 300, -3, 10)

    def test_too_slow_to_train(self) -> None:
        assert "its epochs take some 200 s, and the budget has no room for 2" in no_room(Cost(20, 200), 300, 60, 10)
        assert no_room(Cost(20, 200), 300, 60, 1) == ""
        assert no_room(Cost(20, 1e6), 300, 60, 0) == ""


def test_the_ranking_is_told_in_sentences() -> None:
    rows = [
        RankedBackbone(backbone="a", image_size_px=224, multiply_adds=0.4, loss=0.31, standard_error=0.02, chosen=True),
        RankedBackbone(backbone="b", image_size_px=240, multiply_adds=0.6, loss=0.3, standard_error=0.0),
        RankedBackbone(backbone="c", image_size_px=260, multiply_adds=0.9, left_out="it is too slow"),
    ]
    assert described(rows) == (
        "Validation loss of a head on the frozen features: b 0.300, a 0.310. c was left out: it is too slow. "
        "The training goes on with a, the quickest within one standard error (0.020) of the least."
    )
    assert described([replace(rows[1], chosen=True)]).endswith("The training goes on with b.")


class TestSample:
    @pytest.fixture
    def data(self) -> Audit:
        targets = np.array([0, 0, 0, 1] * 250)
        rows = np.arange(1000)
        splits = {"train": rows[200:], "validation": rows[100:200], "test": rows[:100]}
        return Audit(("a", "b"), splits, targets, rows, np.zeros(1000, np.bool_), DatasetReport((), (), (), ""))

    def test_each_label_by_its_share(self, data: Audit) -> None:
        rows = sampled(data, 90, seed=0)
        assert len(rows) == len(set(rows)) == 90
        part = restricted(data, rows)
        assert {split: len(part.rows[split]) for split in part.rows} == {"train": 80, "validation": 10, "test": 0}
        assert np.bincount(part.targets[part.rows["train"]]).tolist() == [60, 20]
        assert set(rows[part.rows["validation"]]) <= set(data.rows["validation"])
        assert (part.units == rows).all()

    def test_it_follows_from_the_seed(self, data: Audit) -> None:
        assert (sampled(data, 90, 0) == sampled(data, 90, 0)).all()
        assert (sampled(data, 90, 0) != sampled(data, 90, 1)).any()


class TestCandidates:
    def test_names_and_the_default(self) -> None:
        assert candidates(None, None) == ("tf_efficientnet_lite0",)
        assert candidates("test_vit, test_resnet,test_vit", None) == ("test_vit", "test_resnet")

    def test_auto_is_all_whose_weights_are_at_hand(self, tmp_path: Path) -> None:
        for name in ("test_resnet.safetensors", "test_vit.pth", "notes.txt", "unknown.pth"):
            (tmp_path / name).write_bytes(b"")
        packaged = tuple(f"tf_efficientnet_lite{size}" for size in range(3))
        assert candidates("auto", None) == packaged
        assert candidates("auto", str(tmp_path)) == ("test_resnet", "test_vit", *packaged)
        assert candidates("auto", str(tmp_path / "test_vit.pth")) == ("test_vit",)

    def test_none_at_hand(self, tmp_path: Path) -> None:
        (tmp_path / "mine.pth").write_bytes(b"")
        with pytest.raises(WeightsNotFound, match="No pre-trained weights are at hand for backbone auto"):
            candidates("auto", str(tmp_path / "mine.pth"))

    def test_no_backbone(self) -> None:
        with pytest.raises(InvalidArgument, match="'resnet05' is not the name of a backbone"):
            candidates("test_resnet,resnet05", None)


def test_work_is_counted_not_timed() -> None:
    # He et al., 2016: 4.1 billion for ResNet-50 in timm's form.
    assert multiply_adds("resnet50", input_format("resnet50"), 224) == pytest.approx(4.1, abs=0.05)
    assert multiply_adds("resnet50", input_format("resnet50"), 112) == pytest.approx(4.1 / 4, rel=0.05)


class TestProgram:
    """Two tiny networks; one has the weights of noise, and sees no colours at all."""

    @pytest.fixture
    def run(self, tmp_path: Path, squares: Callable[..., Path], finished: Callable[..., JobFolder]) -> Callable[..., JobFolder]:
        weights = tmp_path / "weights"
        weights.mkdir()
        torch.manual_seed(0)
        for name in ("test_resnet", "test_efficientnet"):
            save_file(timm.create_model(name, num_classes=0).state_dict(), weights / f"{name}.safetensors")
        root = squares({"red": 16, "green": 16, "blue": 16})
        usual = {"backbone": "test_resnet,test_efficientnet", "image_size_px": 32, "batch_size": 8, "epochs": 1}

        def run_with(name: str = "job", deadline: datetime | None = None, **wishes: Any) -> JobFolder:
            return finished(root, TrainSpec(**{**usual, **wishes}), name, deadline, weights)

        return run_with

    def test_the_winner_is_trained_and_the_ranking_kept(self, run: Callable[..., JobFolder]) -> None:
        job = run()
        manifest = job.manifest()
        rows = manifest.lineage.ranking
        assert [row.backbone for row in rows] == ["test_efficientnet", "test_resnet"]  # the quickest first
        assert rows[0].multiply_adds < rows[1].multiply_adds
        chosen = [row for row in rows if row.chosen]
        assert [row.backbone for row in chosen] == [manifest.lineage.backbone] == [manifest.lineage.recipe["backbone"]]
        # The head that the winner is trained from is the one that it was judged by.
        assert manifest.history[0].loss == pytest.approx(chosen[0].loss, rel=1e-4)
        assert job.stages() == ["audit", "weights", "decode", "head", "search", "fine-tune", "export", "evaluate", "publish"]
        assert sum("Validation loss of a head on the frozen features" in message for message in job.messages()) == 1
        fractions = [line.progress.fraction for line in job.lines() if line.progress]
        assert fractions == sorted(fractions)
        report = (job.path / jobdir.BUNDLE / REPORT).read_text()
        assert "Which backbone" in report
        assert "test_efficientnet" in report

    def test_alone_and_in_a_second_attempt_a_backbone_gives_the_same_model(
        self, run: Callable[..., JobFolder], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ranked = run().manifest()
        alone = run("alone", backbone=ranked.lineage.backbone).manifest()
        assert alone.lineage.ranking == ()
        assert alone.files[MODEL] == ranked.files[MODEL]
        monkeypatch.setattr(ranking, "pick", None)  # it is not asked again
        after = run().manifest()
        assert (after.lineage.ranking, after.files[MODEL]) == (ranked.lineage.ranking, ranked.files[MODEL])

    def test_of_many_pictures_a_sample_is_judged(self, run: Callable[..., JobFolder], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ranking, "_MOST_PICTURES", 24)
        manifest = run().manifest()
        assert all(row.loss is not None for row in manifest.lineage.ranking)
        assert manifest.evaluation.examples == 6

    def test_what_the_budget_has_no_room_for_is_left_out(self, run: Callable[..., JobFolder]) -> None:
        job = run(deadline=datetime.now(UTC) + timedelta(seconds=12))  # a quarter of it is less than the fixed part of a try
        rows = job.manifest().lineage.ranking
        assert [(row.backbone, row.chosen) for row in rows] == [("test_efficientnet", True), ("test_resnet", False)]
        assert "of the budget are left for that" in rows[1].left_out
        assert any("test_resnet was left out: to try it takes some" in message for message in job.messages())

    def test_damaged_weights_leave_a_backbone_out(self, run: Callable[..., JobFolder], tmp_path: Path) -> None:
        (tmp_path / "weights" / "test_resnet.safetensors").write_bytes(b"no weights")
        rows = run(epochs=0).manifest().lineage.ranking
        assert "test_resnet.safetensors is damaged" in rows[1].left_out
        assert rows[0].chosen
