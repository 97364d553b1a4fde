"""api.inference.stream: how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from eyasd.api.inference.messages import ServerLiveResponse
from eyasd.api.inference.stream import InferStream
from eyasd.core.errors import StreamEnded, StreamIdle


async def silent(*requests: Any) -> AsyncIterator[Any]:
    for request in requests:
        yield request
    await asyncio.Event().wait()


async def answer(request: Any) -> Any:
    return request


async def taken(_: Any) -> None:
    pass


async def left(_: Any) -> None:
    await asyncio.Event().wait()


async def test_a_stream_that_is_ended_before_it_begins_says_so() -> None:
    stream = InferStream(silent(), taken, answer, 30)
    stream.end("The server is going down")
    with pytest.raises(StreamEnded, match="The server is going down"):
        async with asyncio.timeout(30):
            await stream.run()


async def test_a_stream_that_is_ended_as_it_begins_says_so() -> None:
    stream = InferStream(silent(), taken, answer, 30)
    asyncio.get_running_loop().call_soon(stream.end, "The server is going down")
    with pytest.raises(StreamEnded, match="The server is going down"):
        async with asyncio.timeout(30):
            await stream.run()


async def test_a_caller_who_sends_nothing_is_given_up() -> None:
    with pytest.raises(StreamIdle, match=r"Nothing came whole for 0\.01 s"):
        async with asyncio.timeout(30):
            await InferStream(silent(ServerLiveResponse(live=True)), taken, answer, 0.01).run()


async def test_a_caller_who_takes_no_answer_is_given_up() -> None:
    with pytest.raises(StreamIdle, match=r"No answer was taken for 0\.01 s"):
        async with asyncio.timeout(30):
            await InferStream(silent(ServerLiveResponse(live=True)), left, answer, 0.01).run()


async def test_a_caller_who_waits_for_his_answer_is_not_silent() -> None:
    answers = []

    async def slow(request: Any) -> Any:
        await asyncio.sleep(0.05)
        return request

    async def take(response: Any) -> None:
        answers.append(response)

    with pytest.raises(StreamIdle, match="Nothing came whole"):
        async with asyncio.timeout(30):
            await InferStream(silent(ServerLiveResponse(live=True)), take, slow, 0.01).run()
    assert answers == [ServerLiveResponse(live=True)]
