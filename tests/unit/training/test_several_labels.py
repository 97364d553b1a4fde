"""A dataset whose pictures have any number of labels, from its manifest to what the served file says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import timm
from PIL import Image, ImageDraw
from safetensors.torch import save_file

from eyasd.core import document, jobdir
from eyasd.core.bundle import MANIFEST, MODEL, REPORT, Manifest, read_manifest
from eyasd.core.tasks import EvaluationOutcome, EvaluationTask, InspectionOutcome

from .conftest import error_of, main_on
from .test_program import TINY

COUNT = 120


def draw(seed: int, *, red: bool, round_: bool) -> Image.Image:
    """Returns a noisy picture of one shape, a disc or a cross, in red or blue, somewhere."""
    random = np.random.default_rng(seed)
    picture = Image.fromarray(random.integers(90, 150, (32, 32, 3), np.uint8))
    x, y = random.integers(2, 10, 2)
    colour = (230, 30, 30) if red else (30, 30, 230)
    pen = ImageDraw.Draw(picture)
    if round_:
        pen.ellipse((x, y, x + 19, y + 19), colour)
    else:
        pen.line((x, y, x + 19, y + 19), colour, 5)
        pen.line((x, y + 19, x + 19, y), colour, 5)
    return picture


@pytest.fixture(scope="module")
def manifest_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of pictures that are red or not, and round or not; a blue cross has no label."""
    root = tmp_path_factory.mktemp("shapes")
    rows = []
    for number in range(COUNT):
        red, round_ = number % 2 == 0, number % 4 < 2
        draw(number, red=red, round_=round_).save(root / f"{number:03}.png")
        rows.append({"path": f"{number:03}.png", "labels": ["red"] * red + ["round"] * round_})
    (root / "shapes.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return root / "shapes.jsonl"


@pytest.fixture(scope="module")
def trained(manifest_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a job that fitted a head on them."""
    folder = tmp_path_factory.mktemp("job")
    spec = {**TINY, "preset": "fast", "validation_fraction": 0.3}
    with pytest.MonkeyPatch.context() as patch:
        assert ask(folder, patch, manifest_file, spec=spec) == jobdir.OK
    return folder


def ask(folder: Path, monkeypatch: pytest.MonkeyPatch, dataset: Path, **task: Any) -> int:
    """Runs a training on a dataset."""
    task = {"job": "j", "attempt": 1, "model": "shapes", "dataset": str(dataset), "hub": False, **task}
    (folder / jobdir.TRAINING).write_text(json.dumps(task))
    return main_on(folder, monkeypatch)


def manifest_of(folder: Path) -> Manifest:
    return read_manifest((folder / jobdir.BUNDLE / MANIFEST).read_bytes())


def test_it_learns_both_attributes(trained: Path, manifest_file: Path) -> None:
    manifest = manifest_of(trained)
    assert manifest.labels == ("red", "round")
    assert manifest.lineage.recipe["loss"] == "binary_cross_entropy"
    assert manifest.evaluation.accuracy >= 0.9
    for counts in manifest.dataset_report.labels:
        assert (counts.train, counts.validation, counts.test) == pytest.approx((33, 18, 9), abs=2)
    # A picture that no test has seen, of each kind; the served file says which labels reach their thresholds.
    session = onnxruntime.InferenceSession(str(trained / jobdir.BUNDLE / MODEL))
    kinds = [(red, round_) for red in (True, False) for round_ in (True, False)]
    images = np.stack([np.asarray(draw(1000, red=red, round_=round_)) for red, round_ in kinds])
    (probabilities,) = session.run(["probabilities"], {"images": images})
    assert manifest.thresholds is not None
    assert [tuple(row) for row in probabilities >= np.array(manifest.thresholds)] == kinds


def test_the_thresholds_are_wherever_they_are_needed(trained: Path) -> None:
    manifest = manifest_of(trained)
    assert manifest.thresholds is not None
    assert all(0 < threshold < 1 for threshold in manifest.thresholds)
    assert tuple(row.threshold for row in manifest.evaluation.labels) == manifest.thresholds
    properties = {p.key: p.value for p in onnx.load(str(trained / jobdir.BUNDLE / MODEL)).metadata_props}
    assert json.loads(properties["eyas.thresholds"]) == list(manifest.thresholds)


def test_the_report_shows_what_each_label_is_measured_by(trained: Path) -> None:
    text = (trained / jobdir.BUNDLE / REPORT).read_text()
    assert "Applies from" in text
    assert "What was taken for what" not in text


def test_a_fine_tuning_mixes_several_labels_too(manifest_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = {**TINY, "epochs": 2, "mixup_alpha": 0.2, "class_weight_power": 0.5, "label_smoothing": 0.05}
    assert ask(tmp_path, monkeypatch, manifest_file, spec=spec) == jobdir.OK
    manifest = manifest_of(tmp_path)
    assert [epoch.epoch for epoch in manifest.history] == [0, 1, 2]
    assert manifest.evaluation.mean_average_precision is not None
    assert manifest.evaluation.mean_average_precision >= 0.9


def test_a_loss_of_one_label_a_picture_is_refused(manifest_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask(tmp_path, monkeypatch, manifest_file, spec={**TINY, "loss": "cross_entropy"}) == jobdir.USER_ERROR
    assert error_of(tmp_path).message.startswith("loss is cross_entropy, but the pictures of this dataset have several labels")


def test_an_inspection_counts_every_picture_once(manifest_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_file(timm.create_model("test_resnet", num_classes=0).state_dict(), tmp_path / "test_resnet.safetensors")
    spec = {"backbone": "test_resnet"}
    task = {"job": "j", "attempt": 1, "dataset": str(manifest_file), "spec": spec, "weights": str(tmp_path), "hub": False}
    (tmp_path / jobdir.INSPECTION).write_text(json.dumps(task))
    assert main_on(tmp_path, monkeypatch) == jobdir.OK
    report = document.load(InspectionOutcome, (tmp_path / jobdir.RESULT).read_bytes()).dataset_report
    sizes = report.split_sizes
    assert sizes is not None
    assert sizes.train + sizes.validation + sizes.test == COUNT  # a fourth is counted under both labels, a fourth under none
    assert [(c.label, c.train + c.validation + c.test) for c in report.labels] == [("red", 60), ("round", 60)]
    assert report.suspects is None


class TestEvaluation:
    def evaluated(self, bundle: Path, dataset: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
        shutil.copytree(bundle, folder / jobdir.BUNDLE)
        task = EvaluationTask(job="j", attempt=1, model="shapes/1", dataset=str(dataset))
        (folder / jobdir.EVALUATION).write_text(document.dump(task))
        return main_on(folder, monkeypatch)

    def test_on_several_labels(self, trained: Path, manifest_file: Path, tmp_path: Path, monkeypatch) -> None:
        assert self.evaluated(trained / jobdir.BUNDLE, manifest_file, tmp_path, monkeypatch) == jobdir.OK
        found = document.load(EvaluationOutcome, (tmp_path / jobdir.RESULT).read_bytes()).evaluation
        assert found.examples == COUNT
        assert found.accuracy >= 0.9
        assert tuple(row.threshold for row in found.labels) == manifest_of(trained).thresholds

    def test_one_label_a_picture_is_a_set_of_one(self, trained: Path, tmp_path: Path, monkeypatch) -> None:
        for number in range(8):
            path = tmp_path / "data" / ("red", "round")[number % 2] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            draw(2000 + number, red=number % 2 == 0, round_=True).save(path)  # each is round, but only half are said to be
        assert self.evaluated(trained / jobdir.BUNDLE, tmp_path / "data", tmp_path, monkeypatch) == jobdir.OK
        found = document.load(EvaluationOutcome, (tmp_path / jobdir.RESULT).read_bytes()).evaluation
        assert (found.examples, found.accuracy) == (8, 0.5)
        assert [(row.label, row.examples, row.precision) for row in found.labels] == [("red", 4, 1.0), ("round", 4, 0.5)]

    def test_a_model_of_one_label_a_picture_refuses_several(self, tiny_bundle: Path, tmp_path: Path, monkeypatch) -> None:
        (tmp_path / "some.csv").write_text(f"path,labels\n{tmp_path}/some.csv,red\nb.png,red|blue\n")
        assert self.evaluated(tiny_bundle, tmp_path / "some.csv", tmp_path / "job", monkeypatch) == jobdir.USER_ERROR
        assert error_of(tmp_path / "job").message.startswith(
            "'b.png' has 2 labels, but shapes/1 gives every picture one: name a dataset"
        )
