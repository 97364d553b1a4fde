"""One engine, as whoever started it sees it: a process, or a thread of this one; opened, connected to acceptors, ended."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import IO, Any, Final

import structlog

from eyasd.core import document, kin
from eyasd.core.device import Transport
from eyasd.core.environment import handed_on
from eyasd.core.errors import BrokenBundle, Unavailable
from eyasd.serving.engine import wire
from eyasd.serving.engine.channel import Channel
from eyasd.serving.engine.opening import Ready, Task, memory_bytes
from eyasd.serving.engine.slots import Shape

# Long enough for the batch under way; then the engine is of no use to anybody.
_END_SECONDS: Final = 5.0
# Other loads wait meanwhile. One that steps aside on a machine with thirty times the work that it can do still has some ticks.
_HANG_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 2.0

# Read by the C library when a process starts. On huge pages a network is 1 % (one picture) to 2 % (8 at once) faster
# (tf_efficientnet_lite0, `bench/threads.py`).
_HUGE_PAGES: Final = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where an engine lives.

    Attributes:
        transport: a process of its own, or a thread.
        niceness: of the process, added to the daemon's.
        environment: added to the process's.
    """

    transport: Transport
    niceness: int
    environment: Mapping[str, str]


class EngineProcess:
    """An engine. Belongs to one event loop."""

    def __init__(
        self, place: Place, log: structlog.typing.FilteringBoundLogger, on_lowered: Callable[[int], None] = lambda _: None
    ) -> None:
        """Starts it; it waits for what it is to open.

        Args:
            place: where.
            log: hears what the engine says.
            on_lowered: told the most pictures of a batch from now on, when one did not fit the device's memory.

        Raises:
            Unavailable: the machine cannot start it.
        """
        self._loop = asyncio.get_running_loop()
        self._log = log
        self._on_lowered = on_lowered
        control, theirs = wire.control_pair()
        try:
            self._child = _start(place, theirs, log)
        except (OSError, RuntimeError) as error:  # the machine has no memory, or no room for another process or thread
            control.close()
            raise Unavailable(f"No engine can be started: {error}.") from error
        self._ready: asyncio.Future[Ready] = self._loop.create_future()
        self.ended = asyncio.Event()
        self.how = ""  # it ended
        self._reaping: asyncio.Task[None] | None = None
        self._channel = Channel(control, self._heed, self._over)

    async def open(self, task: Task, files: Mapping[str, bytes], limit_seconds: float) -> Ready:
        """Returns what the engine says of the version once it answers with it.

        Args:
            task: what to open; its `files` are filled in here.
            files: the bundle's files, by name, verified.
            limit_seconds: how long that may take.

        Raises:
            BrokenBundle: the version cannot be loaded.
            Unavailable: the engine ended, or is to be killed, as it hangs or takes too long.
        """
        descriptors = [wire.memory(name, content) for name, content in files.items()]
        try:
            self._channel.send({"task": document.dump(replace(task, files=tuple(files)))}, descriptors)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        hanging = self._loop.create_task(self._hang())
        either: set[asyncio.Future[Any]] = {self._ready, hanging}
        try:
            await asyncio.wait(either, timeout=limit_seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            hanging.cancel()
        if self._ready.done():
            return self._ready.result()
        if hanging.done():
            raise Unavailable(
                f"The engine did nothing for {_HANG_SECONDS:g} s while it loaded the version, and was killed: it waited for "
                "what did not come, as one does that was refused memory."
            )
        raise Unavailable(
            f"The engine did not load the version within {limit_seconds:g} s and was killed: raise "
            "serving.load_limit_seconds if that is too short."
        )

    def attach(self, shape: Shape, memory: int) -> socket.socket | None:
        """Returns the way for an acceptor to ask the engine; None where it has ended.

        Args:
            shape: of its slots.
            memory: of the slots.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            if self._channel.send({"attach": document.dump(shape)}, (theirs.fileno(), memory)):
                return ours
        ours.close()
        return None

    async def end(self) -> None:
        """Ends the engine. Safe to call twice."""
        self._channel.close()
        await self.ended.wait()

    def kill(self) -> None:
        """Ends the process at once, whatever it does."""
        self._child.kill()

    async def _hang(self) -> None:
        """Returns once the process has used nothing for so long that it hangs."""
        last, since = None, time.monotonic()
        while time.monotonic() - since < _HANG_SECONDS:
            await asyncio.sleep(_LOOK_SECONDS)
            used = kin.usage([self._child.pid]).get(self._child.pid)
            if used != last:
                last, since = used, time.monotonic()

    def _heed(self, message: Mapping[str, Any], _: list[int]) -> None:
        match message:
            case {"ready": ready} if not self._ready.done():
                self._ready.set_result(document.load(Ready, ready))
            case {"failed": reason} if not self._ready.done():
                self._ready.set_exception(BrokenBundle(reason))
            case {"lowered": most}:
                self._on_lowered(most)
            case {"log": level, "event": event, "fields": fields}:
                getattr(self._log, level)(event, **fields)

    def _over(self) -> None:
        """Sees the engine out, which ends with its control socket if it has not ended before."""
        self._reaping = self._loop.create_task(self._reap())

    async def _reap(self) -> None:
        try:
            status = await asyncio.to_thread(self._child.wait, _END_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            status = await asyncio.to_thread(self._child.wait)
        self.how = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
        if not self._ready.done():
            message = f"The engine ended {self.how} while it loaded the version: the log has its last words."
            self._ready.set_exception(Unavailable(message))
        self._ready.exception()  # nobody need have waited for it
        self.ended.set()


def _start(place: Place, control: socket.socket, log: structlog.typing.FilteringBoundLogger) -> subprocess.Popen[bytes] | _Thread:
    """Starts an engine on its end of the control socket, which it closes."""
    if place.transport is Transport.THREAD:
        return _Thread(control)
    with control:
        child = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "eyasd.serving.engine", str(control.fileno()), str(place.niceness)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,  # nothing that a library prints can be taken for a message
            stderr=subprocess.STDOUT,
            pass_fds=(control.fileno(),),
            # Ctrl-C at the terminal reaches the daemon, which then decides.
            process_group=0,
            env={**_HUGE_PAGES, **handed_on(os.environ), **place.environment},
        )
    assert child.stdout is not None  # noqa: S101 - for mypy
    threading.Thread(target=_repeat, args=(child.stdout, log), daemon=True, name="engine's log").start()
    return child


class _Thread(threading.Thread):
    """An engine in this process, which ends as a process does."""

    def __init__(self, control: socket.socket) -> None:
        super().__init__(daemon=True, name="engine")
        self._control = control
        self.pid = os.getpid()
        self.start()

    def run(self) -> None:
        """See `threading.Thread`."""
        from eyasd.serving.engine.program import serve  # noqa: PLC0415 - and with it ONNX Runtime, which else an engine alone has

        with self._control:
            serve(self._control, foreign_bytes=memory_bytes())

    def wait(self, timeout: float | None = None) -> int:
        """Returns 0 once it has ended."""
        self.join(timeout)
        return 0

    def kill(self) -> None:
        """Leaves it to itself: a thread cannot be killed."""


def _repeat(said: IO[bytes], log: structlog.typing.FilteringBoundLogger) -> None:
    """Repeats in the log what an engine's libraries print."""
    with said:
        for line in said:
            log.warning("an engine printed", line=line.decode(errors="replace").rstrip())
