"""What an ONNX file may hold, read from its bytes before anything is built from it; needs neither onnx nor ONNX Runtime.

A digest tells that a file is what was published, not that whoever published it meant well. So a network is refused that could run
without an end, read another file, or claim more memory than the file has bytes: no branches, loops or functions, no operators but
those of networks for pictures, nothing outside of the file, no field that a bundle's network does not need. What is refused here is
refused before ONNX Runtime sees it; what is let through may still be no network, which ONNX Runtime then says.

Knows the wire format of protobuf (https://protobuf.dev/programming-guides/encoding/) and field numbers of onnx.proto3 of onnx 1.23.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from math import prod
from typing import Final

from eyasd.core.errors import BrokenBundle

# Of timm's networks the longest have some 5,000. A chain of 200,000, in 5 MB, took ONNX Runtime 15 s and 649 MB to open.
MAX_NODES: Final = 50_000
# A node has some 20, and this process reads a million in a second; so nobody keeps it long with fields that mean nothing.
MAX_FIELDS: Final = 2_000_000
OPERATORS: Final = frozenset(
    """
    Abs Add And ArgMax ArgMin AveragePool BatchNormalization Cast CastLike Ceil Celu Clip Concat Constant ConstantOfShape Conv
    ConvTranspose Cos CumSum DepthToSpace DequantizeLinear Div Dropout DynamicQuantizeLinear Einsum Elu Equal Erf Exp Expand EyeLike
    Flatten Floor Gather GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual
    GridSample GroupNormalization HardSigmoid HardSwish Hardmax Identity InstanceNormalization IsInf IsNaN LRN LayerNormalization
    LeakyRelu Less LessOrEqual Log LogSoftmax LpNormalization LpPool MatMul Max MaxPool Mean MeanVarianceNormalization Min Mish Mod
    Mul Neg Not OneHot Or PRelu Pad Pow QLinearConv QLinearMatMul QuantizeLinear RMSNormalization Range Reciprocal ReduceL1 ReduceL2
    ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize Round
    ScatterElements ScatterND Selu Shape Sigmoid Sign Sin Size Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub
    Sum Swish Tan Tanh ThresholdedRelu Tile TopK Transpose Trilu Unsqueeze Where Xor
    """.split()  # noqa: SIM905 - words are read more easily than a list of strings
)
_DOMAINS: Final = frozenset({"", "ai.onnx"})

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_KEY_BYTES, _VARINT_BYTES = 5, 10
# By message, the numbers of the fields that are let through; those that are read have their names below.
_MODEL: Final = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 14})  # not training_info, functions
_GRAPH: Final = frozenset({1, 2, 5, 10, 11, 12, 13, 14, 16})  # not sparse_initializer
_NODE: Final = frozenset({1, 2, 3, 4, 5, 6, 7, 9})  # not overload, which is of functions
_ATTRIBUTE: Final = frozenset({1, 2, 3, 4, 5, 7, 8, 9, 10, 13, 20})  # not graphs, types, sparse tensors, references
_TENSOR: Final = frozenset({1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16})  # not segment, external_data
_MODEL_GRAPH, _GRAPH_NODE, _GRAPH_TENSOR, _NODE_KIND, _NODE_ATTRIBUTE, _NODE_DOMAIN = 7, 1, 5, 4, 5, 7
_ATTRIBUTE_TENSOR, _ATTRIBUTE_TENSORS, _TENSOR_SIZES, _TENSOR_PLACE = 5, 10, 1, 14
# Four bits are the least that an element takes; packed as they are, two share a byte.
_ELEMENTS_A_BYTE: Final = 2
_MOST_SIZES: Final = 32

Value = int | memoryview
Read = Callable[[Value], None]


def check_graph(model: bytes, name: str) -> None:
    """Refuses a file that holds more than a bundle's network may.

    Args:
        model: content of the file.
        name: of it, for messages.

    Raises:
        BrokenBundle: says what it holds.
    """
    try:
        _Graph(model).check()
    except _Refused as refused:
        raise BrokenBundle(f"{name} cannot be loaded: {refused}.") from None


class _Refused(Exception):
    """What is wrong with a file."""


class _Graph:
    """A file, and how much of it was read."""

    def __init__(self, model: bytes) -> None:
        self._model = memoryview(model)
        self._fields = self._nodes = 0

    def check(self) -> None:
        """Reads all of it."""
        found = self._read(self._model, "the model", _MODEL, {_MODEL_GRAPH: self._graph}, once={_MODEL_GRAPH})
        if _MODEL_GRAPH not in found:
            raise _Refused("it holds no graph")

    def _graph(self, value: Value) -> None:
        self._read(value, "the graph", _GRAPH, {_GRAPH_NODE: self._node, _GRAPH_TENSOR: self._tensor})

    def _node(self, value: Value) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise _Refused(f"it has more than {MAX_NODES:,} nodes")
        reads = {_NODE_KIND: _operator, _NODE_DOMAIN: _domain, _NODE_ATTRIBUTE: self._attribute}
        if _NODE_KIND not in self._read(value, "a node", _NODE, reads):
            raise _Refused("a node has no operator")

    def _attribute(self, value: Value) -> None:
        reads = {_ATTRIBUTE_TENSOR: self._tensor, _ATTRIBUTE_TENSORS: self._tensor}
        self._read(value, "an attribute", _ATTRIBUTE, reads, once={_ATTRIBUTE_TENSOR})

    def _tensor(self, value: Value) -> None:
        sizes: list[int] = []
        self._read(value, "a tensor", _TENSOR, {_TENSOR_SIZES: lambda found: self._sizes(found, sizes), _TENSOR_PLACE: _place})
        held = len(_message(value, "a tensor"))
        most = held * _ELEMENTS_A_BYTE
        if len(sizes) > _MOST_SIZES or any(size > most for size in sizes) or prod(sizes) > most:
            raise _Refused(f"a tensor says that it has the sizes {sizes[:8]}, in {held:,} bytes")

    def _sizes(self, value: Value, sizes: list[int]) -> None:
        """Takes in a tensor's sizes, together or one by one; a negative one is a very large one here."""
        if isinstance(value, int):
            sizes.append(value)
            return
        position = 0
        while position < len(value):
            size, position = _varint(value, position, _VARINT_BYTES)
            self._count()
            sizes.append(size)

    def _read(
        self, value: Value, what: str, allowed: Collection[int], reads: Mapping[int, Read], once: Collection[int] = ()
    ) -> set[int]:
        """Reads a message's fields, and returns their numbers.

        Args:
            value: the message.
            what: it is, for messages.
            allowed: numbers of the fields that it may have.
            reads: by number, what looks at a field's value.
            once: numbers of the messages that it may have one of; protobuf would make one of several.
        """
        found: set[int] = set()
        for number, content in _fields(_message(value, what)):
            self._count()
            if number not in allowed:
                raise _Refused(f"{what} has a field {number}, which no network of a bundle needs")
            if number in once and number in found:
                raise _Refused(f"{what} has its field {number} twice")
            found.add(number)
            if read := reads.get(number):
                read(content)
        return found

    def _count(self) -> None:
        self._fields += 1
        if self._fields > MAX_FIELDS:
            raise _Refused(f"it has more than {MAX_FIELDS:,} fields")


