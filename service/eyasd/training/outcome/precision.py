"""model.onnx in other precisions: int8 by ONNX Runtime's static quantisation, fp16 by its converter.

Both change the body of the network alone. What is before its first convolution or matrix product (normalisation), its head, softmax
and temperature, and whatever else follows from features or logits, stays in 32 bits: it costs next to nothing, and decides most.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.calibrate import create_calibrator
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.float16 import convert_float_to_float16
from onnxruntime.transformers.onnx_model import OnnxModel

from eyasd.core.bundle import INPUT, LOGITS

_BATCH: Final = 8
_WEIGHTED: Final = ("Conv", "MatMul", "Gemm")
_LARGEST_FP16: Final = 65504.0
# Of what the calibration pictures reach; other pictures may reach further.
_HEADROOM: Final = 4.0


class Unsuitable(Exception):
    """A network cannot be had in a precision; says why, as what `it` is or does."""


class _Pictures(CalibrationDataReader):  # type: ignore[misc] # onnxruntime has no types
    """Hands out the calibration pictures, uint8 [N, H, W, 3]."""

    def __init__(self, images: NDArray[np.uint8]) -> None:
        self._batches: Iterator[Mapping[str, NDArray[np.uint8]]] = (
            {INPUT: images[start : start + _BATCH]} for start in range(0, len(images), _BATCH)
        )

    def get_next(self) -> Mapping[str, NDArray[np.uint8]] | None:
        """Returns the next batch, or None at the end."""
        return next(self._batches, None)


def to_int8(model: Path, path: Path, images: NDArray[np.uint8], *, weight_bits: int = 8) -> None:
    """Writes the network with weights and activations of its body in 8 bits, as pairs of QuantizeLinear and DequantizeLinear.

    Weights are symmetric, one scale a channel, activations asymmetric with the range that they have on `images`. Whoever runs it
    does so with EXACT_INT8. On the clothing photographs tf_efficientnet_lite0 with weights of 8 bits agrees with itself in 32 on
    0.985 of the validation and 0.976 of the test split, with 7 on 0.938 and 0.962, and where 8 bits are cut off on 0.938 and 0.927
    (ranges from 256 pictures). Ranges by percentiles or moving averages were no better; docs/benchmarks.md has the table.

    Args:
        model: model.onnx.
        path: of the file.
        images: uint8 [N, H, W, 3], of the training split; they set the ranges.
        weight_bits: 8, or 7, with which any x86 is at its quickest.

    Raises:
        Unsuitable: it has no body.
    """
    with TemporaryDirectory(dir=path.parent) as scratch:
        prepared = Path(scratch) / "prepared.onnx"
        nodes = _prepare(model, prepared)
        quantize_static(
            prepared,
            path,
            _Pictures(images),
            quant_format=QuantFormat.QDQ,
            nodes_to_quantize=nodes,
            per_channel=True,
            reduce_range=weight_bits < 8,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
    _finish(model, path)


def to_fp16(model: Path, path: Path, images: NDArray[np.uint8]) -> None:
    """Writes the network with its body in 16 bits; what goes in and comes out has the types of model.onnx.

    Args:
        model: model.onnx.
        path: of the file.
        images: uint8 [N, H, W, 3]; no activation on them may come near the largest number of 16 bits. That is asked in 32 bits,
            since a CPU would compute the 16 bits in 32, and see nothing.

    Raises:
        Unsuitable: an activation does, or it has no body.
    """
    with TemporaryDirectory(dir=path.parent) as scratch:
        prepared = Path(scratch) / "prepared.onnx"
        body = set(_prepare(model, prepared))
        name, largest = _largest(prepared, Path(scratch) / "observed.onnx", images)
        if not largest * _HEADROOM <= _LARGEST_FP16:  # the form that NaN fails, too
            raise Unsuitable(f"it computes with numbers up to {largest:.3g} ({name}), of which 16 bits end at {_LARGEST_FP16:g}")
        network = onnx.load(str(prepared))
        others = [node.name for node in network.graph.node if node.name not in body]
        converted = OnnxModel(convert_float_to_float16(network, keep_io_types=True, node_block_list=others))
        _spare(converted.model.graph)
        converted.topological_sort()
        onnx.save_model(converted.model, str(path))
    _finish(model, path)


def _prepare(model: Path, path: Path) -> list[str]:
    """Writes the network with constants folded and shapes inferred, and returns the names of the nodes of its body."""
    quant_pre_process(str(model), str(path), skip_symbolic_shape=True)
    network = onnx.load(str(path))
    for number, node in enumerate(network.graph.node):
        node.name = node.name or f"{node.op_type}_{number}"
    onnx.save_model(network, str(path))
    return body(network.graph)


def body(graph: onnx.GraphProto) -> list[str]:
    """Returns the names of the nodes between normalisation and head, in their order.

    The head is the matrix product with weights that is nearest before the logits.

    Raises:
        Unsuitable: there is no such product, or nothing weighted before it.
    """
    maker = {output: node for node in graph.node for output in node.output}
    weights = {initializer.name for initializer in graph.initializer}
    head, reached = None, [LOGITS]
    while reached and head is None:
        node = maker.get(reached.pop(0))
        if node is not None and node.op_type in _WEIGHTED and node.input[1] in weights:
            head = node
        elif node is not None:
            reached += node.input
    before: set[str] = _before(maker, head.input[0]) if head is not None else set()
    found: list[str] = []
    weighted: set[str] = set()  # tensors that a weighted node of the body had a part in
    for node in graph.node:
        if node.name in before and (node.op_type in _WEIGHTED or weighted.intersection(node.input)):
            found.append(node.name)
            weighted.update(node.output)
    if not found:
        raise Unsuitable("it has no convolution or matrix product before its head")
    return found


def _before(maker: Mapping[str, onnx.NodeProto], tensor: str) -> set[str]:
    """Returns the names of the nodes that a tensor is computed by."""
    names: set[str] = set()
    tensors = [tensor]
    while tensors:
        node = maker.get(tensors.pop())
        if node is not None and node.name not in names:
            names.add(node.name)
            tensors += node.input
    return names


def _largest(model: Path, scratch: Path, images: NDArray[np.uint8]) -> tuple[str, float]:
    """Returns the name of the tensor with the largest magnitude on the pictures, and that magnitude."""
    observer = create_calibrator(model, augmented_model_path=str(scratch))
    observer.collect_data(_Pictures(images))
    ranges: Any = observer.compute_data()
    reach = {name: float(np.abs(found.range_value).max()) for name, found in ranges.items()}
    return max(reach.items(), key=lambda pair: np.inf if np.isnan(pair[1]) else pair[1])


def _spare(graph: onnx.GraphProto) -> None:
    """Takes away the 16 bits between two nodes of 32, which the converter leaves there.

    That of ONNX Runtime before 1.32 also casts a tensor once for each node that reads it, under one name.
    """
    known: set[str] = set()
    for node in list(graph.node):
        if known.issuperset(node.output):
            graph.node.remove(node)  # which is its equal
        known.update(node.output)
    maker = {output: node for node in graph.node for output in node.output}
    for node in graph.node:
        before = maker.get(node.input[0]) if node.op_type == "Cast" else None
        if before is not None and before.op_type == "Cast" and before.attribute[0].i == TensorProto.FLOAT16:
            node.op_type = "Identity"
            node.input[0] = before.input[0]
            del node.attribute[:]
    used = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
    for node in [node for node in graph.node if used.isdisjoint(node.output)]:
        graph.node.remove(node)


def _finish(model: Path, path: Path) -> None:
    """Gives the file the metadata of model.onnx, and takes away what is of the converter alone."""
    network = onnx.load(str(path))
    del network.metadata_props[:]
    network.metadata_props.extend(onnx.load(str(model), load_external_data=False).metadata_props)
    del network.graph.value_info[:]
    onnx.save_model(network, str(path))
