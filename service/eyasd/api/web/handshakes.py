"""TLS handshakes of connections that have come: no more of them at a time than there may be connections."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

_HANDSHAKE_SECONDS: Final = 5.0  # as at gRPC's door; asyncio would wait for a minute
# How long one is left alone where another connection wants its place.
_PATIENCE_SECONDS: Final = 1.0
# No descriptors are left.
_PAUSE_SECONDS: Final = 0.1


class Handshakes:
    """Takes connections of a socket and has them shake hands. Belongs to one event loop.

    A server of asyncio's would do so, too, with any number of them at a time: it asks nobody before the handshake is over.
    """

    def __init__(
        self, listening: socket.socket, context: ssl.SSLContext, accept: Callable[[], asyncio.BaseProtocol], free: Callable[[], int]
    ) -> None:
        """Takes none yet.

        Args:
            listening: where they come.
            context: the certificates of those that come from now on; may be set to another.
            accept: makes the protocol of a connection.
            free: how many more there may be, those that shake hands left out.
        """
        self.context = context
        self._listening, self._accept, self._free = listening, accept, free
        self._under_way: dict[asyncio.Task[None], float] = {}  # since when, the first of them first
        listening.setblocking(False)

    async def run(self) -> None:
        """Takes what comes until it is cancelled, and ends what is under way then."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                try:
                    connection, _ = await loop.sock_accept(self._listening)
                except ConnectionError:
                    continue
                except OSError:
                    await asyncio.sleep(_PAUSE_SECONDS)
                    continue
                if self._has_room():
                    self._begin(connection)
                else:
                    connection.close()
        finally:
            for task in self._under_way:
                task.cancel()

    def _has_room(self) -> bool:
        """Returns whether one more may come, for which the first that takes long makes room."""
        if len(self._under_way) < self._free():
            return True
        task, since = next(iter(self._under_way.items()), (None, 0.0))
        if task is None or time.monotonic() - since < _PATIENCE_SECONDS:
            return False
        del self._under_way[task]
        task.cancel()
        return True

    def _begin(self, connection: socket.socket) -> None:
        def ended(task: asyncio.Task[None]) -> None:
            self._under_way.pop(task, None)
            if task.cancelled():  # perhaps before it began
                connection.close()

        task = asyncio.create_task(self._shake(connection))
        self._under_way[task] = time.monotonic()
        task.add_done_callback(ended)

    async def _shake(self, connection: socket.socket) -> None:
        with suppress(OSError):  # he has left, is too slow, or speaks no TLS
            await asyncio.get_running_loop().connect_accepted_socket(
                self._accept, connection, ssl=self.context, ssl_handshake_timeout=_HANDSHAKE_SECONDS
            )
