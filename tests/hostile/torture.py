"""What may be done to the gRPC port without a client: HTTP/2 and nothing at all, as no library would send them; see also `web`.

Each attack is one connection's, or that of many; `Torture` says what became of a server meanwhile.
"""

from __future__ import annotations

import asyncio
import gzip
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Final

import eyas.aio
from builders import picture
from http2 import CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, RST_STREAM, SETTINGS, Http2, block

CLASSIFY: Final = "/eyas.v1.ClassificationService/Classify"
CHECK: Final = "/grpc.health.v1.Health/Check"
LIVE: Final = "/inference.GRPCInferenceService/ServerLive"
_PRIORITY, _PUSH, _GOAWAY, _WINDOW = 0x2, 0x5, 0x7, 0x8
_PADDED: Final = 0x8
_FRAME_BYTES: Final = 16_384
_HELD_SECONDS: Final = 2.0
_WAIT_SECONDS: Final = 1.0  # for an answer; what is sent half gets none
_MESSAGE: Final = b"\0\0\0\0\0"  # an empty one, not compressed
_NEARLY: Final = b"\0" + (30_000_000).to_bytes(4, "big") + bytes(29_999_999)  # one that lacks its last byte

Attack = Callable[[int, int], Awaitable[int]]


@cache
def bomb() -> bytes:
    """Returns 64 MB of zeros, as gzip."""
    return gzip.compress(bytes(64 * 1024 * 1024))


# Each takes the port, and how often; and returns how often it got to.


