"""A connection between a client and a server that breaks when the test says so."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self


class Proxy:
    """Passes bytes on to a port of this machine, and cuts every connection once so many have gone to the server.

    Attributes:
        port: that clients connect to.
        target: port that they get through to.
        cuts: how many bytes each of the next connections lets through; a connection after them has no bound.
        broken: how many were cut.
        passed_bytes: to the server, over all connections.
        away: whether nobody gets through; see `leave`.
    """

    def __init__(self, target: int, cuts: list[int]) -> None:
        self.port = 0
        self.cuts = cuts
        self.broken = self.passed_bytes = 0
        self.away = False
        self.target = target
        self._ends: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._passing: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._pass, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.leave()
        for listener in self._server.sockets:
            asyncio.get_running_loop().remove_reader(listener.fileno())
        await asyncio.sleep(0.01)  # asyncio leaves open what it was about to accept when a server is closed
        self._server.close()
        await asyncio.gather(*self._passing)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def leave(self) -> None:
        """Cuts what is there, and lets nobody through until `away` is unset."""
        self.away = True
        for end in self._ends:
            end.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.away:
            writer.transport.abort()
            return
        self._ends.add(writer)
        if (passing := asyncio.current_task()) is not None:
            self._passing.add(passing)
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self.target)
        left = self.cuts.pop(0) if self.cuts else None
        back = asyncio.create_task(self._copy(there_reader, writer))
        self._tasks.add(back)
        try:
            while data := await reader.read(65_536):
                passed = data if left is None else data[:left]
                self.passed_bytes += len(passed)
                there_writer.write(passed)
                await there_writer.drain()
                if left is not None:
                    left -= len(passed)
                    if left == 0:
                        self.broken += 1
                        break
        except ConnectionError:
            pass
        finally:
            self._ends.discard(writer)
            back.cancel()
            for end in (writer, there_writer):
                end.transport.abort()

    @staticmethod
    async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            return
        writer.transport.abort()
