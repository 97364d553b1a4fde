"""How the asynchronous client carries calls out: over one connection, with deadlines and retries."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc

from eyas import _tracing
from eyas._calls import Call, Page
from eyas._channel import DEFAULT_ADDRESS, DEFAULT_TIMEOUT_SECONDS, Connection, in_seconds
from eyas._errors import from_rpc
from eyas._patience import pause_seconds

T = TypeVar("T")


class Carrier:
    """A connection that calls are carried out over."""

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        timeout: float | timedelta = DEFAULT_TIMEOUT_SECONDS,
        retries: bool = True,
        tls: bool = False,
        root_certificates: bytes | None = None,
        certificate: bytes | None = None,
        private_key: bytes | None = None,
        token: str | None = None,
        tracing: bool | None = None,
    ) -> None:
        """See `eyas.Client`; must be called where an event loop runs."""
        self._connection = Connection(
            address=address,
            timeout_seconds=in_seconds(timeout),
            retries=retries,
            tls=tls,
            root_certificates=root_certificates,
            certificate=certificate,
            private_key=private_key,
            token=token,
            tracing=tracing,
        )
        credentials, options = self._connection.credentials, self._connection.options
        self._channel = (
            grpc.aio.secure_channel(address, credentials, options) if credentials else grpc.aio.insecure_channel(address, options)
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the connection; calls in flight fail."""
        await self._channel.close()

    async def _run(self, call: Call[T], timeout: float | timedelta | None = None) -> T:  # noqa: ASYNC109 - a deadline
        with _tracing.span(self._connection.tracing, call.method):
            return await self._try(call, self._connection.timeout_seconds if timeout is None else in_seconds(timeout))

    async def _try(self, call: Call[T], seconds: float) -> T:
        method: Any = self._channel.unary_unary(call.method, None, call.response.FromString)
        request = call.request.SerializeToString()
        deadline = time.monotonic() + seconds
        for attempt in itertools.count(1):
            left = deadline - time.monotonic()
            try:
                return call.convert(await method(request, timeout=left, metadata=self._connection.metadata))
            except grpc.RpcError as rpc:
                error = from_rpc(rpc, self._connection.address)
            pause = pause_seconds(error, attempt, deadline - time.monotonic()) if self._connection.retries else None
            if pause is None:
                raise error
            await asyncio.sleep(pause)
        raise AssertionError  # never reached

    async def _pages(self, page: Callable[[str], Call[Page[T]]]) -> AsyncIterator[T]:
        token = ""
        while True:
            items, token = await self._run(page(token))
            for item in items:
                yield item
            if not token:
                return
