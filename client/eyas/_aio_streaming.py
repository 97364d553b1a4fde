"""How the asynchronous client carries out a stream: one task takes pictures and sends them, the caller's takes the answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Iterable
from contextlib import suppress
from typing import Any

import grpc
from google.protobuf.message import Message

from eyas._errors import UndecodableImage
from eyas._images import Image
from eyas._stream import Picture, Pictures, read

Images = Iterable[Image] | AsyncIterable[Image]
_Taken = tuple[Image, bytes | UndecodableImage] | None


class Streaming:
    """The pictures of a stream, and the task that sends them."""

    def __init__(self, pictures: Pictures, images: Images) -> None:
        self._pictures = pictures
        self._images = aiter(images) if isinstance(images, AsyncIterable) else iter(images)
        self._changed = asyncio.Event()
        self._taking: asyncio.Task[_Taken] | None = None
        self._failure: Exception | None = None

    async def send(self, call: Any, first: Message) -> None:
        """Sends pictures in one call, until that has ended or everything is answered."""
        with suppress(grpc.RpcError, asyncio.InvalidStateError):  # the call has ended; who reads it is told how
            await call.write(first)
            while (picture := await self._next()) is not None:
                await call.write(picture.request())
            await call.done_writing()

    def wake(self) -> None:
        """Something has been answered or given out."""
        self._changed.set()

    def raise_failure(self) -> None:
        """Raises what the caller's own iterator raised, if it did."""
        if self._failure is not None:
            raise self._failure

    async def close(self) -> None:
        """Waits for no further picture."""
        if self._taking is not None:
            self._taking.cancel()
            await asyncio.wait({self._taking})

    async def _next(self) -> Picture | None:
        while not self._pictures.all_answered():
            self._changed.clear()
            pause = self._pictures.pause()
            if pause <= 0:
                if (picture := self._pictures.next()) is not None:
                    return picture
                if self._pictures.has_room:
                    await self._take()
                    continue
            with suppress(TimeoutError):
                async with asyncio.timeout(pause if pause > 0 else None):
                    await self._changed.wait()
        return None

    async def _take(self) -> None:
        """Takes the caller's next picture; a call that ends meanwhile leaves it to the next one."""
        if self._taking is None:
            self._taking = asyncio.create_task(self._taken())
        taking = self._taking
        taken = await asyncio.shield(taking)
        self._taking = None
        if taken is None:
            self._pictures.exhausted = True
        else:
            self._pictures.add(*taken)

    async def _taken(self) -> _Taken:
        try:
            if isinstance(self._images, AsyncIterable):
                image = await anext(self._images, None)
            else:
                image = await asyncio.to_thread(next, self._images, None)
            if image is None:
                return None
            return image, image if isinstance(image, bytes) else await asyncio.to_thread(read, image)
        except Exception as error:  # noqa: BLE001 - it is the caller's own, and raised where he iterates
            self._failure = error
            return None
