"""Health checks and watches, as grpc.health.v1 has them; watches end when the server does.

Who checks, such as a probe or a balancer, learns at once that the server goes down: it looks now and then, and passes it on. Who
watches is a client itself, and leaves the moment it is told. Where it knows no other server yet, as when a new one with another
address takes this one's place, it would be left with nothing; so it is told late. Its connection ends soon after, and it looks for
servers anew.
"""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
from grpc_health.v1 import health_pb2
from grpc_health.v1._async import HealthServicer  # the public name, grpc_health.v1.health.aio, exists only at run time


class Health(HealthServicer):  # type: ignore[misc] # grpc_health has no types
    """The service; a server that stops would wait for its watches until its grace is over, so they are told to go."""

    def __init__(self) -> None:
        super().__init__()
        self._watches: set[asyncio.Task[None]] = set()
        self._refusing = False
        self._services: set[str] = set()

    async def set(self, service: str, status: Any) -> None:
        """Says from now on of a service how it is."""
        self._services.add(service)
        await super().set(service, status)

    async def Check(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        """Tells how it is now."""
        state = await super().Check(request, context)
        return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.NOT_SERVING) if self._refusing else state

    async def List(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002 - gRPC's name
        """Tells how all of them are."""
        checks = {name: health_pb2.HealthCheckRequest(service=name) for name in sorted(self._services)}
        statuses = {name: await self.Check(check, context) for name, check in checks.items()}
        return health_pb2.HealthListResponse(statuses=statuses)

    def refuse_checks(self) -> None:
        """Says NOT_SERVING from now on to everyone who checks."""
        self._refusing = True

    async def Watch(self, request: Any, context: Any) -> None:  # noqa: N802 - gRPC's name
        """Tells of every change until the caller leaves, or the server stops."""
        watch = asyncio.create_task(super().Watch(request, context))
        self._watches.add(watch)
        try:
            await asyncio.wait({watch})
        finally:
            self._watches.discard(watch)
            watch.cancel()
        if watch.cancelled():
            await context.abort(grpc.StatusCode.UNAVAILABLE, "The server has gone down.")
        watch.result()

    def end_watches(self) -> None:
        """Ends all of them; who watches has been told NOT_SERVING before."""
        for watch in self._watches:
            watch.cancel()
