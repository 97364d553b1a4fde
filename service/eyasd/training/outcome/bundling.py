"""Writes a bundle: the model is there already, the manifest comes last."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from eyasd.core import document
from eyasd.core.bundle import GOLDEN, MANIFEST, MODEL, REPORT, Golden, Manifest, file_digests
from eyasd.training import durable
from eyasd.training.outcome.report.material import Material
from eyasd.training.outcome.report.page import render


def write_bundle(folder: Path, model: str, manifest: Manifest, golden: Golden, material: Material) -> None:
    """Completes a bundle.

    Args:
        folder: of the bundle; model.onnx and weights.safetensors lie in it.
        model: name of the model, for the report.
        manifest: complete but for the digests and the size, which are filled in.
        golden: a few real inputs and what the file answers.
        material: what the report shows beside the manifest.
    """
    manifest = replace(manifest, model_bytes=(folder / MODEL).stat().st_size)
    durable.write(folder / GOLDEN, golden.to_bytes())
    durable.write(folder / REPORT, render(model, manifest, material).encode())
    manifest = replace(manifest, files=file_digests(folder))
    durable.write(folder / MANIFEST, document.dump(manifest).encode())
