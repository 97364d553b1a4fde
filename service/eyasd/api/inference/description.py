"""What is known of a version -> its metadata, configuration and statistics. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from eyasd.api.classify import MAX_IMAGES
from eyasd.api.inference.messages import Message, ModelConfig, ModelMetadataResponse, ModelStatistics
from eyasd.api.inference.parameters import DEFAULT_LEVEL, LEVELS
from eyasd.api.inference.tensors import inputs_of, outputs_of
from eyasd.core.bundle import Manifest
from eyasd.serving.statistics import Statistics, Tally

PLATFORM: Final = "onnxruntime_onnx"
_TYPES: Final = {"BYTES": "TYPE_STRING", "UINT8": "TYPE_UINT8", "FP32": "TYPE_FP32"}


def metadata(model: str, versions: Sequence[int], manifest: Manifest) -> Message:
    """Returns the ModelMetadataResponse of one of the model's versions."""
    return ModelMetadataResponse(
        name=model,
        versions=[str(version) for version in versions],
        platform=PLATFORM,
        inputs=[{"name": t.name, "datatype": t.datatype, "shape": (-1, *t.dims)} for t in inputs_of(manifest)],
        outputs=[{"name": t.name, "datatype": t.datatype, "shape": (-1, *t.dims)} for t in outputs_of(manifest)],
    )


def config(model: str, manifest: Manifest) -> Message:
    """Returns the ModelConfig of a version, whose tensors are those of its metadata."""
    return ModelConfig(
        name=model,
        platform=PLATFORM,
        backend="onnxruntime",
        max_batch_size=MAX_IMAGES,
        # A request has one of the inputs, so each is optional to those who fill in what they are told.
        input=[{"name": t.name, "data_type": _TYPES[t.datatype], "dims": t.dims, "optional": True} for t in inputs_of(manifest)],
        output=[{"name": t.name, "data_type": _TYPES[t.datatype], "dims": t.dims} for t in outputs_of(manifest)],
        dynamic_batching={"priority_levels": LEVELS, "default_priority_level": DEFAULT_LEVEL},
    )


def model_statistics(model: str, version: int, sums: Statistics) -> Message:
    """Returns the ModelStatistics of a loaded version."""
    tallies = {
        "success": sums.answered,
        "fail": sums.failed,
        "queue": sums.queue,
        "compute_input": sums.preprocessing,
        "compute_infer": sums.inference,
        "compute_output": sums.rest,
    }
    return ModelStatistics(
        name=model,
        version=str(version),
        last_inference=round(sums.last_answer * 1000),
        inference_count=sums.images,
        execution_count=sums.batches,
        inference_stats={name: _duration(tally) for name, tally in tallies.items()},
    )


def _duration(tally: Tally) -> dict[str, int]:
    return {"count": tally.count, "ns": round(tally.seconds * 1e9)}
