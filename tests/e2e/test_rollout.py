"""Servers that are replaced, and become more and fewer, while they are asked in every way there is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import eyas
from builders import picture, write_bundle
from callers import Callers
from deployment import Deployment, Steps
from discovery import NameServer, VirtualAddress
from eyasd.registry.models import Models
from eyasd.storage.local import LocalStore
from ports import free_port
from waits import until

# Callers hear of a new pod before an old one goes, and that it goes before it has gone; so it is in the manifests, too.
STEPS = Steps(probe=0.1, news=0.2, min_ready=0.4)
SETTINGS = {"EYASD_API__LAME_DUCK_SECONDS": "2", "EYASD_SERVING__ENGINES": "thread"}
ENOUGH = 10  # calls of each kind between two changes


async def test_servers_are_replaced_and_scaled_under_load_and_no_call_fails(tmp_path: Path) -> None:
    models = Models(LocalStore(tmp_path / "data" / "models"))
    models.publish("colours", write_bundle(tmp_path / "bundle"), "job1")
    models.aliases.set("colours", "production", 1, actor="test", reason="")
    port, http_port = free_port(), free_port()
    callers = Callers("colours", [picture()], rate=10)

    async with NameServer() as names, VirtualAddress([port, http_port]) as service:

        def hear(addresses: Sequence[str]) -> None:
            names.addresses = service.addresses = addresses

        deployment = Deployment(tmp_path / "data", port, hear, STEPS, SETTINGS, http_port, tmp_path / "eyasd.log")
        try:
            await deployment.scale(1)
            await until(lambda: len(service.addresses) == 1)
            by_name, by_address = names.target(port), f"{service.host}:{port}"
            async with eyas.aio.Client(by_name) as balanced, eyas.aio.Client(by_address, retries=False) as single:
                load = asyncio.gather(
                    callers.classify("by name", balanced),
                    callers.stream("stream", balanced),
                    callers.classify("by address", single),
                    callers.post("http", f"{service.host}:{http_port}"),
                )
                for change in (deployment.roll, lambda: deployment.scale(2), lambda: deployment.scale(1)):
                    await change()
                    await deployment.settle()
                    least = min(map(len, callers.calls.values())) + ENOUGH
                    await until(partial(has_answered, callers, least))
                callers.end()
                await load
            assert not callers.failures()
            assert len(callers.calls) == 4
            assert await deployment.settle() == [0, 0]
        finally:
            await deployment.close()


def has_answered(callers: Callers, least: int) -> bool:
    assert not callers.failures()
    return min(map(len, callers.calls.values())) >= least
