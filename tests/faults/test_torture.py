"""Floods, bombs and half-said things at each port of a daemon of its own, while good calls are answered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from builders import write_bundle
from eyasd.registry.models import Models
from eyasd.storage.local import LocalStore
from hostile import torture
from hostile.torture import GRPC, Attack
from hostile.web import HTTP, METRICS
from ports import free_port
from trainers import TESTS, Trainer

from .conftest import Tell

MESSAGES = 4  # that come at once; there are as many places for those of methods that everybody may call
MOST_GROWN_BYTES = 400 * 1024 * 1024  # a bomb of gzip is unpacked a piece at a time; the largest body there may be is held twice


@dataclass
class Served:
    """A daemon that serves `kept`."""

    address: str
    process: int
    ports: dict[str, int]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("torture")
    http, metrics = free_port(), free_port()
    settings = {"API__HTTP_LISTEN": f"127.0.0.1:{http}", "TELEMETRY__METRICS_LISTEN": f"127.0.0.1:{metrics}"}
    settings |= {"API__ARRIVING_MESSAGES": str(MESSAGES)}
    daemon = Trainer(folder, TESTS / "fake_program", role="server", **settings, SERVING__ENGINES="thread")
    models = Models(LocalStore(daemon.data / "models"))
    models.publish("kept", write_bundle(folder / "bundle"), "job1")
    models.aliases.set("kept", "production", 1, actor="test", reason="")
    daemon.start()
    daemon.client().close()
    assert daemon.process is not None
    grpc = int(daemon.address.rpartition(":")[2])
    yield Served(daemon.address, daemon.process.pid, {"gRPC": grpc, "HTTP": http, "metrics": metrics})
    daemon.end()


ATTACKS = [(port, attack) for port, attacks in (("gRPC", GRPC), ("HTTP", HTTP), ("metrics", METRICS)) for attack in attacks]
TIMES = {"gRPC": GRPC, "HTTP": HTTP, "metrics": METRICS}


@pytest.mark.parametrize(("port", "attack"), ATTACKS, ids=lambda one: one if isinstance(one, str) else one.__name__)
async def test_good_calls_are_answered_meanwhile(served: Served, port: str, attack: Attack, all_faults: bool, tell: Tell) -> None:
    times = TIMES[port][attack][all_faults]
    seen = await torture.torture(attack, served.ports[port], times, served.address, served.process)
    assert seen.grown_bytes < MOST_GROWN_BYTES
    tell(
        f"{port}: {attack.__name__}",
        f"{seen.times:,}",
        f"0 of {seen.good:,} good calls failed; {seen.longest_seconds:.2f} s at most; +{seen.grown_bytes / 1e6:.0f} MB",
    )
