"""Requests of the Open Inference Protocol, and bodies of HTTP."""

from __future__ import annotations

import asyncio
import json
import warnings
from collections.abc import Iterator
from functools import cache
from random import Random
from typing import Any, Final
from urllib.parse import parse_qsl

import numpy as np
from aiohttp import MultipartReader, StreamReader, web
from aiohttp.base_protocol import BaseProtocol
from multidict import CIMultiDict

from builders import picture
from eyasd.api.inference.messages import message_class
from eyasd.api.inference.parameters import priority, routing_key, timeout_seconds
from eyasd.api.inference.tensors import pictures, wanted_outputs
from eyasd.api.web.bodies import question_of, read_feedback, read_pictures
from eyasd.core.errors import InvalidArgument
from eyasd.core.names import ModelRef
from fuzz.target import Target, sentence, split, text_of
from hostile.damage import damaged, damaged_json
from hostile.messages import Maker

_REQUEST: Final = message_class("ModelInferRequest")
_KNOWN: Final = (
    "encoded",
    "images",
    "UINT8",
    "BYTES",
    "probabilities",
    "ood_score",
    "classification",
    "timeout",
    "priority",
    "routing_key",
    "binary_data",
    "shared_memory_region",
)


def check_tensors(data: bytes) -> None:
    """A request holds 1 to 64 pictures, files or pixels that are views of its bytes; or it is refused with a sentence."""
    try:
        request = _REQUEST.FromString(data)
    except Exception:  # noqa: BLE001 - no message; gRPC refuses it
        return
    for read in (
        lambda: pictures(request),
        lambda: wanted_outputs(request),
        lambda: timeout_seconds(request, None, 10.0),
        lambda: priority(request),
        lambda: routing_key(request),
    ):
        try:
            found: Any = read()
        except InvalidArgument as error:
            sentence(error.message)
            continue
        if isinstance(found, float):
            assert found >= 0
        if isinstance(found, list):
            assert 1 <= len(found) <= 64
            for one in found:
                assert isinstance(one, bytes) or (one.dtype == np.uint8 and one.ndim == 3 and one.shape[2] == 3 and one.size)
            assert sum(map(len, found)) <= len(data) if isinstance(found[0], bytes) else sum(one.size for one in found) <= len(data)


def _vary_tensors(data: bytes, random: Random) -> bytes:
    return Maker(random, _KNOWN, (picture(), bytes(12))).request(_REQUEST.DESCRIPTOR, [data])


def _tensor_seeds() -> Iterator[bytes]:
    encoded, pixels = picture(), bytes(range(24))
    raw = len(encoded).to_bytes(4, "little") + encoded
    for inputs, contents in (
        ([{"name": "encoded", "datatype": "BYTES", "shape": [1]}], [raw]),
        ([{"name": "encoded", "datatype": "BYTES", "shape": [2, 1]}], [raw * 2]),
        ([{"name": "encoded", "datatype": "BYTES", "shape": [1], "contents": {"bytes_contents": [encoded]}}], []),
        ([{"name": "images", "datatype": "UINT8", "shape": [2, 2, 2, 3]}], [pixels]),
        ([{"name": "images", "datatype": "UINT8", "shape": [1, 2, 2, 3], "contents": {"uint_contents": range(12)}}], []),
        ([{"name": "images", "datatype": "UINT8", "shape": [-1, -2, 1, 3]}], [pixels]),
        ([{"name": "images", "datatype": "UINT8", "shape": [1, 2**62, 4, 3]}], [pixels]),
        ([{"name": "images", "datatype": "UINT8", "shape": [0, 1, 1, 3]}], [b""]),
    ):
        request = _REQUEST(model_name="a", inputs=inputs, raw_input_contents=contents, outputs=[{"name": "probabilities"}])
        request.parameters["timeout"].int64_param = 1_000
        request.outputs[0].parameters["classification"].int64_param = 2
        yield request.SerializeToString()


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


