"""api.dialogue: each request is answered before the next is read, and who does nothing is left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import StringValue

from eyasd.api import dialogue as room
from eyasd.api.dialogue import dialogue
from eyasd.core.errors import EyasError, StreamEnded, StreamIdle

FOREVER, AT_ONCE = 60.0, 0.01


class Caller:
    """Sends words, then nothing for ever or an end, and takes answers if he may."""

    def __init__(self, *words: str, ends: bool = True, takes: bool = True) -> None:
        self.answers: list[str] = []
        self.left = False
        self._words, self._ends, self._takes = words, ends, takes

    async def requests(self) -> AsyncIterator[Message]:
        for word in self._words:
            yield StringValue(value=word)
        if not self._ends:
            await asyncio.Event().wait()

    async def write(self, response: StringValue) -> None:
        if not self._takes:
            await asyncio.Event().wait()
        self.answers.append(response.value)

    async def echo(self, requests: AsyncIterator[Any], _: Any) -> AsyncGenerator[Message, None]:
        try:
            async for request in requests:
                yield request
        finally:
            self.left = True

    async def meet(self, idle_seconds: float) -> None:
        async with asyncio.timeout(60):
            await dialogue(self.echo, idle_seconds)(self.requests(), self)


async def test_what_comes_is_answered_until_there_is_no_more() -> None:
    caller = Caller("a", "b")
    await caller.meet(FOREVER)
    assert (caller.answers, caller.left) == (["a", "b"], True)


@pytest.mark.parametrize(
    ("caller", "says"),
    [(Caller("a", ends=False), "Nothing came whole for 0.01 s"), (Caller("a", takes=False), "No answer was taken for 0.01 s")],
)
async def test_who_does_nothing_is_left(caller: Caller, says: str) -> None:
    with pytest.raises(StreamIdle, match=says):
        await caller.meet(AT_ONCE)
    assert caller.left


async def test_it_ends_when_it_has_lasted_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "LIFETIME_SECONDS", AT_ONCE)
    caller = Caller("a", ends=False)
    with pytest.raises(EyasError) as caught:
        await caller.meet(FOREVER)
    assert isinstance(caught.value, StreamEnded)
    assert caller.left
