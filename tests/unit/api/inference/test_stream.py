"""api.inference.stream: how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from eyasd.api.inference.stream import InferStream
from eyasd.core.errors import StreamEnded


async def silent() -> AsyncIterator[Any]:
    await asyncio.Event().wait()
    yield


async def answer(request: Any) -> Any:
    return request


async def test_a_stream_that_is_ended_before_it_begins_says_so() -> None:
    stream = InferStream(silent(), answer)
    stream.end("The server is going down")
    with pytest.raises(StreamEnded, match="The server is going down"):
        async with asyncio.timeout(30):
            await anext(stream.answers())


async def test_a_stream_that_is_ended_as_it_begins_says_so() -> None:
    stream = InferStream(silent(), answer)
    asyncio.get_running_loop().call_soon(stream.end, "The server is going down")
    with pytest.raises(StreamEnded, match="The server is going down"):
        async with asyncio.timeout(30):
            await anext(stream.answers())
