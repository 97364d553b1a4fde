"""Networks made to do harm to whoever loads them: small files, each of which a checker of ONNX may well call valid."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto, helper, numpy_helper

from builders import colour_network

HUGE: Final = 2_000_000_000


def _colours() -> ModelProto:
    return onnx.load_from_string(colour_network())


def _made(change: Callable[[ModelProto], object]) -> bytes:
    """Returns the colour network, changed."""
    model = _colours()
    change(model)
    made: bytes = model.SerializeToString()
    return made


def _graph(nodes: Sequence[NodeProto], outputs: Sequence[str]) -> GraphProto:
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    return helper.make_graph(list(nodes), "inner", [], infos)


def _weight(change: Callable[[TensorProto], object]) -> bytes:
    return _made(lambda model: change(model.graph.initializer[0]))


def _node(kind: str, inputs: Sequence[str] = ("images",), domain: str = "", **attributes: object) -> bytes:
    return _made(lambda model: model.graph.node.append(helper.make_node(kind, list(inputs), ["more"], domain=domain, **attributes)))


def _loop() -> bytes:
    """A loop of 1e12 turns."""

    def change(model: ModelProto) -> None:
        body = helper.make_graph(
            [helper.make_node("Identity", ["on"], ["on_out"]), helper.make_node("Identity", ["sum"], ["sum_out"])],
            "body",
            [
                helper.make_tensor_value_info("turn", TensorProto.INT64, []),
                helper.make_tensor_value_info("on", TensorProto.BOOL, []),
                helper.make_tensor_value_info("sum", TensorProto.FLOAT, None),
            ],
            [
                helper.make_tensor_value_info("on_out", TensorProto.BOOL, []),
                helper.make_tensor_value_info("sum_out", TensorProto.FLOAT, None),
            ],
        )
        model.graph.initializer.extend(
            [numpy_helper.from_array(np.array(10**12), "turns"), numpy_helper.from_array(np.array(True), "going")]
        )
        model.graph.node.append(helper.make_node("Loop", ["turns", "going", "logits"], ["looped"], body=body))

    return _made(change)


def _function() -> bytes:
    """An operator of a domain of its own, made of others."""

    def change(model: ModelProto) -> None:
        opsets = [helper.make_opsetid("", 18)]
        model.functions.append(helper.make_function("own", "Again", ["x"], ["y"], [helper.make_node("Neg", ["x"], ["y"])], opsets))
        model.opset_import.append(helper.make_opsetid("own", 1))

    return _made(change)


def _outside(place: str) -> bytes:
    """Weights that are said to lie in another file."""

    def change(weight: TensorProto) -> None:
        weight.ClearField("raw_data")
        weight.data_location = TensorProto.EXTERNAL
        weight.external_data.add(key="location", value=place)

    return _weight(change)


def _sparse() -> bytes:
    def change(model: ModelProto) -> None:
        sparse = model.graph.sparse_initializer.add()
        sparse.values.CopyFrom(numpy_helper.from_array(np.ones(1, np.float32), "few"))
        sparse.indices.CopyFrom(numpy_helper.from_array(np.zeros(1, np.int64), "at"))
        sparse.dims.extend([HUGE])

    return _made(change)


def chain(length: int) -> bytes:
    """Returns a network of so many nodes, one after another."""

    def change(model: ModelProto) -> None:
        last = model.graph.node[-1].input[0]
        for number in range(length):
            model.graph.node.append(helper.make_node("Neg", [last], [f"n{number}"]))
            last = f"n{number}"

    return _made(change)


def claims(elements: int) -> bytes:
    """Returns a network that knows colours, and on the way to its answer makes so many numbers out of one, as it is run."""

    def change(model: ModelProto) -> None:
        graph, answer = model.graph, model.graph.node[-1]
        graph.initializer.extend(
            [
                numpy_helper.from_array(np.array([elements], np.int64), "many"),
                numpy_helper.from_array(np.array([0, 1, 2], np.int64), "all sizes"),
            ]
        )
        more = [
            helper.make_node("ReduceMax", ["logits"], ["largest"], keepdims=0),
            helper.make_node("Expand", ["largest", "many"], ["filled"]),
            helper.make_node("ReduceMin", ["filled"], ["least"], keepdims=0),
            helper.make_node("Sub", ["least", "largest"], ["nothing"]),
            helper.make_node("Add", ["logits", "nothing"], ["same"]),
        ]
        answer.input[0] = "same"
        graph.node.pop()
        graph.node.extend([*more, answer])

    return _made(change)


def refused() -> Mapping[str, bytes]:
    """Returns networks that must be refused before ONNX Runtime sees them, by what is wrong with each."""
    then = _graph([helper.make_node("Constant", [], ["c"], value_float=1.0)], ["c"])
    key = b"\x3a"  # of a model's graph, whose length follows
    plain = colour_network()
    return {
        "a loop without an end": _loop(),
        "a branch": _node("If", ["images"], then_branch=then, else_branch=then),
        "a scan": _node("Scan", body=then, num_scan_inputs=1),
        "a graph in an operator that needs none": _node("Neg", body=then),
        "an operator of somebody else's": _node("Neg", domain="com.microsoft"),
        "an operator that runs a program": _node("PythonOp", domain="org.pytorch.aten"),
        "an operator of sequences": _node("SequenceConstruct"),
        "an operator that is random": _node("RandomNormalLike"),
        "an operator that decodes files": _node("ImageDecoder"),
        "an operator whose name is odd": _node("Neg\0Loop"),
        "an operator without a name": _node(""),
        "a function": _function(),
        "a training": _made(lambda model: model.training_info.add()),
        "a sparse weight": _sparse(),
        "a sparse constant": _node("Constant", (), sparse_value=SparseTensorProto(dims=[HUGE])),
        "a weight in a parent": _outside("../../../etc/passwd"),
        "a weight at an absolute place": _outside("/etc/passwd"),
        "a weight beside it": _outside("weights.bin"),
        "a weight that is said to lie outside, nowhere": _weight(
            lambda weight: setattr(weight, "data_location", TensorProto.EXTERNAL)
        ),
        "a weight of two billion numbers": _weight(lambda weight: weight.dims.append(HUGE)),
        "a weight of a negative size": _weight(lambda weight: weight.dims.append(-1)),
        "a weight of a hundred thousand sizes": _weight(lambda weight: weight.dims.extend([1] * 100_000)),
        "a weight in segments": _weight(lambda weight: setattr(weight.segment, "end", HUGE)),
        "a constant of two billion numbers": _node("Constant", (), value=TensorProto(dims=[HUGE], data_type=TensorProto.FLOAT)),
        "two graphs that become one": plain + key + b"\x00",
        "no graph": b"",
        "a graph that is a number": b"\x38\x01",
        "a group": b"\x3b\x3c",
        "a field that nobody knows": plain + b"\xfa\x3f\x00",
        "a length beyond the end": key + b"\xff\xff\xff\xff\x0f",
        "a number without an end": b"\x08" + b"\xff" * 20,
        "a field of number 0": b"\x00\x00",
    }
