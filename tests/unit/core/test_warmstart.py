"""core.warmstart: what a training takes over from the version that it starts from, and what contradicts it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from builders import SIDE
from eyasd.core import bundle
from eyasd.core.bundle import Manifest
from eyasd.core.errors import InvalidArgument
from eyasd.core.preprocess import Preprocess
from eyasd.core.spec import TrainSpec
from eyasd.core.warmstart import inherited


@pytest.fixture
def base(tiny_bundle: Path) -> Manifest:
    manifest = bundle.read_manifest((tiny_bundle / bundle.MANIFEST).read_bytes())
    assert manifest.preprocess.crop_px == SIDE
    return replace(manifest, preprocess=Preprocess(crop_px=64))


def test_what_is_not_asked_for_is_taken_over(base: Manifest) -> None:
    taken = TrainSpec(epochs=3, backbone="colours", image_size_px=64)
    assert inherited(TrainSpec(epochs=3), base, "colours/1") == inherited(taken, base, "colours/1") == taken


@pytest.mark.parametrize(
    ("spec", "field", "says"),
    [
        (TrainSpec(backbone="resnet50"), "spec.backbone", "backbone is resnet50, but that of colours/1 is colours: leave it out."),
        (TrainSpec(image_size_px=224), "spec.image_size_px", "image_size_px is 224, but that of colours/1 is 64: leave it out."),
        (TrainSpec(pretrained=False), "spec.pretrained", "pretrained is false, but colours/1 is what to start from"),
    ],
)
def test_what_contradicts_it_is_refused(base: Manifest, spec: TrainSpec, field: str, says: str) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        inherited(spec, base, "colours/1")
    assert refusal.value.field == field
    assert says in refusal.value.message


def test_a_version_without_weights_is_refused(base: Manifest) -> None:
    older = replace(base, files={name: digest for name, digest in base.files.items() if name != bundle.WEIGHTS})
    with pytest.raises(InvalidArgument, match=r"colours/1 was published without weights\.safetensors, .*: train it again"):
        inherited(TrainSpec(), older, "colours/1")
