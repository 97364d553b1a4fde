"""Networks: what an ONNX file may hold, read from its bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import onnx

from builders import colour_network
from eyasd.core.errors import BrokenBundle
from eyasd.core.graph import OPERATORS, check_graph
from fuzz.target import Target, sentence
from hostile.networks import chain, refused

_MOST: Final = 4_096


def check_network(data: bytes) -> None:
    """A file is refused with a sentence, or holds for protobuf, and so for ONNX Runtime, nothing that was not seen here."""
    try:
        check_graph(data, "model.onnx")
    except BrokenBundle as error:
        sentence(error.message)
        return
    try:
        found = onnx.load_from_string(data)
    except Exception:  # noqa: BLE001 - of protobuf, which has several
        return
    nodes = found.graph.node
    assert not any(attribute.HasField("g") or attribute.graphs for node in nodes for attribute in node.attribute)
    assert not found.functions
    assert not found.training_info
    assert not found.graph.sparse_initializer
    tensors = [
        *found.graph.initializer,
        *(one.t for node in nodes for one in node.attribute),
        *(t for node in nodes for one in node.attribute for t in one.tensors),
    ]
    assert not any(tensor.external_data or tensor.data_location for tensor in tensors)
    assert all(node.domain in {"", "ai.onnx"} and node.op_type in OPERATORS for node in nodes)
    # No tensor claims more than the file has room for, at half a byte an element.
    for tensor in tensors:
        count = 1
        for size in tensor.dims:
            assert size >= 0
            count *= size
        assert count <= 2 * len(data)


def _seeds() -> Iterator[bytes]:
    yield colour_network()
    yield colour_network(maps=True, ood_score=True)
    yield chain(5)
    yield from (model for model in refused().values() if len(model) <= _MOST)


TARGETS: Final = (
    Target(
        "graphs",
        check_network,
        _seeds,
        (b"Loop", b"If", b"Scan", b"Constant", b"MatMul", b"ai.onnx", b"com.microsoft", b"\x3a", b"\x0a", b"\x72"),
        most_bytes=_MOST,
    ),
)
