"""Bodies and queries of HTTP requests -> pictures and options, and reports.

The body of pictures is a form of files (multipart/form-data), one file (image/*), or JSON, `{"images": [{"content": "BASE64"}]}`.
What a body holds is counted while it is read.
"""

from __future__ import annotations

import asyncio
import binascii
import json
import warnings
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from aiohttp import BodyPartReader, StreamReader, web
from aiohttp.http_exceptions import HttpProcessingError
from google.protobuf.json_format import Parse, ParseError

from eyas.v1 import feedback_service_pb2
from eyasd.api.asking import check_routing_key
from eyasd.api.classify import MAX_EXPLAINED, MAX_IMAGES
from eyasd.core.errors import InvalidArgument
from eyasd.core.names import ModelRef
from eyasd.serving.question import Priority, Question

# Of each part whose header names its file in no way that aiohttp knows, it would write 8 KB beside the log, 64 times a request.
warnings.filterwarnings("ignore", module=r"aiohttp\.")

MAX_BODY_BYTES: Final = 32 * 1024 * 1024
MAX_FEEDBACK_BYTES: Final = 1024 * 1024
_TOO_LARGE: Final = f"The body has over {MAX_BODY_BYTES:,} bytes: send fewer or smaller pictures."
_CHUNK_BYTES: Final = 64 * 1024
_FIRST_BYTES: Final = 64 * 1024
_OPTIONS: Final = ("top_k", "allow_unknown", "explain", "priority", "routing_key", "timeout")
_FEEDBACK: Final = '{"feedback": [{"prediction_id": "...", "true_labels": ["..."]}]}'
_FORMS: Final = (
    'send a form of files (multipart/form-data), one file (image/*), or application/json, {"images": [{"content": "BASE64"}]}'
)


async def is_whole(body: StreamReader) -> bool:
    """Waits for the first 64 KB of a body, which stay to be read, and returns whether they are all of it."""
    first = bytearray()
    while len(first) <= _FIRST_BYTES and (piece := await body.readany()):
        first += piece
    with warnings.catch_warnings():  # aiohttp would rather keep it for its own reader of forms, which does the same
        warnings.simplefilter("ignore", DeprecationWarning)
        body.unread_data(bytes(first))
    return body.is_eof()


async def read_pictures(request: web.Request) -> list[bytes]:
    """Returns the pictures of a request's body, as files.

    Raises:
        InvalidArgument: it holds none, or too many, or is not what its type says.
        web.HTTPException: it is of another type, or too large.
    """
    kind = request.content_type
    if kind == "multipart/form-data":
        pictures = await _form(request)
    elif kind == "application/json":
        # Some hundred milliseconds where the body is as large as may be.
        pictures = await asyncio.to_thread(_json, await _content(request))
    elif kind.startswith("image/"):
        pictures = [await _content(request)]
    else:
        raise web.HTTPUnsupportedMediaType(text=f"The body is {kind[:80]}: {_FORMS}.")
    if not 1 <= len(pictures) <= MAX_IMAGES:
        raise _miscounted(len(pictures), MAX_IMAGES)
    return pictures


async def read_feedback(request: web.Request) -> feedback_service_pb2.ReportFeedbackRequest:
    """Returns the reports of a request's body, JSON as protobuf has it, in snake_case or camelCase.

    Raises:
        InvalidArgument: it is none.
        web.HTTPException: it is of another type, or too large.
    """
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(text=f"The body is {request.content_type[:80]}: send application/json, {_FEEDBACK}.")
    chunks = request.content.iter_chunked(_CHUNK_BYTES)
    content = await _joined(chunks, MAX_FEEDBACK_BYTES, f"The body has over {MAX_FEEDBACK_BYTES:,} bytes: send fewer reports.")
    try:
        return await asyncio.to_thread(Parse, content, feedback_service_pb2.ReportFeedbackRequest())
    except (ParseError, UnicodeDecodeError, RecursionError):
        raise InvalidArgument("body", f"The body is not {_FEEDBACK}.") from None


