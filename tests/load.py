"""Callers who ask for labels without pause over every door, for hours if need be, and tell of each answer as it comes.

A caller has a connection of its own and one call at a time; what he hears he tells, and keeps nothing. Nothing is repeated, so that
each failure is seen. See `tellers` for whether an answer is right.
"""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

import aiohttp
import grpc

import eyas
from builders import picture
from tellers import Colour

_AFRESH_AT_ONCE = 8
_AGAIN_SECONDS = 0.1  # after a call that failed
_CALLS_A_CONNECTION = 50  # of several acceptors another one gets the next
_CODES = {code.value[0]: code.name for code in grpc.StatusCode}


@dataclass(frozen=True, slots=True)
class Asked:
    """A call, and how it ended.

    Attributes:
        door: over which: `grpc`, `stream` or `http`.
        model: that was asked for, as `NAME`, `NAME@ALIAS` or `NAME/VERSION`.
        colour: of the picture.
        start: when, in seconds of the monotonic clock.
        end: of the call.
        version: that answered, such as `colours/3`; "" where none did.
        label: the most probable one.
        probability: of it.
        error: the name of the status that it failed with; "" is none.
        message: of the error.
    """

    door: str
    model: str
    colour: Colour
    start: float
    end: float
    version: str = ""
    label: str = ""
    probability: float = 0.0
    error: str = ""
    message: str = ""


class _Failed(Exception):
    """A call failed with a status, for a reason."""


_Answer = tuple[str, str, float]  # version, label, probability
_Ask = Callable[[str, bytes], Awaitable[_Answer]]
_Door = Callable[[str, float], AbstractAsyncContextManager[_Ask]]


class Load:
    """Callers in a thread of their own, from `begin` to `end`."""

    def __init__(
        self,
        address: str,
        http_address: str,
        models: Callable[[], Sequence[str]],
        hear: Callable[[Asked], None],
        *,
        callers: dict[str, int],
        seed: int = 0,
        pause_seconds: float = 0.02,
        timeout_seconds: float = 20.0,
    ) -> None:
        """Begins nothing yet.

        Args:
            address: of gRPC.
            http_address: of the HTTP door.
            models: what may be asked for at the moment, of which each call has one.
            hear: told of each call, in the load's thread.
            callers: how many there are, by door.
            seed: of every choice.
            pause_seconds: of each caller between an answer and the next call.
            timeout_seconds: of a call.
        """
        self._addresses = {"grpc": address, "stream": address, "http": http_address}
        self._models, self._hear, self._callers = models, hear, callers
        self._random = random.Random(seed)
        self._pause, self._timeout = pause_seconds, timeout_seconds
        colours = [(self._random.randrange(256), self._random.randrange(256), self._random.randrange(256)) for _ in range(32)]
        self._pictures = [(colour, picture(colour)) for colour in colours]
        self._ending = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="load")

    def begin(self) -> None:
        """Has callers ask from now on."""
        self._thread.start()

    def end(self) -> None:
        """Has no further call begun, and waits for those under way."""
        self._ending.set()
        self._thread.join()

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for door, count in self._callers.items():
                for _ in range(count):
                    group.create_task(self._call(door))

    async def _call(self, door: str) -> None:
        while not self._ending.is_set():
            async with _DOORS[door](self._addresses[door], self._timeout) as ask:
                for _ in range(_CALLS_A_CONNECTION):
                    model, (colour, content) = self._random.choice(self._models()), self._random.choice(self._pictures)
                    start, answer, failure = time.monotonic(), ("", "", 0.0), ("", "")
                    try:
                        answer = await ask(model, content)
                    except _Failed as failed:
                        failure = failed.args
                    self._hear(Asked(door, model, colour, start, time.monotonic(), *answer, *failure))
                    await asyncio.sleep(_AGAIN_SECONDS if failure[0] else self._pause)
                    if self._ending.is_set():
                        return


def ask_afresh(address: str, model: str, count: int) -> set[str]:
    """Returns the versions that answered so many calls, each over a connection of its own; none where one of them failed."""

    def ask(content: bytes) -> str:
        with eyas.Client(address, timeout=5.0, retries=False) as client:
            client._channel = grpc.insecure_channel(address, _own_connection(client))
            return client.classify(model, content).version

    with ThreadPoolExecutor(_AFRESH_AT_ONCE) as pool:
        try:
            return set(pool.map(ask, [picture()] * count))
        except eyas.EyasError:
            return set()


def _own_connection(client: eyas.Client | eyas.aio.Client) -> tuple[tuple[str, str | int], ...]:
    """Returns the options of a channel whose connection no other one shares, which is gRPC's to say."""
    return (*client._connection.options, ("grpc.use_local_subchannel_pool", 1))


def _client(address: str, timeout_seconds: float) -> eyas.aio.Client:
    client = eyas.aio.Client(address, timeout=timeout_seconds, retries=False)
    client._channel = grpc.aio.insecure_channel(address, _own_connection(client))
    return client


def _answer(said: eyas.Classification) -> _Answer:
    return said.version, said.predictions[0].label, said.predictions[0].probability


def _failed(error: eyas.EyasError) -> _Failed:
    by_class = "UNAVAILABLE" if isinstance(error, eyas.Unavailable) else type(error).__name__  # of a stream that ended too early
    return _Failed(error.code.name if error.code else by_class, error.message)


@asynccontextmanager
async def _grpc(address: str, timeout_seconds: float) -> AsyncIterator[_Ask]:
    """Asks by `Classify`."""
    async with _client(address, timeout_seconds) as client:

        async def ask(model: str, content: bytes) -> _Answer:
            try:
                return _answer(await client.classify(model, content))
            except eyas.EyasError as error:
                raise _failed(error) from error

        yield ask


@asynccontextmanager
async def _stream(address: str, timeout_seconds: float) -> AsyncIterator[_Ask]:
    """Asks by `ClassifyStream`, a stream for each picture."""
    async with _client(address, timeout_seconds) as client:

        async def ask(model: str, content: bytes) -> _Answer:
            try:
                ((_, result),) = [pair async for pair in client.classify_stream(model, [content])]
            except eyas.EyasError as error:
                raise _failed(error) from error
            if isinstance(result, eyas.EyasError):
                raise _failed(result)
            return _answer(result)

        yield ask


@asynccontextmanager
async def _http(address: str, timeout_seconds: float) -> AsyncIterator[_Ask]:
    """Asks by the HTTP door; a connection that breaks is UNAVAILABLE, as the client library has it."""
    timeout = aiohttp.ClientTimeout(total=timeout_seconds)
    async with aiohttp.ClientSession(f"http://{address}", timeout=timeout) as session:

        async def ask(model: str, content: bytes) -> _Answer:
            path = model.replace("@", "/aliases/") if "@" in model else model.replace("/", "/versions/")
            headers = {"content-type": "image/png"}
            try:
                async with session.post(f"/v1/models/{path}:classify", data=content, headers=headers) as response:
                    text = await response.text()
            except TimeoutError as error:
                raise _Failed("DEADLINE_EXCEEDED", "") from error
            except aiohttp.ClientError as error:
                raise _Failed("UNAVAILABLE", repr(error)) from error
            body = json.loads(text)
            result = body["results"][0] if response.ok else body
            if "classification" not in result:
                status = result.get("error", result)
                raise _Failed(_CODES[status["code"]], status["message"])
            best = result["classification"]["predictions"][0]
            return body["modelVersion"].removeprefix("models/").replace("/versions/", "/"), best["label"], best["probability"]

        yield ask


_DOORS: dict[str, _Door] = {"grpc": _grpc, "stream": _stream, "http": _http}
