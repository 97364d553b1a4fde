"""One ModelStreamInfer: requests are read while there is room, worked on together, and answered in their order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from eyasd.api.inference.messages import Message
from eyasd.api.streaming import LIFETIME_SECONDS, MAX_BYTES, TOO_OLD, ended

_MAX_REQUESTS: Final = 16

Answer = Callable[[Message], Awaitable[Message]]


class InferStream:
    """A stream of requests and their answers. Belongs to one event loop.

    A request takes up room until its answer has been taken; without room nothing is read, so HTTP/2's window slows the caller down.
    """

    def __init__(self, requests: AsyncIterator[Message], answer: Answer) -> None:
        """Reads nothing yet.

        Args:
            requests: the caller's messages.
            answer: of one request; what it raises ends the stream.
        """
        self._requests = requests
        self._answer = answer
        self._held: dict[asyncio.Task[Message], int] = {}  # a request's task -> its bytes
        self._due: asyncio.Queue[asyncio.Task[Message] | None] = asyncio.Queue()
        self._room = asyncio.Event()
        self._room.set()
        self._ended = ""
        self._reader: asyncio.Task[None] | None = None

    async def answers(self) -> AsyncIterator[Message]:
        """Answers requests until the caller has no more.

        Raises:
            StreamEnded: by `end`, or for its age; what was read is answered.
            InvalidArgument: a message is none.
        """
        if self._ended:
            raise ended(self._ended)
        reader = self._reader = asyncio.create_task(self._read())
        reader.add_done_callback(lambda _: self._due.put_nowait(None))
        too_old = asyncio.get_running_loop().call_later(LIFETIME_SECONDS, self.end, TOO_OLD)
        try:
            while (task := await self._due.get()) is not None:
                yield await task
                del self._held[task]
                self._look()
            if self._ended:
                raise ended(self._ended)
            await reader  # raises what ended it, if it was not the caller
        finally:
            too_old.cancel()
            for left in (reader, *self._held):
                left.cancel()
            self._reader = None  # as of a `Stream`
            self._held.clear()

    def end(self, why: str) -> None:
        """Reads no more; what has been read is answered first."""
        if self._reader is None or not self._reader.done():
            self._ended = why
        if self._reader is not None:
            self._reader.cancel()

    async def _read(self) -> None:
        async for request in self._requests:
            task: asyncio.Task[Message] = asyncio.ensure_future(self._answer(request))
            self._held[task] = request.ByteSize()
            self._due.put_nowait(task)
            self._look()
            await self._room.wait()

    def _look(self) -> None:
        if len(self._held) < _MAX_REQUESTS and sum(self._held.values()) < MAX_BYTES:
            self._room.set()
        else:
            self._room.clear()
