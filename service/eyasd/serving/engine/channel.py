"""A control socket in an event loop; see `wire`."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from eyasd.serving.engine import wire


class Channel:
    """One end of a control socket. Belongs to one event loop."""

    def __init__(
        self, control: socket.socket, on_message: Callable[[Mapping[str, Any], list[int]], None], on_gone: Callable[[], None]
    ) -> None:
        """Hears from now on.

        Args:
            control: this end, which is the channel's from now on.
            on_message: told each message, and its descriptors, which are the callee's to close.
            on_gone: told once, when the other end is gone or this one was closed.
        """
        # Whoever does not read what it is sent is as good as gone, and must not stop the loop.
        control.setblocking(False)
        self._control = control
        self._on_message = on_message
        self._on_gone = on_gone
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(control, self._hear)

    def send(self, message: Mapping[str, object], descriptors: Sequence[int] = ()) -> bool:
        """Sends a message, and returns whether it is on its way; the descriptors stay the caller's, too."""
        try:
            wire.send(self._control, message, descriptors)
        except OSError:
            self.close()
            return False
        return True

    def close(self) -> None:
        """Closes this end. Safe to call twice."""
        if self._control.fileno() != -1:
            self._loop.remove_reader(self._control)
            self._control.close()
            self._on_gone()

    def _hear(self) -> None:
        try:
            told = wire.receive(self._control)
        except BlockingIOError:
            return
        if told is None:
            self.close()
        else:
            self._on_message(*told)
