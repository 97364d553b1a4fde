"""Those who ask a service while its pods come and go, each by a timetable of its own, whatever becomes of the calls before."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

import aiohttp
import grpc

import eyas

_PAUSE_SECONDS = 0.5  # before one that was refused comes again


class WrongAnswer(Exception):
    """Says what was answered, and should not have been."""


@dataclass(frozen=True)
class Call:
    """How a call ended.

    Attributes:
        start: when it was due, in seconds since the epoch.
        seconds: until its answer.
        error: what it failed with; "" is nothing.
    """

    start: float
    seconds: float
    error: str = ""


class Callers:
    """Calls by kind, until they are told to end.

    Attributes:
        calls: how each has ended, by kind.
        refused: how often one was asked to come again, for want of room, and did.
    """

    def __init__(self, model: str, pictures: Sequence[bytes], rate: float) -> None:
        """Remembers what is asked, so many times a second and kind."""
        self.calls: dict[str, list[Call]] = {}
        self.refused = 0
        self._model, self._pictures, self._interval = model, pictures, 1 / rate
        self._ending = asyncio.Event()

    def end(self) -> None:
        """Has no further call begun."""
        self._ending.set()

    def failures(self) -> list[str]:
        """Returns what calls have failed with."""
        return [f"{kind}: {call.error}" for kind, calls in self.calls.items() for call in calls if call.error]

    async def classify(self, kind: str, client: eyas.aio.Client) -> None:
        """Asks by `Classify`."""

        async def ask(picture: bytes) -> None:
            await client.classify(self._model, picture)

        await self.ask(kind, ask)

    async def post(self, kind: str, address: str) -> None:
        """Asks by HTTP, over connections that are kept, and repeats nothing."""
        async with aiohttp.ClientSession(raise_for_status=True) as session:

            async def ask(picture: bytes) -> None:
                headers = {"content-type": "image/jpeg"}
                async with session.post(
                    f"http://{address}/v1/models/{self._model}:classify", data=picture, headers=headers
                ) as answer:
                    await answer.json()

            await self.ask(kind, ask)

    async def stream(self, kind: str, client: eyas.aio.Client) -> None:
        """Asks by `ClassifyStream`."""
        calls = self.calls.setdefault(kind, [])
        sent: deque[float] = deque()

        async def pictures() -> AsyncIterator[bytes]:
            async for due, picture in self._timetable():
                sent.append(due)
                yield picture

        async for _, result in client.classify_stream(self._model, pictures()):
            start = sent.popleft()
            calls.append(Call(start, time.time() - start, str(result) if isinstance(result, eyas.EyasError) else ""))

    async def ask(self, kind: str, ask: Callable[[bytes], Awaitable[None]]) -> None:
        """Asks in a way of the caller's own, which may raise `WrongAnswer`."""
        calls = self.calls.setdefault(kind, [])

        async def one(due: float, picture: bytes) -> None:
            error = ""
            while True:
                try:
                    await ask(picture)
                except (eyas.EyasError, aiohttp.ClientError, WrongAnswer) as failed:
                    if is_refused(failed):
                        self.refused += 1
                        await asyncio.sleep(_PAUSE_SECONDS)
                        continue
                    error = f"{type(failed).__name__}: {failed}"
                break
            calls.append(Call(due, time.time() - due, error))

        async with asyncio.TaskGroup() as group:
            async for due, picture in self._timetable():
                group.create_task(one(due, picture))

    async def _timetable(self) -> AsyncIterator[tuple[float, bytes]]:
        due, number = time.time(), 0
        while not self._ending.is_set():
            await asyncio.sleep(due - time.time())
            yield due, self._pictures[number % len(self._pictures)]
            due += self._interval
            number += 1


def is_refused(error: Exception) -> bool:
    """Returns whether a server that is full, as on a machine that is, has said so."""
    if isinstance(error, grpc.RpcError):
        return error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    return isinstance(error, eyas.Overloaded) or (isinstance(error, aiohttp.ClientResponseError) and error.status == 429)
