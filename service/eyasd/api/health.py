"""Health checks and watches, as grpc.health.v1 has them; watches end when the server does."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
from grpc_health.v1._async import HealthServicer  # the public name, grpc_health.v1.health.aio, exists only at run time


class Health(HealthServicer):  # type: ignore[misc] # grpc_health has no types
    """The service; a server that stops would wait for its watches until its grace is over, so they are told to go."""

    def __init__(self) -> None:
        super().__init__()
        self._watches: set[asyncio.Task[None]] = set()

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
