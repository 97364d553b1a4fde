"""`python -m eyasd.training JOB_DIR` of an inspection: a report, and no model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
from safetensors.torch import save_file

from eyasd.core import document, jobdir
from eyasd.core.findings import DatasetReport
from eyasd.core.spec import TrainSpec
from eyasd.core.tasks import InspectionOutcome

from .conftest import JobFolder, error_of, main_on


def report_of(folder: Path) -> DatasetReport:
    return document.load(InspectionOutcome, (folder / jobdir.RESULT).read_bytes()).dataset_report


@pytest.fixture
def inspected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Runs an inspection of a dataset with a tiny network, and returns its folder."""
    save_file(timm.create_model("test_resnet", num_classes=0).state_dict(), tmp_path / "test_resnet.safetensors")

    def run_on(dataset: Path, cache: dict[str, Any] | None = None, **spec: Any) -> Path:
        folder = tmp_path / "inspection"
        folder.mkdir()
        spec = {"backbone": "test_resnet", **spec}
        task = {"job": "j3", "attempt": 1, "dataset": str(dataset), "spec": spec, "weights": str(tmp_path), "hub": False}
        (folder / jobdir.INSPECTION).write_text(json.dumps({**task, "cache": cache}))
        main_on(folder, monkeypatch)
        return folder

    return run_on


def test_it_leaves_a_report_and_no_model(squares: Callable[..., Path], inspected: Callable[..., Path]) -> None:
    root = squares({"red": 12, "blue": 12})
    (root / "red" / "cut.png").write_bytes(b"no picture")
    moved = root / "blue" / "001.png"
    (root / "red" / "001.png").rename(moved)
    folder = inspected(root)
    report = report_of(folder)
    assert [(c.label, c.train, c.validation, c.test) for c in report.labels] == [("blue", 9, 2, 2), ("red", 7, 2, 2)]
    assert [file.path for file in report.unreadable_files] == ["red/cut.png"]
    assert report.suspects is not None
    assert report.suspects.examined == 24
    assert (report.suspects.pictures[0].path, report.suspects.pictures[0].suggested_label) == ("blue/001.png", "red")
    assert not (folder / jobdir.BUNDLE).exists()
    stages = [line.progress.stage for line in JobFolder(folder).lines() if line.progress]
    assert list(dict.fromkeys(stages)) == ["audit", "weights", "decode", "features", "suspects"]


def test_a_training_takes_the_pictures_of_an_inspection(
    squares: Callable[..., Path],
    inspected: Callable[..., Path],
    job: Callable[..., JobFolder],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root, cache = squares({"red": 12, "blue": 12}), {"folder": str(tmp_path / "cache"), "max_bytes": 10**8}
    inspected(root, cache)
    training = job(root, TrainSpec(backbone="test_resnet", pretrained=False, epochs=0))
    task = json.loads((training.path / jobdir.TRAINING).read_text())
    (training.path / jobdir.TRAINING).write_text(json.dumps({**task, "cache": cache}))
    assert main_on(training.path, monkeypatch) == jobdir.OK
    assert "Took 24 of 24 decoded pictures from the cache." in training.messages()


def test_what_a_training_would_refuse_is_inspected(squares: Callable[..., Path], inspected: Callable[..., Path]) -> None:
    report = report_of(inspected(squares({"red": 2, "blue": 12})))
    assert report.warnings[0].startswith("A training would refuse this dataset: The label 'red' has 2 distinct readable")
    assert report.suspects is None


def test_the_groups_of_a_manifest_are_kept_together(
    squares: Callable[..., Path], inspected: Callable[..., Path], tmp_path: Path
) -> None:
    files = sorted(squares({"red": 24, "blue": 24}).rglob("*.png"))
    rows = [f"{file},{file.parent.name},patient {i // 3}" for i, file in enumerate(files)]
    (tmp_path / "photos.csv").write_text("\n".join(["path,label,group", *rows]))
    report = report_of(inspected(tmp_path / "photos.csv"))
    assert [(c.train, c.validation, c.test) for c in report.labels] == [(18, 3, 3), (18, 3, 3)]


def test_a_backbone_that_is_none(squares: Callable[..., Path], inspected: Callable[..., Path]) -> None:
    error = error_of(inspected(squares(), backbone="resnet05"))
    assert "'resnet05' is not the name of a backbone" in error.message
