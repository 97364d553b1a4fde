"""One UploadDataset, from its first message to its end.

Small content, which comes whole, is kept in threads while the next messages are read, as each takes a disk several milliseconds.
Large content is taken a piece at a time. Without room nothing is read, so HTTP/2's own window slows down a caller who sends too
fast. Knows no gRPC but the messages; what becomes of content, `registry.blobs` says.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Final

from eyas.v1 import dataset_service_pb2 as pb
from eyasd.api.messages.datasets import MAX_BLOBS, blob_of
from eyasd.api.streaming import LIFETIME_SECONDS, TOO_OLD
from eyasd.core.datasets import Blob
from eyasd.core.errors import DigestMismatch, EyasError, InvalidArgument, StreamEnded, StreamIdle
from eyasd.registry.arrival import Arrival, conflict
from eyasd.registry.blobs import Blobs

MAX_CONTENT_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadLimits:
    """What one upload may take.

    Attributes:
        idle_seconds: how long no message may come whole.
        lifetime_seconds: how long it is read.
        held_blobs: small content that is being written; beyond it, or `held_bytes`, nothing is read.
        held_bytes: likewise.
    """

    idle_seconds: float
    lifetime_seconds: float = LIFETIME_SECONDS
    held_blobs: int = 128
    held_bytes: int = 4 * MAX_CONTENT_BYTES


class Upload:
    """A stream of content. Belongs to one event loop."""

    def __init__(
        self,
        requests: AsyncIterator[pb.UploadDatasetRequest],
        blobs: Blobs,
        pool: Executor,
        limits: UploadLimits,
        spend: Callable[[int], None] = lambda size_bytes: None,  # noqa: ARG005 - the name is its own
    ) -> None:
        """Reads nothing yet.

        Args:
            requests: the caller's messages; each is read only when there is room for it.
            blobs: where content goes.
            pool: its threads, which uploads share.
            limits: see there.
            spend: is told the bytes of each message before they are kept, and may refuse them.
        """
        self._requests, self._blobs, self._pool, self._limits, self._spend = requests, blobs, pool, limits, spend
        self._loop = asyncio.get_running_loop()
        self._held: dict[asyncio.Future[None], int] = {}  # what writes small content -> its bytes
        self._receiving: asyncio.Future[None] | None = None
        self._arrival: Arrival | None = None
        self._whole = 0
        self._error: EyasError | None = None
        self._reader: asyncio.Task[None] | None = None

    async def run(self) -> int:
        """Takes content until the caller has no more, and returns how many blobs are whole with that.

        Raises:
            StreamEnded: by `end`, or for its age.
            StreamIdle: nothing comes.
            EyasError: what came is wrong, or could not be kept.
        """
        if self._error is not None:
            raise self._error
        self._reader = asyncio.create_task(self._read())
        too_old = self._loop.call_later(self._limits.lifetime_seconds, self.end, TOO_OLD)
        try:
            await self._reader
        except asyncio.CancelledError:
            if self._error is None:  # the caller has left
                raise
            raise self._error from None
        finally:
            too_old.cancel()
            await self._leave()
        return self._whole

    def end(self, why: str) -> None:
        """Reads no more; what has come is kept."""
        self._error = self._error or StreamEnded(f"{why}: ask what is missing, and send it on another stream.")
        if self._reader is not None:
            self._reader.cancel()

    async def _read(self) -> None:
        while (request := await self._next()) is not None:
            size_bytes = sum(len(piece.content) for piece in request.pieces)
            if len(request.pieces) > MAX_BLOBS or size_bytes > MAX_CONTENT_BYTES:
                raise InvalidArgument(
                    "pieces",
                    f"A message has more than {MAX_CONTENT_BYTES:,} bytes of content, or {MAX_BLOBS:,} pieces: send several.",
                )
            self._spend(size_bytes)
            for piece in request.pieces:
                blob = blob_of(piece.blob, "pieces.blob")
                if piece.offset == 0 and len(piece.content) == blob.size_bytes:
                    await self._put(blob, piece.content)
                else:
                    self._receiving = self._loop.run_in_executor(self._pool, self._receive, blob, piece.offset, piece.content)
                    await asyncio.shield(self._receiving)
        await self._make_room(0, 0)

    async def _next(self) -> pb.UploadDatasetRequest | None:
        idle = self._limits.idle_seconds
        try:
            async with asyncio.timeout(idle):
                return await anext(self._requests, None)
        except TimeoutError:
            raise StreamIdle(f"Nothing came whole for {idle:g} s: ask what is missing, and send it in smaller messages.") from None

    async def _put(self, blob: Blob, content: bytes) -> None:
        await self._make_room(self._limits.held_blobs - 1, self._limits.held_bytes - len(content))
        writing = self._loop.run_in_executor(self._pool, self._blobs.put, blob, content)
        writing.add_done_callback(_look_at)
        self._held[writing] = len(content)

    async def _make_room(self, blobs: int, size_bytes: int) -> None:
        """Waits until so little is being written. Raises what it met."""
        while len(self._held) > blobs or sum(self._held.values()) > size_bytes:
            done, _ = await asyncio.wait(self._held, return_when=asyncio.FIRST_COMPLETED)
            for writing in done:
                del self._held[writing]
                writing.result()
                self._whole += 1

    def _receive(self, blob: Blob, offset: int, content: bytes) -> None:
        """Takes a piece of large content, in a thread; one at a time."""
        if self._arrival is not None and self._arrival.blob != blob:
            self._keep()
        if self._arrival is None:
            self._arrival = self._blobs.arrive(blob, offset)
        elif self._arrival.received != offset:
            raise conflict(blob, offset)
        try:
            self._arrival.add(content)
            if not self._arrival.is_whole:
                return
            arrival, self._arrival = self._arrival, None
            arrival.finish()
        except DigestMismatch:
            self._arrival = None
            raise
        self._whole += 1

    def _keep(self) -> None:
        if self._arrival is not None:
            arrival, self._arrival = self._arrival, None
            arrival.leave()

    async def _leave(self) -> None:
        """Keeps the part that has come of large content."""
        if self._receiving is not None:
            await asyncio.wait({self._receiving})
            _look_at(self._receiving)
        if self._arrival is not None:
            await self._loop.run_in_executor(self._pool, self._keep)


def _look_at(future: asyncio.Future[Any]) -> None:
    """Where one error has ended the upload, asyncio is not to report those of other writers as lost."""
    if not future.cancelled():
        future.exception()
