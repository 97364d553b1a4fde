"""api.health: watches, each of which waits for its own caller alone."""

from __future__ import annotations

import asyncio
from typing import Any, NoReturn

import grpc
from grpc_health.v1 import health_pb2

from eyasd.api.door import Aborted
from eyasd.api.health import Health

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
REQUEST = health_pb2.HealthCheckRequest()


class Told:
    """The context of a watch: what its caller was told, or that he takes nothing."""

    def __init__(self, *, takes: bool = True) -> None:
        self.states: asyncio.Queue[Any] = asyncio.Queue()
        self._takes = takes
        self.waited_for = asyncio.Event()

    async def write(self, response: Any) -> None:
        self.waited_for.set()
        if not self._takes:
            await asyncio.Event().wait()
        self.states.put_nowait(response.status)

    async def abort(self, code: grpc.StatusCode, details: str = "") -> NoReturn:
        raise Aborted(code, details, ())


async def test_who_takes_nothing_keeps_nobody_waiting() -> None:
    health, deaf, other = Health(), Told(takes=False), Told()
    watches = [asyncio.ensure_future(health.Watch(REQUEST, context)) for context in (deaf, other)]
    await deaf.waited_for.wait()
    assert await other.states.get() == UNKNOWN
    health.set("", SERVING)
    assert await other.states.get() == SERVING
    health.send_away()
    assert await other.states.get() == NOT_SERVING
    health.set("", SERVING)  # too late
    health.end_watches()
    async with asyncio.timeout(60):
        ends = await asyncio.gather(*watches, return_exceptions=True)
    assert [end.code.name for end in ends if isinstance(end, Aborted)] == ["UNAVAILABLE"] * 2
    assert other.states.empty()


async def test_a_watch_is_told_how_it_is_in_the_end_and_of_its_service_alone() -> None:
    health, told = Health(), Told()
    watch = asyncio.ensure_future(health.Watch(REQUEST, told))
    assert await told.states.get() == UNKNOWN
    health.set("another", SERVING)
    for state in (SERVING, NOT_SERVING, SERVING):
        health.set("", state)
    assert await told.states.get() == SERVING
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)
    assert told.states.empty()
