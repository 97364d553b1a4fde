"""Streams in which each request is answered before the next is read, and what ends one whose caller does nothing.

For methods whose handlers are generators; streams of pictures, which are read ahead of their answers, are in `streaming`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

from google.protobuf.message import Message

from eyasd.api.streaming import LIFETIME_SECONDS, TOO_OLD, ended, taken
from eyasd.core.errors import StreamIdle

Requests = AsyncIterator[Message]


def dialogue(
    answering: Callable[[Requests, Any], AsyncGenerator[Message, None]], idle_seconds: float
) -> Callable[[Requests, Any], Awaitable[None]]:
    """Returns a handler that writes for itself what another one yields.

    Args:
        answering: yields what each request is answered with.
        idle_seconds: how long no request may come whole, or an answer wait to be taken.
    """

    async def converse(requests: Requests, context: Any) -> None:
        until = asyncio.get_running_loop().time() + LIFETIME_SECONDS
        async with aclosing(answering(_prompt(requests, idle_seconds, until), context)) as responses:
            async for response in responses:
                await taken(context.write(response), idle_seconds)

    return converse


async def _prompt(requests: Requests, idle_seconds: float, until: float) -> Requests:
    """Yields requests. Raises StreamIdle where none comes, and StreamEnded where that is due."""
    while True:
        left = until - asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(min(idle_seconds, left)):
                request = await anext(requests, None)
        except TimeoutError:
            if left <= idle_seconds:
                raise ended(TOO_OLD) from None
            raise StreamIdle(f"Nothing came whole for {idle_seconds:g} s: open a stream when there is something to send.") from None
        if request is None:
            return
        yield request
