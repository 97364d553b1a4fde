"""One ClassifyStream, from its first message to its end.

    read -> is there room? -> a task a picture -> answers, in order or as they are known -> write

A picture takes up room from when it is read until its answer is on the wire, and without room nothing is read: so HTTP/2's own
window slows down a caller who sends too fast, and one who does not take his answers holds no more than the room. Knows no gRPC but
the messages; what a picture's answer is, `classify` says.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from eyas.v1 import classification_service_pb2 as pb
from eyasd.core.errors import EyasError, InvalidArgument, StreamEnded, StreamIdle

# 32 pictures, a batch of a GPU, of half a megabyte; of the largest, 20 MB, one is read beyond it.
MAX_BYTES: Final = 16 * 1024 * 1024
# A minute less than a connection that has become too old waits for its calls, see `transport`.
LIFETIME_SECONDS: Final = 240.0
GOING_DOWN: Final = "The server is going down"
TOO_OLD: Final = "The stream has lasted its time"

Request = pb.ClassifyStreamRequest
Response = pb.ClassifyStreamResponse
Answer = Callable[[pb.StreamedImage], Awaitable[Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamLimits:
    """What one stream may take.

    Attributes:
        images: pictures read whose answers are not on the wire yet.
        idle_seconds: how long nothing may come whole from the caller, or an answer wait to be taken.
        size_bytes: with so many bytes of them, too, nothing more is read; the last one read may go beyond.
        lifetime_seconds: how long a stream is read.
    """

    images: int
    idle_seconds: float
    size_bytes: int = MAX_BYTES
    lifetime_seconds: float = LIFETIME_SECONDS


class Silence:
    """Notices that a stream's caller does nothing. Belongs to one event loop."""

    def __init__(self, seconds: float, has_work: Callable[[], bool], end: Callable[[StreamIdle], None]) -> None:
        """Watches from now on, until `close`.

        Args:
            seconds: how long nothing may come whole, or an answer wait to be taken.
            has_work: whether it is the server's turn, so that silence is no fault.
            end: is called once nothing has come for so long.
        """
        self._seconds, self._has_work, self._end = seconds, has_work, end
        self._loop = asyncio.get_running_loop()
        self._broken = self._loop.time()
        self._watch()

    def broken(self) -> None:
        """Notes that something has moved."""
        self._broken = self._loop.time()

    async def taken(self, writing: Awaitable[None]) -> None:
        """Waits until an answer is taken. Raises StreamIdle."""
        await taken(writing, self._seconds)
        self.broken()

    def close(self) -> None:
        """Watches no more, and lets go of the stream, which holds this: nobody else would, until Python looks for cycles."""
        self._watching.cancel()
        del self._has_work, self._end

    def _watch(self) -> None:
        """Ends the stream if its caller has been silent for too long, else looks again when that may be."""
        silent = 0.0 if self._has_work() else self._loop.time() - self._broken
        if silent >= self._seconds:
            self._end(StreamIdle(f"Nothing came whole for {self._seconds:g} s: open a stream when there are pictures."))
        else:
            self._watching = self._loop.call_later(self._seconds - silent, self._watch)


