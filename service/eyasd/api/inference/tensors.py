"""Tensors of requests -> pictures, and answers -> tensors. Pure.

A request has one tensor: `encoded`, BYTES [N] or [N, 1], a picture's file an element, or `images`, UINT8 [N, H, W, 3], pixels as
the version's network sees them. An answer has `probabilities`, FP32 [N, C], and where the version computes it `ood_score`, FP32
[N, 1].
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

import numpy as np
from numpy.typing import NDArray

from eyasd.api.classify import MAX_IMAGES
from eyasd.api.inference.messages import Message
from eyasd.api.inference.parameters import whole_number
from eyasd.core import bundle
from eyasd.core.bundle import Manifest
from eyasd.core.errors import InvalidArgument
from eyasd.serving.answer import Classified, Labelled

ENCODED: Final = "encoded"
IMAGES: Final = bundle.INPUT
CLASSIFICATION: Final = "classification"
_SHARED_MEMORY: Final = "shared_memory_region"
_LENGTH: Final = struct.Struct("<I")  # before each element of raw BYTES
_OUTPUTS: Final = (bundle.PROBABILITIES, bundle.OOD_SCORE)
# There are two, of which labels and numbers may be wanted; each that is asked for is a tensor of the answer.
_MOST_OUTPUTS: Final = 4


@dataclass(frozen=True, slots=True)
class Tensor:
    """What is known of a tensor before it is there: its name, its type, and its dimensions without that of the pictures."""

    name: str
    datatype: str
    dims: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """An output that was asked for; `top_k` above 0 asks for labels as text instead of numbers."""

    name: str
    top_k: int = 0


def inputs_of(manifest: Manifest) -> tuple[Tensor, ...]:
    """Returns the tensors of which a request for the version has one."""
    side = manifest.preprocess.crop_px
    return Tensor(ENCODED, "BYTES", (1,)), Tensor(IMAGES, "UINT8", (side, side, 3))


def outputs_of(manifest: Manifest) -> tuple[Tensor, ...]:
    """Returns the tensors of the version's answers."""
    outputs = [Tensor(bundle.PROBABILITIES, "FP32", (len(manifest.labels),))]
    if manifest.unknown and manifest.unknown.distribution:
        outputs.append(Tensor(bundle.OOD_SCORE, "FP32", (1,)))
    return tuple(outputs)


def pictures(request: Message) -> Sequence[bytes | NDArray[np.uint8]]:
    """Returns the pictures of a ModelInferRequest, 1 to 64; pixels are views of the request's bytes.

    Raises:
        InvalidArgument: the request has not the one tensor, or it is not what it says.
    """
    if len(request.inputs) != 1:
        raise InvalidArgument(
            "inputs", f"The request has {len(request.inputs)} inputs; it must have one, {ENCODED!r} (files) or {IMAGES!r} (pixels)."
        )
    tensor = request.inputs[0]
    count = _count(tensor)
    if not 1 <= count <= MAX_IMAGES:
        raise InvalidArgument("inputs[0].shape", f"The request holds {count} pictures: send 1 to {MAX_IMAGES} at a time.")
    if len(request.raw_input_contents) > 1 or (request.raw_input_contents and tensor.HasField("contents")):
        raise InvalidArgument(
            "raw_input_contents",
            "The elements of the input come twice: send raw_input_contents, one for the one input, or contents.",
        )
    return _files(request, count) if tensor.name == ENCODED else _pixels(request)


def wanted_outputs(request: Message) -> tuple[Wanted, ...]:
    """Returns what a ModelInferRequest wants, in order; none is all.

    Raises:
        InvalidArgument: there is no such output, or it cannot be had so, or there are too many.
    """
    if len(request.outputs) > _MOST_OUTPUTS:
        raise InvalidArgument(
            "outputs", f"The request wants {len(request.outputs):,} outputs; there are {len(_OUTPUTS)}: name each of them once."
        )
    return tuple(_wanted(output, f"outputs[{index}]") for index, output in enumerate(request.outputs))