def _operator(value: Value) -> None:
    if (kind := _text(value, "an operator")) not in OPERATORS:
        raise _Refused(f"it has the operator {kind[:40]!r}, which no network of a bundle needs")


def _domain(value: Value) -> None:
    if (domain := _text(value, "a domain")) not in _DOMAINS:
        raise _Refused(f"it has an operator of {domain[:80]!r}: only those of ONNX itself are run")


def _place(value: Value) -> None:
    if value != 0:
        raise _Refused("a tensor's values lie outside of the file")


def _text(value: Value, what: str) -> str:
    return bytes(_message(value, what)).decode(errors="replace")


def _message(value: Value, what: str) -> memoryview:
    if isinstance(value, int):
        raise _Refused(f"{what} is a number")
    return value


def _fields(message: memoryview) -> Iterator[tuple[int, Value]]:
    """Yields the number and the value of each field of a message."""
    position, end = 0, len(message)
    while position < end:
        key, position = _varint(message, position, _KEY_BYTES)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, position = _varint(message, position, _VARINT_BYTES)
            yield number, value
            continue
        if kind == _BYTES:
            length, position = _varint(message, position, _KEY_BYTES)
        elif kind in (_FIXED64, _FIXED32):
            length = 8 if kind == _FIXED64 else 4
        else:
            raise _Refused("it is damaged: there is no such kind of field")
        if length > end - position:
            raise _Refused("it is damaged: it ends within a field")
        yield number, message[position : position + length]
        position += length


def _varint(message: memoryview, position: int, most: int) -> tuple[int, int]:
    """Returns the number that begins at a position, and where it ends."""
    value = 0
    for place, byte in enumerate(message[position : position + most]):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, position + place + 1
    raise _Refused("it is damaged: a number has no end")
