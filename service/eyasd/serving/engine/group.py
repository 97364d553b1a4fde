"""The engines of one version: as many as asked for, started again when they end, and connected to every acceptor."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import structlog

from eyasd.core.errors import EyasError, Unavailable
from eyasd.serving.engine.opening import Ready
from eyasd.serving.engine.process import EngineProcess
from eyasd.serving.engine.slots import Shape

# An engine that lived for so long was started in vain neither by itself nor by the picture that it was given first.
_STEADY_SECONDS: Final = 3.0
# At once after a steady life; then after these, and the last again and again while another engine of the version lives.
_PAUSES_SECONDS: Final = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)


class Port(Protocol):
    """An acceptor, as the engines see it; see `link.Engine`."""

    @property
    def shape(self) -> Shape:
        """Of its slots."""
        ...

    @property
    def memory(self) -> int:
        """Of its slots."""
        ...

    async def connect(self, data: socket.socket) -> None:
        """Asks the engine at the other end, too."""
        ...


class Group:
    """Keeps the engines of a version alive. Belongs to one event loop."""

    def __init__(
        self,
        open_engine: Callable[[int], Awaitable[tuple[EngineProcess, Ready]]],
        count: int,
        log: structlog.typing.FilteringBoundLogger,
        *,
        on_restart: Callable[[], None] = lambda: None,
        on_lost: Callable[[EyasError], None] = lambda _: None,
    ) -> None:
        """Remembers how engines are made.

        Args:
            open_engine: starts the engine of that number, from 0, and returns it when it answers; raises EyasError.
            count: how many there are.
            log: hears of those that ended.
            on_restart: told of each that ended and is started again.
            on_lost: told why when none lives, and none will be started again.
        """
        self._open = open_engine
        self._count = count
        self._log = log
        self._on_restart = on_restart
        self._on_lost = on_lost
        self._ports: list[Port] = []
        self._live: dict[int, EngineProcess] = {}
        self._keepers: list[asyncio.Task[None]] = []

    async def start(self) -> list[Ready]:
        """Starts the engines, and returns what each says of the version.

        Raises:
            EyasError: one could not be started; none is left.
        """
        ready = []
        try:
            for number in range(self._count):  # one by one: the first decides for all how the version is answered with
                self._live[number], one = await self._open(number)
                ready.append(one)
        except BaseException:
            await self.close()
            raise
        self._keepers = [asyncio.create_task(self._keep(number, process)) for number, process in self._live.items()]
        return ready

    async def attach(self, port: Port) -> None:
        """Connects an acceptor to every engine, and to those that are started later."""
        self._ports.append(port)
        for process in list(self._live.values()):
            await self._connect(process, port)

    def detach(self, port: Port) -> None:
        """Forgets an acceptor, whose slots may be closed from now on."""
        if port in self._ports:
            self._ports.remove(port)

    async def close(self) -> None:
        """Ends the engines."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        await asyncio.gather(*(process.end() for process in self._live.values()))

    async def _keep(self, number: int, process: EngineProcess) -> None:
        """Starts an engine again whenever it ends."""
        in_a_row = 0
        while True:
            born = time.monotonic()
            await process.ended.wait()
            del self._live[number]
            self._log.error("an engine ended, and is started again", engine=number, how=process.how)
            self._on_restart()
            in_a_row = 0 if time.monotonic() - born >= _STEADY_SECONDS else in_a_row + 1
            again = await self._again(number, in_a_row, f"Its engine ended {process.how} as often as it was started.")
            if again is None:
                return
            process = self._live[number] = again
            for port in list(self._ports):
                await self._connect(process, port)

    async def _again(self, number: int, in_a_row: int, why: str) -> EngineProcess | None:
        """Returns the next engine of that number; None where there will be none."""
        while in_a_row < len(_PAUSES_SECONDS) or self._live:
            await asyncio.sleep(_PAUSES_SECONDS[min(in_a_row, len(_PAUSES_SECONDS) - 1)])
            try:
                return (await self._open(number))[0]
            except EyasError as error:
                why = error.message
                self._log.error("an engine could not be started again", engine=number, error=why)
                in_a_row += 1
        self._on_lost(Unavailable(why))
        return None

    async def _connect(self, process: EngineProcess, port: Port) -> None:
        data = process.attach(port.shape, port.memory) if port in self._ports else None
        if data is not None:  # else the one or the other is gone
            await port.connect(data)
