"""How callers find the pods of a Service: by a name that has the addresses of all, or by one address that leads to any of them."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

_IPV4, _INTERNET, _POINTER = 1, 1, b"\xc0\x0c"  # type A, class IN, and a pointer to the name in the question (RFC 1035)
_ANSWER, _HEADER_BYTES, _LIFETIME_SECONDS = 0x8580, 12, 5


class NameServer(asyncio.DatagramProtocol):
    """Has one answer to every question: the addresses, as a headless Service's name has those of its pods.

    Attributes:
        addresses: IPv4.
    """

    def __init__(self) -> None:
        self.addresses: Sequence[str] = ()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._transport.close()

    def target(self, port: int) -> str:
        """Returns the address by which a client of gRPC asks this server, and no other, for the pods."""
        own = self._transport.get_extra_info("sockname")[1]
        return f"dns://127.0.0.1:{own}/eyas-server-headless:{port}"

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        end = _HEADER_BYTES
        while data[end]:
            end += data[end] + 1
        question = data[_HEADER_BYTES : end + 5]
        (kind,) = struct.unpack_from(">H", data, end + 1)
        found = self.addresses if kind == _IPV4 else ()
        answers = (_POINTER + struct.pack(">HHIH", _IPV4, _INTERNET, _LIFETIME_SECONDS, 4) + socket.inet_aton(ip) for ip in found)
        header = struct.pack(">HHHHH", _ANSWER, 1, len(found), 0, 0)
        self._transport.sendto(data[:2] + header + question + b"".join(answers), addr)


class VirtualAddress:
    """Leads each new connection to one of the addresses, as a Service's address does; one that stands stays where it is.

    Attributes:
        addresses: IPv4.
        host: its own.
    """

    def __init__(self, ports: Sequence[int], host: str = "127.0.0.1") -> None:
        """Listens on the same ports as those that it leads to do."""
        self.addresses: Sequence[str] = ()
        self.host = host
        self._ports = ports
        self._random = random.Random(0)
        self._ends: set[asyncio.StreamWriter] = set()
        self._passing: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._servers = [await asyncio.start_server(self._serve(port), self.host, port) for port in self._ports]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for server in self._servers:
            server.close()
        for end in self._ends:
            end.transport.abort()
        await asyncio.gather(*self._passing, return_exceptions=True)

    def _serve(self, port: int) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if (passing := asyncio.current_task()) is not None:
                self._passing.add(passing)
                passing.add_done_callback(self._passing.discard)
            self._ends.add(writer)
            there = None
            try:
                there_reader, there = await asyncio.open_connection(self._random.choice(self.addresses), port)
                self._ends.add(there)
                await asyncio.gather(_copy(reader, there), _copy(there_reader, writer))
            except (OSError, IndexError):  # nobody is there
                pass
            finally:
                for end in (writer, there):
                    if end is not None:
                        self._ends.discard(end)
                        end.transport.abort()

        return serve


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    with suppress(OSError):  # what has ended one way may go on the other
        writer.write_eof()
