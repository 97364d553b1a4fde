"""A fake server on a real socket, and both clients behind one face."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

import eyas
from fake_server import FakeServer

Caller = Callable[..., Any]


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as running:
        yield running


@pytest.fixture(params=["sync", "aio"])
async def call(request: pytest.FixtureRequest, server: FakeServer) -> AsyncIterator[Caller]:
    """Calls a method of either client: `await call("get_job", "abc")`; what is iterated comes back as a list."""
    if request.param == "sync":
        with eyas.Client(server.address) as client:

            def carry_out(method: str, *args: Any, **kwargs: Any) -> Any:
                result = getattr(client, method)(*args, **kwargs)
                return list(result) if isinstance(result, Iterator) else result

            yield lambda *args, **kwargs: asyncio.to_thread(carry_out, *args, **kwargs)
    else:
        async with eyas.aio.Client(server.address) as aio_client:

            async def carry_out_aio(method: str, *args: Any, **kwargs: Any) -> Any:
                result = getattr(aio_client, method)(*args, **kwargs)
                return [item async for item in result] if isinstance(result, AsyncIterator) else await result

            yield carry_out_aio
