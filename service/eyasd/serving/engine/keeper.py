"""Engines that several acceptor processes share: each version is loaded once, and ends when no acceptor wants it any more.

What is said between an acceptor (`remote`) and the keeper, besides what else their channel is used for; a ticket is the acceptor's
number of a load:

    acceptor  {load: ticket, of: [model, version]}   keeper  {loaded: ticket, ready} or {refused: ticket, reason, message}
              {slots: ticket, shape} + memory                {engine: ticket} + the way to it, for each engine, now and later
              {leave: ticket}                                {lost: ticket, message}
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Coroutine, Mapping
from typing import Any

from eyasd.core import document
from eyasd.core.errors import EyasError
from eyasd.serving.engine.channel import Channel
from eyasd.serving.engine.group import Group
from eyasd.serving.engine.loading import Loader
from eyasd.serving.engine.opening import Ready
from eyasd.serving.engine.slots import Shape

Version = tuple[str, int]


class _Load:
    """A version that an acceptor wants, from its `load` to its `leave`; its slots are a `group.Port`."""

    def __init__(self, ticket: int, channel: Channel, kept: _Kept) -> None:
        self.ticket = ticket
        self.kept = kept
        self.shape = Shape(0, 0, 0)
        self.memory = -1
        self._channel = channel

    async def connect(self, data: socket.socket) -> None:
        """Hands the way to an engine over."""
        with data:
            self._channel.send({"engine": self.ticket}, [data.fileno()])

    async def open(self) -> None:
        """Says when the version answers, or why it does not."""
        try:
            _, ready = await asyncio.shield(self.kept.loading)
        except EyasError as error:
            self._channel.send({"refused": self.ticket, "reason": type(error).__name__, "message": error.message})
        else:
            self._channel.send({"loaded": self.ticket, "ready": document.dump(ready)})

    async def attach(self) -> None:
        """Lets the version's engines answer in the slots, which are told of only once it answers."""
        if (group := self.kept.group) is not None and self in self.kept.loads:
            await group.attach(self)

    def lose(self, message: str) -> None:
        """Says that the version's engines will not come back."""
        self._channel.send({"lost": self.ticket, "message": message})

    def leave(self) -> None:
        """Wants it no more."""
        if self.memory != -1:
            if (group := self.kept.group) is not None:
                group.detach(self)
            os.close(self.memory)
        self.kept.leave(self)


class _Kept:
    """A version that acceptors want."""

    def __init__(self, keeper: Keeper, version: Version, loader: Loader) -> None:
        self.loads: set[_Load] = set()
        self.loading: asyncio.Task[tuple[Group, Ready]] = asyncio.create_task(loader.start(*version, self._lose))
        self._keeper = keeper
        self._version = version

    @property
    def group(self) -> Group | None:
        """Its engines; None before they answer, and where they never did."""
        if not self.loading.done() or self.loading.cancelled() or self.loading.exception() is not None:
            return None
        return self.loading.result()[0]

    def leave(self, load: _Load) -> None:
        """Ends the engines if nobody else wants them."""
        self.loads.discard(load)
        if not self.loads:
            self._keeper.forget(self._version, self)
            self._keeper.spawn(self.close())

    def _lose(self, error: EyasError) -> None:
        self._keeper.forget(self._version, self)  # whoever wants it from now on wants other engines
        for load in self.loads:
            load.lose(error.message)

    async def close(self) -> None:
        """Ends the engines, or their start."""
        self.loading.cancel()
        await asyncio.gather(self.loading, return_exceptions=True)
        if self.group is not None:
            await self.group.close()


class Keeper:
    """Keeps the engines. Belongs to one event loop."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader
        self._kept: dict[Version, _Kept] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def want(self, version: Version) -> _Kept:
        """Returns the version, loaded from now on if nobody wanted it before."""
        if version not in self._kept:
            self._kept[version] = _Kept(self, version, self._loader)
        return self._kept[version]

    def forget(self, version: Version, kept: _Kept) -> None:
        """Loads the version anew for whoever wants it next."""
        if self._kept.get(version) is kept:
            del self._kept[version]

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs a coroutine to its end, beside the rest."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Ends every engine."""
        for kept in self._kept.values():
            self.spawn(kept.close())
        self._kept.clear()
        while self._tasks:
            await asyncio.wait(self._tasks)


class Tenant:
    """An acceptor, as the keeper sees it."""

    def __init__(self, keeper: Keeper, channel: Channel) -> None:
        self._keeper = keeper
        self._channel = channel
        self._loads: dict[int, _Load] = {}

    def heed(self, message: Mapping[str, Any], descriptors: list[int]) -> bool:
        """Does what the acceptor asks; returns whether it was for the keeper."""
        match message:
            case {"load": ticket, "of": [model, version]}:
                load = self._loads[ticket] = _Load(ticket, self._channel, self._keeper.want((model, version)))
                load.kept.loads.add(load)
                self._keeper.spawn(load.open())
            case {"slots": ticket, "shape": shape}:
                load = self._loads[ticket]
                load.shape, (load.memory,) = document.load(Shape, shape), descriptors
                self._keeper.spawn(load.attach())
            case {"leave": ticket}:
                self._loads.pop(ticket).leave()
            case _:
                return False
        return True

    def gone(self) -> None:
        """Leaves all that the acceptor wanted."""
        for load in self._loads.values():
            load.leave()
        self._loads.clear()