async def garbage(port: int, times: int) -> int:
    """Bytes that are no HTTP/2, in their thousands."""
    random = Random(times)
    for _ in range(times):
        await send(port, random.choice((b"", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/1.1\r\n")) + random.randbytes(2_000))
    return times


async def malformed(port: int, times: int) -> int:
    """Frames that RFC 9113 has no use for, each on a connection of its own."""
    frames = (
        (DATA, 0, 0, b"x"),
        (DATA, _PADDED, 1, b"\xff"),
        (DATA, END_STREAM, 3, b""),
        (HEADERS, END_HEADERS, 0, block(LIVE)),
        (HEADERS, END_HEADERS, 2, block(LIVE)),
        (HEADERS, END_HEADERS | _PADDED, 1, b"\xff" + block(LIVE)),
        (HEADERS, END_HEADERS | END_STREAM, 1, b"\x80"),
        (HEADERS, END_HEADERS | END_STREAM, 1, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"),
        (HEADERS, END_HEADERS | END_STREAM, 1, b"\x3f\xff\xff\xff\xff\x0f"),
        (HEADERS, END_HEADERS | END_STREAM, 1, b"\0\x85\xff\xff\xff\xff\xff\x01a"),
        (HEADERS, END_HEADERS | END_STREAM, 1, block(b"\0/\r\n")),
        (HEADERS, END_HEADERS | END_STREAM, 1, block(LIVE, (b"Upper", b"x"), (b"", b""), (b":path", b"/again"))),
        (HEADERS, END_HEADERS, 1, block(LIVE, (b"content-length", b"-1"), (b"grpc-timeout", b"99999999999H"))),
        (HEADERS, END_HEADERS, 1, block(LIVE, (b"grpc-encoding", b"\xff"), (b"x-bin", b"!!!"), (b"grpc-status", b"0"))),
        (_PRIORITY, 0, 1, (1).to_bytes(4, "big") + b"\0"),
        (RST_STREAM, 0, 0, bytes(4)),
        (RST_STREAM, 0, 99, bytes(3)),
        (SETTINGS, 0, 1, b""),
        (SETTINGS, 0, 0, b"\0"),
        (SETTINGS, 0x1, 0, bytes(6)),
        (SETTINGS, 0, 0, b"\0\x04\xff\xff\xff\xff"),
        (SETTINGS, 0, 0, b"\0\x05\0\0\0\0"),
        (_PUSH, END_HEADERS, 1, bytes(4)),
        (PING, 0, 0, bytes(7)),
        (_GOAWAY, 0, 0, bytes(3)),
        (_WINDOW, 0, 0, bytes(4)),
        (_WINDOW, 0, 0, b"\x7f\xff\xff\xff"),
        (CONTINUATION, END_HEADERS, 1, block(LIVE)),
        (0xFA, 0xFF, 0x7FFFFFFF, b"unknown"),
        (DATA, 0, 1, bytes(_FRAME_BYTES + 1)),
    )
    for _ in range(times):
        for kind, flags, stream, payload in frames:
            async with Http2(port) as connection:
                if stream == 1 and kind in {DATA, _PRIORITY, CONTINUATION}:
                    connection.call(LIVE)
                connection.send(kind, payload, flags=flags, stream=stream)
                connection.send(DATA, _MESSAGE, flags=END_STREAM, stream=1)
                await connection.flush()
    return times * len(frames)


async def left(port: int, times: int) -> int:
    """Calls of which nothing but the headers comes, on connections that then are gone."""
    for _ in range(times):
        async with Http2(port) as connection:
            for _ in range(20):
                connection.call(CLASSIFY)
            await connection.flush()
    return 20 * times


async def half_sent(port: int, times: int) -> int:
    """Calls of whose message a byte comes, which stay while good calls are made."""
    async with Http2(port) as connection:
        for _ in range(min(times, 100)):
            connection.send(DATA, b"\0", stream=connection.call(CLASSIFY))
        await connection.flush()
        await asyncio.sleep(0.5)
    return min(times, 100)


async def nearly_sent(port: int, times: int) -> int:
    """Messages of 30 MB that come but for their last byte, of 25 calls a connection."""
    return await _held(port, times, lambda connection: connection.send_data(_NEARLY, connection.call(CLASSIFY)))


async def probes_nearly_sent(port: int, times: int) -> int:
    """The same of a method that everybody may call."""
    return await _held(port, times, lambda connection: connection.send_data(_NEARLY, connection.call(CHECK)))


async def drips(port: int, times: int) -> int:
    """Messages of which a byte comes every tenth of a second."""

    async def drip(connection: Http2) -> None:
        stream = connection.call(CLASSIFY)
        for byte in b"\0\0\1\0\0" + bytes(1_000):
            await connection.send_data(bytes([byte]), stream)
            await asyncio.sleep(0.1)

    return await _held(port, times, drip)


async def resets(port: int, times: int) -> int:
    """Calls that are reset as they are opened."""
    return await _each(port, times, lambda one: one.send(RST_STREAM, (8).to_bytes(4, "big"), stream=one.call(CLASSIFY)))


async def too_many(port: int, times: int) -> int:
    """More calls than a connection may have, whatever the server says of it."""
    return await _each(port, times, lambda one: one.call(CLASSIFY))


async def pings(port: int, times: int) -> int:
    return await _each(port, times, lambda one: one.ping())


async def changes_of_settings(port: int, times: int) -> int:
    return await _each(port, times, lambda one: one.send(SETTINGS, b"\0\x04\0\0\xff\xff"))


async def empty_data(port: int, times: int) -> int:
    """Frames of no bytes, of a call that never ends."""
    async with Http2(port) as connection:
        stream = connection.call(CLASSIFY)
        return await connection.each(times, lambda _: connection.send(DATA, stream=stream))


async def continuations(port: int, times: int) -> int:
    """Headers that go on and on, 16 KB a frame."""
    async with Http2(port) as connection:
        connection.send(HEADERS, block(LIVE), stream=1)
        more = (b"\0\x01a\x7f\x81\x7f" + bytes([97]) * 16_384)[:_FRAME_BYTES]
        return await connection.each(times, lambda _: connection.send(CONTINUATION, more, stream=1))


async def header_bombs(port: int, times: int) -> int:
    """One header of 4 KB, kept by HPACK, and 16,000 bytes that each mean it."""
    async with Http2(port) as connection:
        large = b"\x40\x01b\x7f\xa1\x1e" + b"b" * 4_000
        first = connection.call(LIVE, flags=END_STREAM)
        connection.send(HEADERS, block(LIVE) + large, flags=END_HEADERS | END_STREAM, stream=first + 2)
        return await connection.each(
            times, lambda n: connection.send(HEADERS, b"\xbe" * 16_000, flags=END_HEADERS | END_STREAM, stream=first + 4 + 2 * n)
        )


async def metadata(port: int, times: int) -> int:
    """A thousand headers a call, whose values are no text, or large ones."""
    many = [(f"x{number}".encode(), b"\xff\xfe") for number in range(1_000)]

    def call(connection: Http2, number: int) -> None:
        more = many if number % 2 else [(b"x", b"y" * 15_000)]
        connection.headers(block(LIVE, *more), flags=END_STREAM)

    async with Http2(port) as connection:
        return await connection.each(times, lambda number: call(connection, number))


async def compressed_bombs(port: int, times: int) -> int:
    """Messages of twice as many zeros as a message may have bytes, in a thousandth of them."""
    packed = bomb()
    message = b"\1" + len(packed).to_bytes(4, "big") + packed
    done = 0
    for _ in range(times):
        async with Http2(port) as connection:
            stream = connection.call(CLASSIFY, (b"grpc-encoding", b"gzip"))
            await connection.send_data(message, stream)
            connection.send(DATA, flags=END_STREAM, stream=stream)
            await connection.flush()
            done += await connection.ended()
    return done


async def lengths_that_lie(port: int, times: int) -> int:
    """Messages of 4 GB, of which a byte comes; and flags that there are none of."""
    for number in range(times):
        async with Http2(port) as connection:
            stream = connection.call(CLASSIFY)
            connection.send(DATA, bytes([number % 4]) + b"\xff\xff\xff\xff" + b"x", stream=stream)
            await connection.flush()
            await connection.ended(1)
    return times


async def no_readers(port: int, times: int) -> int:
    """Calls whose answers nobody makes room for."""
    done = 0
    for _ in range(times):
        async with Http2(port) as connection:
            connection.send(SETTINGS, b"\0\x04\0\0\0\0")  # a window of no bytes for every stream
            for _ in range(50):
                connection.send(DATA, _MESSAGE, flags=END_STREAM, stream=connection.call("/grpc.health.v1.Health/Watch"))
            await connection.flush()
            await asyncio.sleep(0.2)
            done += 50
    return done


GRPC: Final[dict[Attack, tuple[int, int]]] = {
    # attack -> how often in `make test`, and in all
    garbage: (20, 2_000),
    malformed: (1, 50),
    left: (5, 500),
    half_sent: (100, 100),
    nearly_sent: (50, 400),
    probes_nearly_sent: (50, 400),
    drips: (100, 1_000),
    resets: (2_000, 100_000),
    too_many: (1_000, 20_000),
    pings: (2_000, 100_000),
    changes_of_settings: (1_000, 50_000),
    empty_data: (2_000, 100_000),
    continuations: (500, 20_000),
    header_bombs: (20, 1_000),
    metadata: (10, 2_000),
    compressed_bombs: (1, 50),
    lengths_that_lie: (4, 200),
    no_readers: (1, 20),
}


@dataclass
class Torture:
    """What happened to a server during an attack.

    Attributes:
        times: how often it was made.
        good: calls that were answered meanwhile.
        longest_seconds: that one of them took.
        grown_bytes: the most by which its memory was larger than before.
    """

    times: int
    good: int
    longest_seconds: float
    grown_bytes: int


async def torture(attack: Attack, port: int, times: int, address: str, process: int) -> Torture:
    """Makes an attack while good calls are made, each of which must be answered, the first and the last outside of it."""
    before = most = _resident(process)
    good, longest = 0, 0.0
    async with eyas.aio.Client(address, retries=False, timeout=30) as client:

        async def call() -> None:
            nonlocal good, longest, most
            start = time.monotonic()
            await client.classify("kept", picture())
            good, longest = good + 1, max(longest, time.monotonic() - start)
            most = max(most, _resident(process))

        await call()
        attacking = asyncio.ensure_future(attack(port, times))
        try:
            while not attacking.done():
                await call()
                await asyncio.sleep(0.1)
            await call()
            return Torture(attacking.result(), good, longest, most - before)
        finally:
            attacking.cancel()


def _resident(process: int) -> int:
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def _held(port: int, times: int, act: Callable[[Http2], Awaitable[object]]) -> int:
    """Does something so often, 25 times on a connection, for some seconds."""
    async with AsyncExitStack() as open_:
        connections = [await open_.enter_async_context(Http2(port)) for _ in range(-(-times // 25))]
        acting = [asyncio.ensure_future(act(connections[number % len(connections)])) for number in range(times)]
        await asyncio.wait(acting, timeout=_HELD_SECONDS)
        for one in acting:
            one.cancel()
        await asyncio.gather(*acting, return_exceptions=True)
    return times


async def _each(port: int, times: int, act: Callable[[Http2], object]) -> int:
    async with Http2(port) as connection:
        return await connection.each(times, lambda _: act(connection))


async def send(port: int, content: bytes) -> None:
    """Sends bytes, and reads what comes until the server has said something, or enough."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with suppress(ConnectionError, TimeoutError):
        async with asyncio.timeout(_WAIT_SECONDS):
            writer.write(content)
            await writer.drain()
            await reader.read(1)
    writer.close()
