"""An acceptor's engine over a loop in a thread."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace

import pytest

from engines import SHAPE, Network, Worker
from eyasd.serving.engine.link import Engine

Serve = Callable[..., AbstractAsyncContextManager[Engine]]


@pytest.fixture
def network() -> Network:
    return Network()


@pytest.fixture
def serve(network: Network) -> Serve:
    """An acceptor's engine, and its network: `async with serve(max_batch_size=2) as engine`."""

    @asynccontextmanager
    async def made(max_batch_size: int = 8, slots: int = 64) -> AsyncIterator[Engine]:
        engine = Engine("colours/1", replace(SHAPE, slots=slots))
        worker = Worker(network, max_batch_size)
        await worker.join(engine)
        try:
            yield engine
        finally:
            network.gate.set()
            await engine.close()
            await worker.leave()

    return made
