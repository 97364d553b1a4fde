"""A training that is retraced makes the same split of the same pictures, and says under which conditions it would train."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from eyasd.core import document, jobdir
from eyasd.core.bundle import MANIFEST, Manifest
from eyasd.core.jobs import JobError
from eyasd.core.names import ModelRef
from eyasd.core.spec import InspectionSpec, TrainSpec
from eyasd.core.tasks import InspectionOutcome, InspectionTask

from .conftest import JobFolder, main_on, save_square

SPEC = TrainSpec(backbone="test_resnet", image_size_px=32, epochs=0, seed=3, test_fraction=0.3)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A folder with weights of two backbones."""
    (tmp_path / "weights").mkdir()
    torch.manual_seed(0)
    for name in ("test_resnet", "test_efficientnet"):
        save_file(timm.create_model(name, num_classes=0).state_dict(), tmp_path / "weights" / f"{name}.safetensors")
    return tmp_path / "weights"


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


@pytest.fixture
def made(
    squares: Callable[..., Path], finished: Callable[..., JobFolder], weights: Path
) -> Callable[[TrainSpec, Mapping[str, int] | None], Manifest]:
    """Trains on squares, and returns the manifest."""
    return lambda spec, counts=None: finished(squares(counts), spec, weights=weights).manifest()


def outcome(job: JobFolder) -> InspectionOutcome:
    return document.load(InspectionOutcome, (job.path / jobdir.RESULT).read_bytes())


@pytest.mark.parametrize("backbone", ["test_resnet", "test_resnet,test_efficientnet"])
def test_nothing_has_changed(made: Callable[..., Manifest], retraced: Callable[..., JobFolder], backbone: str) -> None:
    manifest = made(replace(SPEC, backbone=backbone))
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


def test_a_picture_more_or_another_seed_is_another_digest(
    made: Callable[..., Manifest], retraced: Callable[..., JobFolder]
) -> None:
    manifest = made(SPEC)
    other_seed = replace(manifest, lineage=replace(manifest.lineage, seed=4))
    assert outcome(retraced(other_seed)).dataset_report.digest != manifest.dataset_report.digest
    save_square(Path(manifest.lineage.dataset) / "red" / "more.png", (220, 30, 30), 999)
    assert outcome(retraced(manifest)).dataset_report.digest != manifest.dataset_report.digest


def test_a_dataset_that_moved_is_the_same(
    made: Callable[..., Manifest], retraced: Callable[..., JobFolder], tmp_path: Path
) -> None:
    manifest = made(SPEC)
    Path(manifest.lineage.dataset).rename(tmp_path / "moved")
    assert outcome(retraced(manifest, tmp_path / "moved")).dataset_report.digest == manifest.dataset_report.digest


def test_a_dataset_that_would_be_refused_is_refused(made: Callable[..., Manifest], retraced: Callable[..., JobFolder]) -> None:
    manifest = made(SPEC)
    for file in sorted((Path(manifest.lineage.dataset) / "red").iterdir())[1:]:
        file.unlink()
    error = document.load(JobError, (retraced(manifest).path / jobdir.ERROR).read_bytes())
    assert error.reason == "BAD_DATASET"


def test_weights_are_looked_for_where_a_training_would_take_them(
    made: Callable[..., Manifest], retraced: Callable[..., JobFolder], weights: Path
) -> None:
    manifest = made(SPEC)

    def source(manifest: Manifest) -> str | None:
        conditions = outcome(retraced(manifest)).conditions
        return conditions.weights_source if conditions else "no conditions"

    assert source(replace(manifest, lineage=replace(manifest.lineage, weights_source=""))) == ""
    warm = replace(manifest.lineage, base_version=ModelRef("squares", version=1))
    assert source(replace(manifest, lineage=warm)) is None
    (weights / "test_resnet.safetensors").write_bytes(b"others")
    assert source(manifest) not in {manifest.lineage.weights_source, None}
    (weights / "test_resnet.safetensors").unlink()
    assert source(manifest) is None
