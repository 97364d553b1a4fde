"""Health checks and watches, as grpc.health.v1 has them; watches end when the server does.

Who checks, such as a probe or a balancer, learns at once that the server goes down: it looks now and then, and passes it on. Who
watches is a client itself, and leaves the moment it is told. Where it knows no other server yet, as when a new one with another
address takes this one's place, it would be left with nothing; so it is told late. Its connection ends soon after, and it looks for
servers anew.

Each watch waits for its own caller alone: one who makes no room for what he is told keeps neither the others nor the end waiting.
"""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc] # grpc_health has no types
    """The service; a server that stops would wait for its watches until its grace is over, so they are told to go."""

    def __init__(self) -> None:
        self._states: dict[str, Any] = {}
        self._changed = asyncio.Event()  # another one after each change
        self._watches: set[asyncio.Task[None]] = set()
        self._refusing = False
        self._leaving = False

    def set(self, service: str, status: Any) -> None:
        """Says from now on of a service how it is, unless the server goes down."""
        if not self._leaving:
            self._states[service] = status
            self._tell()

    async def Check(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        """Tells how it is now."""
        state = self._states.get(request.service)
        if state is None:
            await context.abort(grpc.StatusCode.NOT_FOUND)
        return health_pb2.HealthCheckResponse(status=_NOT_SERVING if self._refusing else state)

    async def List(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002 - gRPC's name
        """Tells how all of them are."""
        checks = {name: health_pb2.HealthCheckRequest(service=name) for name in sorted(self._states)}
        statuses = {name: await self.Check(check, context) for name, check in checks.items()}
        return health_pb2.HealthListResponse(statuses=statuses)

    def refuse_checks(self) -> None:
        """Says NOT_SERVING from now on to everyone who checks."""
        self._refusing = True

    async def Watch(self, request: Any, context: Any) -> None:  # noqa: N802 - gRPC's name
        """Tells of every change until the caller leaves, or the server stops."""
        watch = asyncio.create_task(self._watch(request.service, context))
        self._watches.add(watch)
        try:
            await asyncio.wait({watch})
        finally:
            self._watches.discard(watch)
            watch.cancel()
        if watch.cancelled():
            await context.abort(grpc.StatusCode.UNAVAILABLE, "The server has gone down.")
        watch.result()

    def send_away(self) -> None:
        """Says NOT_SERVING of everything, for good, to those that watch, too."""
        self._states = dict.fromkeys(self._states, _NOT_SERVING)
        self._leaving = True
        self._tell()

    def end_watches(self) -> None:
        """Ends all of them; who watches has been told NOT_SERVING before."""
        for watch in self._watches:
            watch.cancel()

    async def _watch(self, service: str, context: Any) -> None:
        told = None
        while True:
            changed = self._changed
            state = self._states.get(service, _UNKNOWN)
            if state != told:
                await context.write(health_pb2.HealthCheckResponse(status=state))
                told = state
            await changed.wait()

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
