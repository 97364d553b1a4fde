"""The trained network as one ONNX file, and the proof that it answers as the network does.

The proof is needed: exporters have written plausible files with wrong weights (pytorch/pytorch#169178 and #166797, both from a
fusion of batch normalisation in onnxscript before 0.7).
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

from eyasd.core.bundle import INPUT, LOGITS, OOD_SCORE, Parity
from eyasd.core.errors import ParityFailed
from eyasd.core.graph import check_graph
from eyasd.training.network import Servable
from eyasd.training.outcome.session import open_session

OPSET: Final = 18  # what the exporter translates to natively; every ONNX Runtime since 1.14 reads it
MAX_LOGIT_DIFFERENCE: Final = 1e-3
# Of a score, whose parts are in units of their spread over known pictures: relative to it, where it is more than one.
MAX_SCORE_DIFFERENCE: Final = 1e-2
PARITY_EXAMPLES: Final = 256
# One by one, an odd number that leaves a rest, and what a server with a GPU runs at the most by default.
PARITY_BATCH_SIZES: Final = (1, 3, 32)


def to_onnx(module: nn.Module, example: torch.Tensor, path: Path, outputs: Sequence[str], metadata: Mapping[str, str]) -> None:
    """Writes a module of one input as one ONNX file with a free batch size.

    Args:
        module: in evaluation mode, on the CPU.
        example: an input [N, ...], of pictures [N, H, W, 3]; its first size is free in the file.
        path: of the file.
        outputs: names of the outputs.
        metadata: goes into the file's `metadata_props`.
    """
    exporter_log = logging.getLogger("torch.onnx")
    level = exporter_log.level
    exporter_log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # The exporter warns of its own internals (deprecated pytree calls, the opset's version conversion).
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                # Of channels that lie last, pooling is written as strides, which are computed from the batch size in eight nodes;
                # on CUDA they run on the CPU, and such a graph cannot be captured.
                copy.deepcopy(module).to(memory_format=torch.contiguous_format),
                # With an example of one picture the exporter would take the batch size for a constant.
                (_channels_first(example.repeat(2, *[1] * (example.dim() - 1))),),
                dynamo=True,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=list(outputs),
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                verbose=False,
            )
    finally:
        exporter_log.setLevel(level)
    if program is None:
        raise RuntimeError("torch.onnx.export returned no program")
    model = program.model_proto
    for node in (*model.graph.node, *(node for function in model.functions for node in function.node)):
        del node.metadata_props[:]  # stack traces, with the paths of this machine
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)
    # One file, weights inside: nothing can go missing beside it. protobuf ends at 2 GB, four times VGG-16.
    onnx.save_model(model, str(path), save_as_external_data=False)


def _channels_first(images: torch.Tensor) -> torch.Tensor:
    """Returns the same values; pictures [N, H, W, 3] so that in memory their channels come before their rows."""
    return images.movedim(-1, 1).contiguous().movedim(1, -1) if images.dim() == 4 else images


def check_signature(path: Path, crop_px: int, outputs: Mapping[str, Sequence[int]]) -> None:
    """Refuses a file whose inputs and outputs are not those of a bundle, or that a server would not load.

    Args:
        path: of the file.
        crop_px: side of its pictures.
        outputs: names of the outputs that it must have, with the sizes of each without N.

    Raises:
        ParityFailed: the batch size is fixed, or a name, type or shape is another.
        BrokenBundle: it holds what no server loads, such as a loop.
    """
    check_graph(path.read_bytes(), path.name)
    graph = onnx.load(str(path), load_external_data=False).graph
    described = {value.name: value.type.tensor_type for value in (*graph.input, *graph.output)}
    expected = {INPUT: (onnx.TensorProto.UINT8, [crop_px, crop_px, 3])}
    expected |= {name: (onnx.TensorProto.FLOAT, list(sizes)) for name, sizes in outputs.items()}
    for name, (kind, sizes) in expected.items():
        tensor = described.get(name)
        if tensor is None or tensor.elem_type != kind:
            raise ParityFailed(f"The exported file has no {name!r} of the type a bundle needs.")
        batch, *rest = tensor.shape.dim
        if not batch.dim_param or [dim.dim_value for dim in rest] != sizes:
            raise ParityFailed(f"The exported file's {name!r} has not the shape [N, {', '.join(map(str, sizes))}] with a free N.")


def prove_parity(servable: Servable, path: Path, images: NDArray[np.uint8]) -> Parity:
    """Compares the network in torch and the file in ONNX Runtime on real pictures, both on the CPU in float32.

    Every picture is compared in every batch size: one that the exporter took for a constant shows itself there.

    Args:
        servable: in evaluation mode, on the CPU.
        path: of the file.
        images: uint8 [N, H, W, 3].

    Raises:
        ParityFailed: a logit differs by more than MAX_LOGIT_DIFFERENCE, or a score, if there is one, by MAX_SCORE_DIFFERENCE.
    """
    session = open_session(path)
    sizes = tuple(sorted({min(size, len(images)) for size in PARITY_BATCH_SIZES}))
    names = [name for name in (LOGITS, OOD_SCORE) if name in servable.outputs]
    reference = _joined(_in_torch(servable, names, batch) for batch in _batches(images, sizes[-1]))
    found = [_joined(session.run(names, {INPUT: batch}) for batch in _batches(images, size)) for size in sizes]
    gaps = [[np.abs(one - true) for one, true in zip(said, reference, strict=True)] for said in found]
    difference, *scores = (np.stack(of_each_size) for of_each_size in zip(*gaps, strict=True))
    largest = float(difference.max())
    _check(largest, MAX_LOGIT_DIFFERENCE, "a logit")
    # A score has no upper bound, and is far beyond one for most pictures where the validation pictures are all alike.
    largest_score = max((float((score / np.maximum(1, np.abs(reference[1]))).max()) for score in scores), default=None)
    if largest_score is not None:
        _check(largest_score, MAX_SCORE_DIFFERENCE, "a score")
    return Parity(len(images), largest, float(difference.mean()), sizes, largest_score)


def _check(largest: float, allowed: float, noun: str) -> None:
    if not largest <= allowed:  # the form that NaN fails, too
        raise ParityFailed(
            f"The exported file differs from the trained network by {largest:.3g} on {noun}, {allowed:g} is allowed; "
            "it was not published. Report this with the name of the backbone and the versions of torch and onnxscript."
        )


def _batches(images: NDArray[np.uint8], size: int) -> Iterator[NDArray[np.uint8]]:
    return (images[start : start + size] for start in range(0, len(images), size))


def _in_torch(servable: Servable, names: Sequence[str], images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    """Returns the outputs of these names."""
    with torch.inference_mode():
        outputs = dict(zip(servable.outputs, servable(torch.from_numpy(np.ascontiguousarray(images))), strict=True))
    return [outputs[name].numpy() for name in names]


def _joined(batches: Iterable[Sequence[NDArray[np.float32]]]) -> list[NDArray[np.float32]]:
    """Returns each output of all batches."""
    return [np.concatenate(output) for output in zip(*batches, strict=True)]
