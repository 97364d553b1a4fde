"""What makes the repository one of Triton's: a configuration for each model."""

from __future__ import annotations

from eyasd.core import bundle
from eyasd.core.bundle import Manifest


def triton_config(model: str, manifest: Manifest) -> str:
    """Returns the config.pbtxt with which Triton's ONNX Runtime backend serves the bundle. Its dims leave out the batch."""
    side = manifest.preprocess.crop_px
    outputs: dict[str, tuple[int, ...]] = dict.fromkeys((bundle.PROBABILITIES, bundle.LOGITS), (len(manifest.labels),))
    if manifest.feature_map:
        outputs[bundle.FEATURE_MAP] = manifest.feature_map
    rows = [f'{{ name: "{name}", data_type: TYPE_FP32, dims: [ {", ".join(map(str, dims))} ] }}' for name, dims in outputs.items()]
    if manifest.unknown and manifest.unknown.distribution:  # one number a picture, which Triton knows as a vector of one
        rows.append(f'{{ name: "{bundle.OOD_SCORE}", data_type: TYPE_FP32, dims: [ 1 ], reshape: {{ shape: [ ] }} }}')
    listed = ",\n  ".join(rows)
    return f"""name: "{model}"
backend: "onnxruntime"
max_batch_size: 64
input [{{ name: "{bundle.INPUT}", data_type: TYPE_UINT8, dims: [ {side}, {side}, 3 ] }}]
output [
  {listed}
]
dynamic_batching {{ }}
version_policy: {{ latest: {{ num_versions: 1 }} }}
"""