def answer_tensors(classified: Classified, wanted: Sequence[Wanted]) -> Iterator[tuple[Tensor, bytes]]:
    """Returns each tensor that is wanted, of an answer in which every picture has labels, and its raw contents.

    Raises:
        InvalidArgument: the version does not compute one of them.
    """
    rows = [result for result in classified.results if isinstance(result, Labelled)]
    scores = [row.ood_score for row in rows if row.ood_score is not None]
    if not wanted:
        wanted = [Wanted(name) for name in (_OUTPUTS if scores else _OUTPUTS[:1])]
    for output in wanted:
        if output.name == bundle.OOD_SCORE:
            if not scores:
                version = f"{classified.model}/{classified.version}"
                raise InvalidArgument(
                    "outputs", f"{version} computes no {bundle.OOD_SCORE!r}: ask for {bundle.PROBABILITIES!r} alone."
                )
            yield Tensor(output.name, "FP32", (1,)), np.array(scores, "<f4").tobytes()
        elif output.top_k:
            best = [row.predictions[: output.top_k] for row in rows]
            # The text that Triton gives: %f, and the label last, as it may hold colons.
            texts = [f"{p.probability:f}:{p.class_index}:{p.label}".encode() for row in best for p in row]
            yield Tensor(output.name, "BYTES", (len(best[0]),)), b"".join(_LENGTH.pack(len(text)) + text for text in texts)
        else:
            probabilities = np.stack([row.probabilities for row in rows]).astype("<f4", copy=False)
            yield Tensor(output.name, "FP32", probabilities.shape[1:]), probabilities.tobytes()


def _count(tensor: Message) -> int:
    """Returns how many pictures an input says that it holds. Raises InvalidArgument."""
    shape = list(tensor.shape)
    if _SHARED_MEMORY in tensor.parameters:
        raise InvalidArgument("inputs[0].parameters", "Eyas reads no shared memory: send the tensor in the request.")
    match tensor.name, tensor.datatype, shape:
        case "encoded", "BYTES", [count] | [count, 1]:
            return int(count)
        case "images", "UINT8", [count, _, _, 3]:
            return int(count)
        case (("encoded" | "images" as name), _, _):
            wanted = "BYTES [N] or [N, 1]" if name == ENCODED else "UINT8 [N, H, W, 3]"
            raise InvalidArgument("inputs[0]", f"The input {name!r} is {tensor.datatype[:20]} {shape[:9]}; it must be {wanted}.")
    raise InvalidArgument(
        "inputs[0].name", f"There is no input {tensor.name[:80]!r}: send {ENCODED!r} (files) or {IMAGES!r} (pixels)."
    )


def _files(request: Message, count: int) -> list[bytes]:
    if not request.raw_input_contents:
        files = list(request.inputs[0].contents.bytes_contents[: count + 1])
    else:  # no more than are looked at, as 30 MB have room for 7,500,000 empty ones
        files = list(islice(_elements(request.raw_input_contents[0]), count + 1))
    if len(files) != count:
        held = f"more than {count}" if len(files) > count else len(files)
        raise InvalidArgument("inputs[0]", f"The shape of {ENCODED!r} says {count} pictures, and its contents hold {held}.")
    return files


def _elements(raw: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(raw):
        end = at + _LENGTH.size
        if end <= len(raw):
            end += _LENGTH.unpack_from(raw, at)[0]
        if end > len(raw) or end < at + _LENGTH.size:
            raise InvalidArgument(
                "raw_input_contents[0]",
                f"The contents of {ENCODED!r} end in the middle of an element: each is its length, in 4 bytes, and itself.",
            )
        yield raw[at + _LENGTH.size : end]
        at = end


def _pixels(request: Message) -> list[NDArray[np.uint8]]:
    tensor = request.inputs[0]
    shape = tuple(tensor.shape)
    raw = request.raw_input_contents
    held = len(raw[0]) if raw else len(tensor.contents.uint_contents)
    if min(shape) < 1 or held != math.prod(shape):
        raise InvalidArgument(
            "inputs[0]",
            f"The shape of {IMAGES!r}, {list(shape)}, is of {math.prod(shape):,} bytes, and its contents hold {held:,}.",
        )
    if raw:
        return list(np.frombuffer(raw[0], np.uint8).reshape(shape))
    wide = np.array(tensor.contents.uint_contents, np.uint32)
    if wide.max() > 255:
        raise InvalidArgument("inputs[0].contents", f"{IMAGES!r} holds the value {wide.max()}; UINT8 ends at 255.")
    return list(wide.astype(np.uint8).reshape(shape))


def _wanted(output: Message, field: str) -> Wanted:
    name = output.name
    if name not in _OUTPUTS:
        raise InvalidArgument(
            f"{field}.name", f"There is no output {name[:80]!r}: ask for {_OUTPUTS[0]!r}, {_OUTPUTS[1]!r}, or none for all."
        )
    if _SHARED_MEMORY in output.parameters:
        raise InvalidArgument(f"{field}.parameters", "Eyas writes no shared memory: take the tensor from the response.")
    top_k = whole_number(output.parameters, CLASSIFICATION, f"{field}.parameters")
    if top_k and name != bundle.PROBABILITIES:
        raise InvalidArgument(
            f"{field}.parameters", f"{name!r} has no labels: ask for {CLASSIFICATION!r} of {bundle.PROBABILITIES!r}."
        )
    return Wanted(name, top_k)