class Stream:
    """A stream of pictures and their answers. Belongs to one event loop."""

    def __init__(
        self, requests: AsyncIterator[Request], write: Callable[[Response], Awaitable[None]], limits: StreamLimits
    ) -> None:
        """Reads nothing yet.

        Args:
            requests: the caller's messages; each is read only when there is room for it.
            write: returns once there is room on the wire.
            limits: see there.
        """
        self._requests = requests
        self._write = write
        self._limits = limits
        self._held: dict[asyncio.Task[Response], int] = {}  # a picture's task -> bytes of its message
        self._due: asyncio.Queue[asyncio.Task[Response] | None] = asyncio.Queue()
        self._room = asyncio.Event()
        self._room.set()
        self._error: EyasError | None = None
        self._reader: asyncio.Task[None] | None = None

    @property
    def held(self) -> tuple[int, int]:
        """Pictures that take up room, and their bytes."""
        return len(self._held), sum(self._held.values())

    async def run(self, answering: Callable[[pb.ClassifyStreamOptions], Answer]) -> None:
        """Answers pictures until the caller has no more.

        Args:
            answering: returns what answers the stream's pictures, or raises if its options cannot be met. An error of a picture is
                part of its answer; what answering raises ends the stream.

        Raises:
            StreamEnded: by `end`, or for its age; what was read is answered.
            StreamIdle: the caller does nothing.
            EyasError: `answering`, or a message that is none.
        """
        if self._error is not None:
            raise self._error
        reader = self._reader = asyncio.create_task(self._read(answering))
        reader.add_done_callback(self._wake)
        too_old = asyncio.get_running_loop().call_later(self._limits.lifetime_seconds, self.end, TOO_OLD)
        self._silence = Silence(self._limits.idle_seconds, lambda: bool(self._held), self._stop)
        try:
            while self._held or not reader.done():
                due = await self._due.get()
                if due is not None:
                    await self._send(due)
        finally:
            too_old.cancel()
            self._silence.close()
            for task in (reader, *self._held):
                task.cancel()
            # They keep what ends them, and that the frames which hold this stream: it would last until Python looks for cycles.
            self._reader = None
            self._held.clear()
        if self._error is not None:
            raise self._error
        reader.result()

    def end(self, why: str) -> None:
        """Reads no more; what has been read is answered first."""
        self._stop(ended(why))

    async def _read(self, answering: Callable[[pb.ClassifyStreamOptions], Answer]) -> None:
        first = await anext(self._requests, None)
        if first is None:
            return
        if first.WhichOneof("content") != "options":
            raise InvalidArgument("options", "The first message of a stream holds no options: send them before any picture.")
        answer = answering(first.options)
        while True:
            await self._room.wait()
            request = await anext(self._requests, None)
            if request is None:
                return
            self._take(request, answer, ordered=first.options.ordered)

    def _take(self, request: Request, answer: Answer, *, ordered: bool) -> None:
        if request.WhichOneof("content") != "picture":
            raise InvalidArgument("picture", "A message after the first of a stream holds no picture: send one in each.")
        task = asyncio.ensure_future(answer(request.picture))
        task.add_done_callback(_look_at)
        self._held[task] = request.ByteSize()
        self._silence.broken()
        self._look()
        if ordered:
            self._due.put_nowait(task)
        else:
            task.add_done_callback(self._due.put_nowait)

    async def _send(self, task: asyncio.Task[Response]) -> None:
        await self._silence.taken(self._write(await task))
        del self._held[task]
        self._look()

    def _look(self) -> None:
        """Notes whether there is room."""
        images, size_bytes = self.held
        if images < self._limits.images and size_bytes < self._limits.size_bytes:
            self._room.set()
        else:
            self._room.clear()

    def _wake(self, reader: asyncio.Task[None]) -> None:
        _look_at(reader)
        self._due.put_nowait(None)

    def _stop(self, error: EyasError) -> None:
        self._error = self._error or error
        if self._reader is not None:
            self._reader.cancel()


async def taken(writing: Awaitable[None], seconds: float) -> None:
    """Waits until an answer is taken. Raises StreamIdle."""
    try:
        async with asyncio.timeout(seconds):
            await writing
    except TimeoutError:
        raise StreamIdle(f"No answer was taken for {seconds:g} s: read the answers while sending.") from None


def ended(why: str) -> StreamEnded:
    """Returns what the caller of a stream is told that is read no more."""
    return StreamEnded(f"{why}: send what has no answer yet on another stream.")


def _look_at(task: asyncio.Task[Any]) -> None:
    """Where one error has ended the stream, asyncio is not to report those of the other tasks as lost."""
    if not task.cancelled():
        task.exception()
