"""A version is trained again with captured pictures: its test split stays, some are held out, and the gate tells the gain."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from tests.unit.training.conftest import COLOURS, save_square
from tests.unit.training.head.test_warm import said

from eyasd.core import jobdir
from eyasd.core.answers import ANSWERS, KeptAnswers, fingerprints
from eyasd.core.bundle import MANIFEST, MODEL, REPORT, WEIGHTS, Manifest, read_manifest
from eyasd.core.errors import BadDataset
from eyasd.core.frozen import FrozenList, FrozenPicture
from eyasd.core.names import ModelRef
from eyasd.core.spec import InspectionSpec, TrainSpec
from eyasd.core.tasks import InspectionTask, TrainingTask
from eyasd.training.data.listing import File
from eyasd.training.gate import right_answers
from eyasd.training.journal import FINE_TUNE_SHARES, RETRACING_SHARES, Journal
from eyasd.training.ranks import Ranks
from eyasd.training.retrace import retrace
from eyasd.training.train import train

TINY = {"backbone": "test_resnet", "pretrained": False, "image_size_px": 32, "batch_size": 8}
BASE = ModelRef("squares", version=3)
LIST = "a" * 64


def run(folder: Path, dataset: Path, spec: TrainSpec) -> Manifest:
    folder.mkdir(exist_ok=True)
    base = BASE if (folder / jobdir.BASE).exists() else None
    task = TrainingTask(job="j1", attempt=1, model="squares", dataset=str(dataset), spec=spec, hub=False, base_version=base)
    train(task, folder, Journal(folder / jobdir.PROGRESS, FINE_TUNE_SHARES), Ranks())
    return read_manifest((folder / jobdir.BUNDLE / MANIFEST).read_bytes())


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version that tells squares by their colours, and the 108 that it was made with."""
    root = tmp_path_factory.mktemp("first")
    for label, colour in COLOURS.items():
        for seed in range(36):
            save_square(root / "data" / label / f"{seed:02}.png", colour, 100 * len(label) + seed)
    run(root / "job", root / "data", TrainSpec(**TINY, epochs=0, test_fraction=0.35))
    return root


@pytest.fixture
def again(tmp_path: Path, first: Path) -> Callable[..., Manifest]:
    """Trains it again in `job`, with what is captured: squares whose colours are called otherwise than they were."""

    def trained(labels: dict[str, str], **wishes: object) -> Manifest:
        folder = tmp_path / "job"
        (folder / jobdir.BASE).mkdir(parents=True)
        (folder / jobdir.CAPTURED).mkdir()
        for name in (MANIFEST, WEIGHTS, MODEL, ANSWERS):
            shutil.copy(first / "job" / jobdir.BUNDLE / name, folder / jobdir.BASE)
        pictures = []
        for number, (colour, label) in enumerate(pair for pair in labels.items() for _ in range(20)):
            save_square(tmp_path / "one.png", tuple(channel // 3 for channel in COLOURS[colour]), 5000 + number)
            content = (tmp_path / "one.png").read_bytes()
            name = hashlib.sha256(content).hexdigest()[:24]
            (folder / jobdir.CAPTURED / name).write_bytes(content)
            pictures.append(FrozenPicture(name, (label,), datetime(2026, 11, 26, tzinfo=UTC) + timedelta(hours=number)))
        listed = FrozenList("squares", tuple(sorted(pictures, key=lambda one: one.id)))
        (folder / jobdir.CAPTURED / jobdir.CAPTURED_LIST).write_bytes(listed.to_bytes())
        return run(folder, first / "data", TrainSpec(batch_size=8, add_captured=LIST, **wishes))

    return trained


def test_it_learns_what_was_captured_and_the_gate_tells_the_gain(
    again: Callable[..., Manifest], first: Path, tmp_path: Path
) -> None:
    labels = {"red": "dark", "green": "dark", "blue": "dark"}
    manifest = again(labels, epochs=6, learning_rate=3e-3)
    assert manifest.labels == ("blue", "dark", "green", "red")
    gate = manifest.gate
    assert gate is not None
    assert (gate.base, gate.added) == (BASE, 60 - 18)
    assert gate.captured.pairs.count == 18
    assert gate.captured.pairs.both == gate.captured.pairs.first == 0  # of a label that the base does not know
    assert gate.captured.pairs.second >= 9
    assert gate.captured.finding.met

    before, after = (
        KeptAnswers.from_bytes((place / jobdir.BUNDLE / ANSWERS).read_bytes()) for place in (first / "job", tmp_path / "job")
    )
    assert sorted(after.picture) == sorted(before.picture)
    assert (
        manifest.evaluation.test_split
        == read_manifest((first / "job" / jobdir.BUNDLE / MANIFEST).read_bytes()).evaluation.test_split
    )
    assert gate.test.pairs.count == len(before.picture) >= 30
    kept = fingerprints(
        hashlib.sha256(file.read_bytes()).hexdigest() for file in (tmp_path / "job" / jobdir.CAPTURED).glob("[0-9a-f]*")
    )
    assert set(after.captured) < set(kept)
    assert not np.isin(after.captured, after.used).any()
    assert np.isin(before.train, after.train).all()
    assert manifest.lineage.recipe["captured_weight"] == "4.0"
    assert f"Regression gate {'passed' if gate.passed else 'not passed'}: " in said(tmp_path / "job")
    report = (tmp_path / "job" / jobdir.BUNDLE / REPORT).read_text()
    assert "held-out captured pictures" in report
    assert gate.captured.finding.sentence in report

    # Who goes its way again has the same split.
    way = tmp_path / "way"
    shutil.copytree(tmp_path / "job" / jobdir.CAPTURED, way / jobdir.CAPTURED)
    shutil.copy(first / "job" / jobdir.BUNDLE / ANSWERS, way / jobdir.CAPTURED)
    (way / jobdir.BASE).mkdir()
    shutil.copy(tmp_path / "job" / jobdir.BUNDLE / MANIFEST, way / jobdir.BASE)
    task = InspectionTask(
        job="j2", attempt=1, dataset=str(first / "data"), spec=InspectionSpec(version=ModelRef("squares", version=4))
    )
    found = retrace(task, way, Journal(way / jobdir.PROGRESS, RETRACING_SHARES))
    assert found.dataset_report.digest == manifest.dataset_report.digest


def test_an_answer_is_right_by_the_names_of_labels_which_a_version_need_not_know() -> None:
    files = [File(Path("x"), "x", labels, None) for labels in (("hat",), ("scarf",), ("hat", "red"), ())]
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.8, 0.7], [0.2, 0.3]], np.float32)
    assert right_answers(probabilities, ("hat", "red"), None, files).tolist() == [True, False, False, False]
    assert right_answers(probabilities, ("hat", "red"), (0.5, 0.6), files).tolist() == [True, False, True, True]


def test_a_dataset_that_lost_the_test_split_is_told_before_anything_is_trained(
    again: Callable[..., Manifest], first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = KeptAnswers.from_bytes((first / "job" / jobdir.BUNDLE / ANSWERS).read_bytes())
    lost = next(
        file for file in (first / "data").rglob("*.png")
        if fingerprints([hashlib.sha256(file.read_bytes()).hexdigest()])[0] in kept.picture
    )  # fmt: skip
    content = lost.read_bytes()
    lost.unlink()
    try:
        with pytest.raises(BadDataset, match="The dataset is not what squares/3 was trained on any more: it lacks 1 of the"):
            again({"red": "red"}, epochs=0)
    finally:
        lost.write_bytes(content)
