"""A training that is retraced makes the same split of the same pictures, and says under which conditions it would train."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from eyasd.core import document, jobdir
from eyasd.core.bundle import MANIFEST, Manifest, read_manifest
from eyasd.core.jobs import JobError
from eyasd.core.names import ModelRef
from eyasd.core.spec import InspectionSpec, TrainSpec
from eyasd.core.tasks import InspectionOutcome, InspectionTask, TrainingTask
from eyasd.training.journal import FINE_TUNE_SHARES, Journal
from eyasd.training.ranks import Ranks
from eyasd.training.train import train

from .conftest import COLOURS, JobFolder, main_on, save_square

SPEC = TrainSpec(backbone="test_resnet", image_size_px=32, epochs=0, seed=3, test_fraction=0.3)


@pytest.fixture(scope="module")
def weights_of_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with weights of two backbones."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    for name in ("test_resnet", "test_efficientnet"):
        save_file(timm.create_model(name, num_classes=0).state_dict(), folder / f"{name}.safetensors")
    return folder


@pytest.fixture
def weights(weights_of_two: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    return Path(shutil.copytree(weights_of_two, tmp_path / "weights"))


@pytest.fixture
def retraced(tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., JobFolder]:
    """Retraces the training of a manifest, and returns its folder."""

    def run(manifest: Manifest, dataset: Path | None = None) -> JobFolder:
        folder = tmp_path / "retraced"
        shutil.rmtree(folder, ignore_errors=True)
        (folder / jobdir.BASE).mkdir(parents=True)
        (folder / jobdir.BASE / MANIFEST).write_text(document.dump(manifest))
        spec = InspectionSpec(manifest.lineage.backbone, manifest.lineage.seed, ModelRef("squares", version=1))
        place = str(dataset or manifest.lineage.dataset)
        task = InspectionTask(job="j2", attempt=1, dataset=place, spec=spec, weights=str(weights), hub=False)
        (folder / jobdir.INSPECTION).write_text(document.dump(task))
        main_on(folder, monkeypatch)
        return JobFolder(folder)

    return run


@pytest.fixture(scope="module")
def trained(weights_of_two: Path, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Of a training on squares, which are not to be changed."""
    folder = tmp_path_factory.mktemp("trained")
    for seed, (label, colour) in enumerate(list(COLOURS.items()) * 12):
        save_square(folder / "data" / label / f"{seed}.png", colour, seed)
    place = str(folder / "data")
    task = TrainingTask(job="j1", attempt=1, model="squares", dataset=place, spec=SPEC, weights=str(weights_of_two), hub=False)
    train(task, folder, Journal(folder / jobdir.PROGRESS, FINE_TUNE_SHARES), Ranks())
    return read_manifest((folder / jobdir.BUNDLE / MANIFEST).read_bytes())


@pytest.fixture
def made(trained: Manifest, tmp_path: Path) -> Manifest:
    """Of a training on squares that are this test's own."""
    data = shutil.copytree(trained.lineage.dataset, tmp_path / "data")
    return replace(trained, lineage=replace(trained.lineage, dataset=str(data)))


def outcome(job: JobFolder) -> InspectionOutcome:
    return document.load(InspectionOutcome, (job.path / jobdir.RESULT).read_bytes())


@pytest.mark.parametrize("backbone", ["test_resnet", "test_resnet,test_efficientnet"])
def test_nothing_has_changed(
    squares: Callable[..., Path],
    finished: Callable[..., JobFolder],
    weights: Path,
    retraced: Callable[..., JobFolder],
    backbone: str,
) -> None:
    manifest = finished(squares(), replace(SPEC, backbone=backbone), weights=weights).manifest()
    job, lineage = retraced(manifest), manifest.lineage
    found = outcome(job)
    assert (found.dataset_report.digest, found.dataset_report.split_sizes) == (
        manifest.dataset_report.digest,
        manifest.dataset_report.split_sizes,
    )
    assert found.conditions is not None
    assert (found.conditions.code_version, found.conditions.packages) == (lineage.code_version, lineage.packages)
    assert (found.conditions.device, found.conditions.weights_source) == (lineage.device, lineage.weights_source)
    assert job.stages() == ["audit", "decode"]


def test_a_picture_more_or_another_seed_is_another_digest(made: Manifest, retraced: Callable[..., JobFolder]) -> None:
    other_seed = replace(made, lineage=replace(made.lineage, seed=4))
    assert outcome(retraced(other_seed)).dataset_report.digest != made.dataset_report.digest
    save_square(Path(made.lineage.dataset) / "red" / "more.png", (220, 30, 30), 999)
    assert outcome(retraced(made)).dataset_report.digest != made.dataset_report.digest


def test_a_dataset_that_moved_is_the_same(made: Manifest, retraced: Callable[..., JobFolder], tmp_path: Path) -> None:
    Path(made.lineage.dataset).rename(tmp_path / "moved")
    assert outcome(retraced(made, tmp_path / "moved")).dataset_report.digest == made.dataset_report.digest


def test_a_dataset_that_would_be_refused_is_refused(made: Manifest, retraced: Callable[..., JobFolder]) -> None:
    for file in sorted((Path(made.lineage.dataset) / "red").iterdir())[1:]:
        file.unlink()
    error = document.load(JobError, (retraced(made).path / jobdir.ERROR).read_bytes())
    assert error.reason == "BAD_DATASET"


def test_weights_are_looked_for_where_a_training_would_take_them(
    made: Manifest, retraced: Callable[..., JobFolder], weights: Path
) -> None:

    def source(manifest: Manifest) -> str | None:
        conditions = outcome(retraced(manifest)).conditions
        return conditions.weights_source if conditions else "no conditions"

    assert source(replace(made, lineage=replace(made.lineage, weights_source=""))) == ""
    warm = replace(made.lineage, base_version=ModelRef("squares", version=1))
    assert source(replace(made, lineage=warm)) is None
    (weights / "test_resnet.safetensors").write_bytes(b"others")
    assert source(made) not in {made.lineage.weights_source, None}
    (weights / "test_resnet.safetensors").unlink()
    assert source(made) is None
