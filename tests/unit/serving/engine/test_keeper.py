"""serving.engine.keeper and remote: acceptors share what is loaded, and it ends with the last that wants it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog

from builders import colour_network, golden, write_bundle
from eyasd.core.device import Transport
from eyasd.core.errors import BrokenBundle, EyasError, Unavailable
from eyasd.registry.models import Models
from eyasd.serving.engine import wire
from eyasd.serving.engine.channel import Channel
from eyasd.serving.engine.keeper import Keeper, Tenant
from eyasd.serving.engine.loading import EngineOptions, LoadedVersion, Loader
from eyasd.serving.engine.remote import RemoteLoader
from eyasd.serving.network.providers import CPU
from eyasd.telemetry.metrics import Metrics
from waits import until

OPTIONS = EngineOptions(
    provider=CPU, precision="auto", threads=1, max_batch_size=4, max_delay_seconds=0, slots=16, transport=Transport.THREAD
)


class Acceptor:
    """Both ends of an acceptor's channel."""

    def __init__(self, keeper: Keeper, models: Models) -> None:
        ours, theirs = wire.control_pair()
        self.loader = RemoteLoader(models, OPTIONS, Metrics())
        self.channel = Channel(ours, self._told, lambda: None)
        self.loader.use(self.channel)
        self._other_end = Channel(theirs, self._asked, self._gone)
        self._tenant = Tenant(keeper, self._other_end)
        self.lost: list[EyasError] = []

    def _gone(self) -> None:
        self._tenant.gone()

    def _told(self, message: Mapping[str, Any], descriptors: list[int]) -> None:
        assert self.loader.heed(message, descriptors)

    def _asked(self, message: Mapping[str, Any], descriptors: list[int]) -> None:
        assert self._tenant.heed(message, descriptors)

    def close(self) -> None:
        self.channel.close()
        self._other_end.close()

    async def load(self, version: int) -> LoadedVersion:
        return await self.loader.load("colours", version, self.lost.append)


@pytest.fixture
async def keeper(models: Models, metrics: Metrics, tmp_path: Path) -> AsyncIterator[Keeper]:
    """Of version 1, which is sound, and version 2, which is not."""
    for number, gain in ((1, 0.05), (2, 0.01)):
        network = colour_network(gain=gain)
        models.publish("colours", write_bundle(tmp_path / str(number), job=f"job{number}", network=network), f"job{number}")
    made = Keeper(Loader(models, OPTIONS, metrics, structlog.get_logger()))
    yield made
    await made.close()


@pytest.fixture
async def acceptors(keeper: Keeper, models: Models) -> AsyncIterator[list[Acceptor]]:
    made = [Acceptor(keeper, models) for _ in range(2)]
    yield made
    for acceptor in made:
        acceptor.close()


async def ask(loaded: LoadedVersion) -> None:
    async with loaded.engine.slot(math.inf) as slot:
        slot.pixels[:] = golden().images[1]
        answer = await slot.infer(math.inf)
    assert np.allclose(answer.probabilities, golden().probabilities[1], atol=1e-6)


async def test_a_version_is_loaded_once_and_ends_with_the_last_that_wants_it(keeper: Keeper, acceptors: list[Acceptor]) -> None:
    first, second = await asyncio.gather(*(acceptor.load(1) for acceptor in acceptors))
    (kept,) = keeper._kept.values()
    assert (len(kept.loads), first.memory_bytes) == (2, second.memory_bytes)
    await asyncio.gather(ask(first), ask(second))
    await first.close()
    await until(lambda: len(kept.loads) == 1)
    again = await acceptors[0].load(1)
    await asyncio.gather(ask(again), ask(second))
    await again.close()
    acceptors[1].channel.close()  # as the kernel does when a process ends
    await until(lambda: not kept.loads)
    assert not keeper._kept
    await until(lambda: not keeper._tasks)  # and the engine has ended
    await second.engine.close()


async def test_each_is_told_why_a_version_cannot_be_loaded(keeper: Keeper, acceptors: list[Acceptor]) -> None:
    for outcome in await asyncio.gather(*(acceptor.load(2) for acceptor in acceptors), return_exceptions=True):
        assert isinstance(outcome, BrokenBundle)
        assert "does not give its recorded answers" in outcome.message
    await until(lambda: not keeper._kept)


async def test_who_leaves_amid_a_load_stops_it_unless_another_wants_it(keeper: Keeper, acceptors: list[Acceptor]) -> None:
    loads = [asyncio.create_task(acceptor.load(1)) for acceptor in acceptors]
    await until(lambda: bool(keeper._kept) and len(next(iter(keeper._kept.values())).loads) == 2)
    loads[0].cancel()
    loaded = await loads[1]
    await ask(loaded)
    await loaded.close()
    await until(lambda: not keeper._kept)
    late = asyncio.create_task(acceptors[0].load(1))
    await until(lambda: bool(keeper._kept))
    late.cancel()
    await until(lambda: not keeper._kept and not keeper._tasks)


async def test_engines_that_will_not_come_back_are_told_to_all_and_loaded_anew(keeper: Keeper, acceptors: list[Acceptor]) -> None:
    loaded = [await acceptor.load(1) for acceptor in acceptors]
    (kept,) = keeper._kept.values()
    kept._lose(Unavailable("it ends as often as it is started"))
    await until(lambda: all(acceptor.lost for acceptor in acceptors))
    with pytest.raises(Unavailable, match="colours/1 cannot be served: it ends as often"):
        await ask(loaded[0])
    new = await acceptors[0].load(1)
    assert next(iter(keeper._kept.values())) is not kept
    await ask(new)
    for version in (*loaded, new):
        await version.close()
    await until(lambda: not keeper._kept and not keeper._tasks)
