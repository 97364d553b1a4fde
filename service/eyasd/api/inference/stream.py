"""One ModelStreamInfer: requests are read while there is room, worked on together, and answered in their order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from eyasd.api.inference.messages import Message
from eyasd.api.streaming import LIFETIME_SECONDS, MAX_BYTES, TOO_OLD, Silence, ended
from eyasd.core.errors import EyasError

_MAX_REQUESTS: Final = 16

Answer = Callable[[Message], Awaitable[Message]]
Write = Callable[[Message], Awaitable[None]]


class InferStream:
    """A stream of requests and their answers. Belongs to one event loop.

    A request takes up room until its answer has been taken; without room nothing is read, so HTTP/2's window slows the caller down.
    """

    def __init__(self, requests: AsyncIterator[Message], write: Write, answer: Answer, idle_seconds: float) -> None:
        """Reads nothing yet.

        Args:
            requests: the caller's messages.
            write: returns once there is room on the wire.
            answer: of one request; what it raises ends the stream.
            idle_seconds: how long nothing may come whole, or an answer wait to be taken.
        """
        self._requests, self._write, self._answer = requests, write, answer
        self._idle_seconds = idle_seconds
        self._held: dict[asyncio.Task[Message], int] = {}  # a request's task -> its bytes
        self._due: asyncio.Queue[asyncio.Task[Message] | None] = asyncio.Queue()
        self._room = asyncio.Event()
        self._room.set()
        self._error: EyasError | None = None
        self._reader: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Answers requests until the caller has no more.

        Raises:
            StreamEnded: by `end`, or for its age; what was read is answered.
            StreamIdle: the caller does nothing.
            InvalidArgument: a message is none.
        """
        if self._error is not None:
            raise self._error
        reader = self._reader = asyncio.create_task(self._read())
        reader.add_done_callback(lambda _: self._due.put_nowait(None))
        too_old = asyncio.get_running_loop().call_later(LIFETIME_SECONDS, self.end, TOO_OLD)
        silence = self._silence = Silence(self._idle_seconds, lambda: bool(self._held), self._stop)
        try:
            while (task := await self._due.get()) is not None:
                await silence.taken(self._write(await task))
                del self._held[task]
                self._look()
            if self._error is not None:
                raise self._error
            await reader  # raises what ended it, if it was not the caller
        finally:
            too_old.cancel()
            silence.close()
            for left in (reader, *self._held):
                left.cancel()
            self._reader = None  # as of a `Stream`
            self._held.clear()

    def end(self, why: str) -> None:
        """Reads no more; what has been read is answered first."""
        self._stop(ended(why))

    def _stop(self, error: EyasError) -> None:
        if self._reader is None or not self._reader.done():
            self._error = self._error or error
        if self._reader is not None:
            self._reader.cancel()

    async def _read(self) -> None:
        async for request in self._requests:
            task: asyncio.Task[Message] = asyncio.ensure_future(self._answer(request))
            self._held[task] = request.ByteSize()
            self._due.put_nowait(task)
            self._silence.broken()
            self._look()
            await self._room.wait()

    def _look(self) -> None:
        if len(self._held) < _MAX_REQUESTS and sum(self._held.values()) < MAX_BYTES:
            self._room.set()
        else:
            self._room.clear()
