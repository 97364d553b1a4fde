"""`python -m eyasd.acceptor CONTROL`: one of several servers on a port; CONTROL is a socket that the supervisor left it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Mapping
from typing import Any

import uvloop

from eyasd.app import App, Role, Share
from eyasd.config import read_settings
from eyasd.core.errors import StartupFailed
from eyasd.core.heap import collect_seldom, keep_small, tidy_often
from eyasd.core.threads import blocking_pool
from eyasd.serving.engine import wire
from eyasd.serving.engine.channel import Channel
from eyasd.telemetry import logging
from eyasd.telemetry.merged import dump, families


def main() -> None:
    """Serves until the supervisor says otherwise, or is gone."""
    # Ctrl-C, and whoever stops a whole group of processes, means the supervisor, which drains the acceptors.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    keep_small()
    control = socket.socket(fileno=int(sys.argv[1]))
    told = wire.receive(control)
    if told is not None:
        uvloop.run(accept(control, told[0]))


async def accept(control: socket.socket, task: Mapping[str, Any]) -> None:
    """Runs an acceptor.

    Args:
        control: to the supervisor.
        task: the settings, the address with the port, this acceptor's number, and of how many.
    """
    settings = read_settings(None, task["settings"])
    logging.configure(settings.telemetry.log_level, settings.telemetry.log_format)
    log = logging.logger().bind(acceptor=task["number"])
    ending = asyncio.Event()

    def heed(message: Mapping[str, Any], descriptors: list[int]) -> None:
        match message:
            case {"end": _}:
                ending.set()
            case {"measure": _}:
                page = wire.memory("metrics", dump(families(app.metrics.registry)))
                channel.send({"measured": True}, [page])
                os.close(page)
            case _ if not memory.heed(message):
                loader.heed(message, descriptors)

    # Without the supervisor there are no engines, either.
    channel = Channel(control, heed, lambda: os._exit(1))
    try:
        asyncio.get_running_loop().set_default_executor(blocking_pool())
        app = App(Role.SERVER, settings, log, Share(task["of"], task["address"], task["http_address"]))
    except StartupFailed as error:
        channel.send({"failed": error.message})
        return
    loader = app.share_engines(channel)
    memory = app.share_memory(channel)
    await app.start()
    collect_seldom()
    tidying = asyncio.create_task(tidy_often())
    channel.send({"ready": True})
    await ending.wait()
    tidying.cancel()
    await app.stop()


if __name__ == "__main__":
    main()
