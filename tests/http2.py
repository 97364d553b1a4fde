"""A bare HTTP/2 client, for what no gRPC client would send."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Final

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, CONTINUATION = 0x0, 0x1, 0x3, 0x4, 0x6, 0x7, 0x9
END_STREAM, END_HEADERS = 0x1, 0x4
_ACK: Final = 0x1
_WINDOW_UPDATE: Final = 0x8
_INITIAL_WINDOW: Final = b"\0\x04"
_FIRST_WINDOW: Final = 65_535
_FRAME_BYTES: Final = 16_384


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
        self.pong = asyncio.Event()  # all that was sent before the ping has been read
        self._over: set[int] = set()  # streams that the server has ended
        self._ended = asyncio.Event()
        self._first_window = _FIRST_WINDOW
        self._windows = {0: _FIRST_WINDOW}  # of the connection, and of its streams
        self._grown = asyncio.Event()
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
        return self.headers(block(path, *more), flags=flags)

    def headers(self, fields: bytes, *, flags: int = 0) -> int:
        """Sends headers in as many frames as they take, and returns the number of the stream that they open."""
        self._stream += 2
        pieces = [fields[at : at + _FRAME_BYTES] for at in range(0, len(fields), _FRAME_BYTES)]
        for number, piece in enumerate(pieces):
            last = END_HEADERS if number == len(pieces) - 1 else 0
            self.send(CONTINUATION if number else HEADERS, piece, flags=last | (0 if number else flags), stream=self._stream)
        return self._stream

    def ping(self) -> None:
        self.send(PING, bytes(8))

    async def drain(self) -> None:
        await self._writer.drain()

    async def flush(self) -> None:
        """Waits until all is sent, or the server wants no more."""
        with suppress(ConnectionError):
            await self.drain()

    async def each(self, times: int, act: Callable[[int], object]) -> int:
        """Does something so often, or until the server has closed the connection; returns how often."""
        for number in range(times):
            act(number)
            if number % 50 == 0:
                await self.flush()
                await asyncio.sleep(0)
                if self._reading.done():
                    return number
        await self.flush()
        return times

    async def send_data(self, content: bytes, stream: int) -> int:
        """Sends bytes of a stream as the server makes room for them, and returns how many, until it has ended the stream."""
        sent = 0
        while sent < len(content):
            room = min(self._windows[0], self._windows.setdefault(stream, self._first_window), _FRAME_BYTES, len(content) - sent)
            if self._reading.done() or stream in self._over:
                break
            if room <= 0:
                self._grown.clear()
                await self._grown.wait()
                continue
            self._windows[0] -= room
            self._windows[stream] -= room
            self.send(DATA, content[sent : sent + room], stream=stream)
            sent += room
            await self.flush()
        return sent

    async def over(self, stream: int) -> None:
        """Waits until the server has ended a stream, or the connection."""
        while stream not in self._over and not self._reading.done():
            self._grown.clear()
            await self._grown.wait()

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
            self._grown.set()

    async def _frames(self) -> None:
        while True:
            head = await self._reader.readexactly(9)
            payload = await self._reader.readexactly(int.from_bytes(head[:3], "big"))
            stream = int.from_bytes(head[5:], "big")
            if head[3] == RST_STREAM or (head[3] in {HEADERS, DATA} and head[4] & END_STREAM):
                self._over.add(stream)
                self._ended.set()
                self._grown.set()
            if head[3] == SETTINGS and not head[4] & _ACK:
                for at in range(0, len(payload), 6):
                    if payload[at : at + 2] == _INITIAL_WINDOW:
                        before, self._first_window = self._first_window, int.from_bytes(payload[at + 2 : at + 6], "big")
                        self._windows |= {of: window + self._first_window - before for of, window in self._windows.items() if of}
                self._grown.set()
                self.send(SETTINGS, flags=_ACK)
            elif head[3] == PING:
                if head[4] & _ACK:
                    self.pong.set()
                else:
                    self.send(PING, payload, flags=_ACK)
            elif head[3] == _WINDOW_UPDATE:
                self._windows[stream] = self._windows.get(stream, self._first_window) + int.from_bytes(payload, "big")
                self._grown.set()
            elif head[3] == GOAWAY:
                self.goaway = payload[8:]
