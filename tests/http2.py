"""A bare HTTP/2 client, for what no gRPC client would send."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Final

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0x0, 0x1, 0x3, 0x4, 0x6, 0x7
END_STREAM, END_HEADERS = 0x1, 0x4
_ACK: Final = 0x1


def block(path: bytes | str, *more: tuple[bytes, bytes]) -> bytes:
    """Returns the headers of a call, as literal fields without indexing (RFC 7541, 6.2.2), not compressed."""
    needed = {
        b":method": b"POST",
        b":scheme": b"http",
        b":path": path.encode() if isinstance(path, str) else path,
        b":authority": b"localhost",
        b"te": b"trailers",
        b"content-type": b"application/grpc",
    }
    return b"".join(b"\0" + _text(name) + _text(value) for name, value in (*needed.items(), *more))


def _text(value: bytes) -> bytes:
    """Returns a string of HPACK (RFC 7541, 5.1 and 5.2)."""
    length, head = len(value), b""
    if length < 127:
        return bytes([length]) + value
    length -= 127
    while length >= 128:
        head += bytes([length % 128 + 128])
        length //= 128
    return b"\x7f" + head + bytes([length]) + value


class Http2:
    """A connection: `async with Http2(port) as connection`."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._stream = -1
        self.goaway: bytes | None = None
        self._ended = asyncio.Event()
        self._reading: asyncio.Task[None]
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def __aenter__(self) -> Http2:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        self.send(SETTINGS)
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._reading.cancel()
        self._writer.close()

    def send(self, kind: int, payload: bytes = b"", *, flags: int = 0, stream: int = 0) -> None:
        self._writer.write(len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload)

    def call(self, path: bytes | str, *more: tuple[bytes, bytes], flags: int = 0) -> int:
        """Sends the headers of a call, `more` after those that there have to be, and returns the number of its stream."""
        self._stream += 2
        self.send(HEADERS, block(path, *more), flags=END_HEADERS | flags, stream=self._stream)
        return self._stream

    def ping(self) -> None:
        self.send(PING, bytes(8))

    async def drain(self) -> None:
        await self._writer.drain()

    async def ended(self, seconds: float = 30) -> bool:
        """Returns whether the server has ended a stream, or the connection, within so long."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), seconds)
        return self._ended.is_set()

    async def _read(self) -> None:
        """Acknowledges settings, and notes how things end."""
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._frames()
        finally:
            self._ended.set()

    async def _frames(self) -> None:
        while True:
            head = await self._reader.readexactly(9)
            payload = await self._reader.readexactly(int.from_bytes(head[:3], "big"))
            if head[3] == RST_STREAM or (head[3] in {HEADERS, DATA} and head[4] & END_STREAM):
                self._ended.set()
            if head[3] == SETTINGS and not head[4] & _ACK:
                self.send(SETTINGS, flags=_ACK)
            elif head[3] == PING and not head[4] & _ACK:
                self.send(PING, payload, flags=_ACK)
            elif head[3] == GOAWAY:
                self.goaway = payload[8:]
