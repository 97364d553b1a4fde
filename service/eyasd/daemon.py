"""A daemon from its start to its end: the first SIGTERM or SIGINT lets it go down in order, the second ends it at once."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Final

import structlog

from eyasd.app import App, Role, collect_seldom
from eyasd.config import Settings
from eyasd.core.errors import StartupFailed
from eyasd.supervisor import Supervisor

_KILLED_BY_SIGNAL: Final = 130


async def serve(role: Role, settings: Settings, log: structlog.typing.FilteringBoundLogger) -> int:
    """Runs a daemon until it is told to end, and returns its exit status.

    Raises:
        StartupFailed: says what is in the way.
    """
    check_acceptors(role, settings)
    app = Supervisor(settings, log) if settings.serving.acceptors > 1 else App(role, settings, log)
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()

    def end(number: int) -> None:
        if ending.is_set():
            os._exit(_KILLED_BY_SIGNAL)
        log.info("going down", signal=signal.Signals(number).name)
        ending.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end, number)
    starting = asyncio.create_task(app.start())
    waiting = asyncio.create_task(ending.wait())
    await asyncio.wait({starting, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if starting.done():
        starting.result()
        collect_seldom()
        await waiting
    starting.cancel()
    await app.stop()
    log.info("stopped")
    return 0


def check_acceptors(role: Role, settings: Settings) -> None:
    """Refuses several acceptors where there is a scheduler, of which there can be but one. Raises StartupFailed."""
    if settings.serving.acceptors > 1 and role is not Role.SERVER:
        raise StartupFailed(
            f"serving.acceptors is {settings.serving.acceptors}, and `eyasd {role}` has 1: run `eyasd trainer` and beside it "
            "`eyasd server` instead."
        )
