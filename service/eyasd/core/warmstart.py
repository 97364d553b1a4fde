"""What a training that starts from a version's weights takes over from it. Pure: knows manifests, not where weights lie."""

from __future__ import annotations

from dataclasses import replace

from eyasd.core.bundle import WEIGHTS, Manifest
from eyasd.core.errors import InvalidArgument
from eyasd.core.spec import TrainSpec


def inherited(spec: TrainSpec, base: Manifest, reference: str) -> TrainSpec:
    """Returns the hyper-parameters with the backbone and the image size of the version that the weights are of.

    Args:
        spec: as asked for.
        base: manifest of the version.
        reference: its short name, for messages.

    Raises:
        InvalidArgument: it has no weights to start from, or what was asked for contradicts them.
    """
    if WEIGHTS not in base.files:
        raise InvalidArgument(
            "base_version",
            f"{reference} was published without {WEIGHTS}, so nothing can start from it: train it again, or name another version.",
        )
    if not spec.pretrained:
        raise InvalidArgument(
            "spec.pretrained", f"pretrained is false, but {reference} is what to start from: leave one of the two out."
        )
    backbone, px = base.lineage.backbone, base.preprocess.crop_px
    if spec.backbone not in (None, backbone):
        raise InvalidArgument("spec.backbone", f"backbone is {spec.backbone}, but that of {reference} is {backbone}: leave it out.")
    if spec.image_size_px not in (None, px):
        raise InvalidArgument(
            "spec.image_size_px", f"image_size_px is {spec.image_size_px}, but that of {reference} is {px}: leave it out."
        )
    return replace(spec, backbone=backbone, image_size_px=px)
