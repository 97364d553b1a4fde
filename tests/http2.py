"""A bare HTTP/2 client, for what no gRPC client would send."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Final

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0x0, 0x1, 0x3, 0x4, 0x6, 0x7
_END_HEADERS: Final = 0x4
_ACK: Final = 0x1


class Http2:
    """A connection: `async with Http2(port) as connection`."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._stream = -1
        self.goaway: bytes | None = None
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

    def call(self, path: str) -> int:
        """Sends the headers of a call, and returns the number of its stream."""
        self._stream += 2
        headers = {
            ":method": "POST",
            ":scheme": "http",
            ":path": path,
            ":authority": "localhost",
            "te": "trailers",
            "content-type": "application/grpc",
        }
        # Literal header fields without indexing (RFC 7541, 6.2.2), not compressed.
        block = b"".join(b"\0" + bytes([len(name)]) + name.encode() + bytes([len(v)]) + v.encode() for name, v in headers.items())
        self.send(HEADERS, block, flags=_END_HEADERS, stream=self._stream)
        return self._stream

    def ping(self) -> None:
        self.send(PING, bytes(8))

    async def drain(self) -> None:
        await self._writer.drain()

    async def _read(self) -> None:
        """Acknowledges settings, and notes the server's farewell."""
        while True:
            head = await self._reader.readexactly(9)
            payload = await self._reader.readexactly(int.from_bytes(head[:3], "big"))
            if head[3] == SETTINGS and not head[4] & _ACK:
                self.send(SETTINGS, flags=_ACK)
            elif head[3] == PING and not head[4] & _ACK:
                self.send(PING, payload, flags=_ACK)
            elif head[3] == GOAWAY:
                self.goaway = payload[8:]