class _Request:
    """What of a request is read here; aiohttp's own takes a hundred times as long to make."""

    def __init__(self, kind: str, body: bytes) -> None:
        loop = asyncio.get_running_loop()
        self.headers = CIMultiDict({"Content-Type": kind})
        self.content_type = kind.partition(";")[0]
        self.content = StreamReader(BaseProtocol(loop), 2**16, loop=loop)
        self.content.feed_data(body)
        self.content.feed_eof()

    async def multipart(self) -> MultipartReader:
        return MultipartReader(self.headers, self.content)


_TYPES: Final = {b"f": "multipart/form-data; boundary=x", b"j": "application/json", b"r": "application/json", b"i": "image/png"}


def check_body(data: bytes) -> None:
    """A body and a query are pictures and a question, or reports; or they are refused with a sentence."""
    kind, query, body = split(data, 3)

    async def read() -> None:
        request: Any = _Request(_TYPES.get(kind, text_of(kind)[:40].strip() or "x"), body)
        if kind == b"r":
            await read_feedback(request)
            return
        found = await read_pictures(request)
        assert 1 <= len(found) <= 64
        question_of(ModelRef("a", "b"), found, dict(parse_qsl(text_of(query))), default_seconds=1.0, caller="ann")

    try:
        with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # of a header that aiohttp leaves out
            _loop().run_until_complete(read())
    except InvalidArgument as error:
        sentence(error.message)
    except web.HTTPException as error:
        sentence(str(error.text))


def _body_seeds() -> Iterator[bytes]:
    part = b'--x\r\nContent-Disposition: form-data; name="a"; filename="a.png"\r\nContent-Type: image/png\r\n'
    yield b"f\0top_k=3\0" + part + b"\r\n" + picture() + b"\r\n--x--\r\n"
    yield (
        b"f\0allow_unknown=true&explain=false\0"
        + part
        + b"\r\nabc\r\n"
        + part
        + b"Content-Transfer-Encoding: base64\r\n\r\nQUJD\r\n--x--"
    )
    yield b"f\0\0" + part + b"Content-Length: 5\r\n\r\nabcde\r\n--x--"
    yield b"f\0\0--x\r\nContent-Type: multipart/mixed; boundary=y\r\n\r\n--y\r\n\r\na\r\n--y--\r\n--x--"
    yield b"f\0\0" + part + b"Content-Encoding: gzip\r\n\r\n\x1f\x8b\x08\0\r\n--x--"
    yield (
        b"j\0timeout=2.5&priority=high&routing_key=abc\0" + json.dumps({"images": [{"content": "QUJD"}, {"content": ""}]}).encode()
    )
    yield b"j\0timeout=nan\0" + b"[" * 2_000
    yield b"i\0timeout=1e999\0" + picture()
    yield b"r\0\0" + json.dumps({"feedback": [{"prediction_id": "a", "true_labels": ["red"], "trueClassIndices": [1]}]}).encode()
    yield b"r\0\0" + b'{"feedback": [{"true_class_indices": [1e999]}]}'
    yield b"text/plain\0\0a"


def _vary_body(data: bytes, random: Random) -> bytes:
    kind, query, body = split(data, 3)
    if kind in {b"j", b"r"}:
        return b"\0".join((kind, query, damaged_json(body, random)))
    return b"\0".join((kind, damaged(query, random).replace(b"\0", b""), body)) if random.random() < 0.3 else damaged(data, random)


TARGETS: Final = (
    Target("tensors", check_tensors, _tensor_seeds, tuple(name.encode() for name in _KNOWN), _vary_tensors, 4_096),
    Target(
        "bodies", check_body, _body_seeds,
        (b"--x", b"--x--", b"\r\n", b"Content-Disposition: ", b"Content-Type: ", b"Content-Length: ",
        b"Content-Transfer-Encoding: ", b"base64", b"gzip",
         b"top_k=", b"timeout=", b"priority=", b"explain=", b"images", b"feedback", b"prediction_id"), _vary_body, 4_096,
    ),
)  # fmt: skip