def question_of(ref: ModelRef, pictures: list[bytes], query: Mapping[str, str], *, default_seconds: float, caller: str) -> Question:
    """Returns what is asked.

    Args:
        ref: which version.
        pictures: as files.
        query: of the request: `top_k`, `allow_unknown`, `explain`, `priority`, `routing_key`, and `timeout` in seconds.
        default_seconds: where there is no `timeout`.
        caller: who asks.

    Raises:
        InvalidArgument: a value, or the name of one, is wrong.
    """
    for name in query:
        if name not in _OPTIONS:
            raise InvalidArgument(name[:80], f"There is no parameter {name[:80]!r}: the parameters are {', '.join(_OPTIONS)}.")
    explain = _flag(query, "explain")
    if explain and len(pictures) > MAX_EXPLAINED:
        raise _miscounted(len(pictures), MAX_EXPLAINED, " to explain")
    return Question(
        ref=ref,
        images=pictures,
        timeout_seconds=_seconds(query, default_seconds),
        top_k=_top_k(query),
        allow_unknown=_flag(query, "allow_unknown"),
        explain=explain,
        priority=_priority(query),
        caller=caller,
        routing_key=check_routing_key(query.get("routing_key", "")),
    )


async def _form(request: web.Request) -> list[bytes]:
    pictures: list[bytes] = []
    left = MAX_BODY_BYTES
    try:
        async for part in await request.multipart():
            if not isinstance(part, BodyPartReader):
                raise InvalidArgument("body", "The form holds a form: send files.")
            if len(pictures) == MAX_IMAGES:
                raise _miscounted(MAX_IMAGES + 1, MAX_IMAGES)
            pictures.append(await _joined(_chunks(part), left))
            left -= len(pictures[-1])
    except (ValueError, RuntimeError, AssertionError, HttpProcessingError):  # the parser's
        raise InvalidArgument("body", "The form is damaged or cut short: send it again.") from None
    return pictures


async def _chunks(part: BodyPartReader) -> AsyncIterator[bytes]:
    while chunk := await part.read_chunk(_CHUNK_BYTES):
        yield chunk


async def _content(request: web.Request) -> bytes:
    return await _joined(request.content.iter_chunked(_CHUNK_BYTES), MAX_BODY_BYTES)


async def _joined(chunks: AsyncIterator[bytes], most: int, refusal: str = _TOO_LARGE) -> bytes:
    content = bytearray()
    async for chunk in chunks:
        content += chunk
        if len(content) > most:
            raise web.HTTPRequestEntityTooLarge(most, len(content), text=refusal)
    return bytes(content)


def _json(content: bytes) -> list[bytes]:
    try:
        body: Any = json.loads(content)
        if body.keys() == {"images"} and all(image.keys() == {"content"} for image in body["images"]):
            return [binascii.a2b_base64(image["content"], strict_mode=True) for image in body["images"]]
    except (ValueError, TypeError, AttributeError, RecursionError):  # binascii's own error is a ValueError
        pass
    raise InvalidArgument("body", 'The body is not {"images": [{"content": "BASE64"}]}, with standard base64.')


def _miscounted(count: int, most: int, of: str = "") -> InvalidArgument:
    return InvalidArgument("images", f"The request holds {'too many pictures' if count else 'no picture'}{of}: send 1 to {most}.")


def _top_k(query: Mapping[str, str]) -> int:
    text = query.get("top_k", "0")
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise InvalidArgument("top_k", f"top_k is {text[:80]!r}; it must be a number, 0 for the labels that apply.")
    return int(text)


def _flag(query: Mapping[str, str], name: str) -> bool:
    text = query.get(name, "false")
    if text not in {"true", "false"}:
        raise InvalidArgument(name, f"{name} is {text[:80]!r}; it must be true or false.")
    return text == "true"


def _priority(query: Mapping[str, str]) -> Priority:
    text = query.get("priority", "normal")
    if text.upper() not in Priority.__members__:
        raise InvalidArgument("priority", f"priority is {text[:80]!r}; it must be high, normal or low.")
    return Priority[text.upper()]


def _seconds(query: Mapping[str, str], default: float) -> float:
    text = query.get("timeout")
    if text is None:
        return default
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 3600:
        raise InvalidArgument("timeout", f"timeout is {text[:80]!r}; it must be seconds, more than 0 and at most 3600.")
    return seconds
