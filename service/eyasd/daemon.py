"""A daemon from its start to its end: the first SIGTERM or SIGINT lets it go down in order, the second ends it at once."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Final

import structlog

from eyasd.app import App, Role
from eyasd.config import Settings
from eyasd.core.device import Transport
from eyasd.core.errors import StartupFailed
from eyasd.core.heap import collect_seldom, keep_small, tidy_often
from eyasd.core.processors import cpu_count
from eyasd.core.threads import blocking_pool
from eyasd.entrance import check_exposure
from eyasd.serving.network.providers import CPU, choose_provider
from eyasd.supervisor import Supervisor

_KILLED_BY_SIGNAL: Final = 130
_MOST_ACCEPTORS: Final = 64


async def serve(role: Role, settings: Settings, log: structlog.typing.FilteringBoundLogger) -> int:
    """Runs a daemon until it is told to end, and returns its exit status.

    Raises:
        StartupFailed: says what is in the way.
    """
    keep_small()
    check_exposure(settings)
    settings = plan_acceptors(role, settings)
    loop = asyncio.get_running_loop()
    loop.set_default_executor(blocking_pool())
    app = Supervisor(settings, log) if settings.serving.acceptors > 1 else App(role, settings, log)
    ending = asyncio.Event()

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
        tidying = asyncio.create_task(tidy_often())
        await waiting
        tidying.cancel()
    starting.cancel()
    await app.stop()
    log.info("stopped")
    return 0


def plan_acceptors(role: Role, settings: Settings) -> Settings:
    """Returns the settings with the number of acceptors decided.

    Beside a GPU the cores decode and little else, and one process of Python keeps but three of them busy: on 12 cores and an H100
    one acceptor answered 890 photographs/s and eight 2,940 (docs/benchmarks.md). On a CPU it is the network that wants the cores.

    Raises:
        StartupFailed: several are asked for where there is a scheduler, of which there can be but one.
    """
    serving = settings.serving
    if serving.acceptors > 1 and role is not Role.SERVER:
        raise StartupFailed(
            f"serving.acceptors is {serving.acceptors}, and `eyasd {role}` has 1: run `eyasd trainer` and beside it `eyasd server` "
            "instead."
        )
    several = role is Role.SERVER and serving.engines is Transport.PROCESS
    number = serving.acceptors or (1 if not several or choose_provider(serving.device) == CPU else max(1, 2 * cpu_count() // 3))
    return settings.model_copy(update={"serving": serving.model_copy(update={"acceptors": min(number, _MOST_ACCEPTORS)})})
