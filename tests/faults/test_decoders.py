"""Locked decoders killed as by a crash, beneath callers over every door; each kill may cost the picture in its hands."""

from __future__ import annotations

import os
import random
import signal
import socket
from pathlib import Path

import pytest
from tests.faults.conftest import Tell

import tellers
from eyasd.registry.models import Models
from eyasd.storage.local import LocalStore
from load import Asked, Load
from ports import free_port
from processes import children, decoders
from trainers import TESTS, Trainer
from waits import wait_until

JOB = "job1"
KILLS = int(os.environ.get("EYAS_TEST_TURNS", "200"))
SETTINGS = {"SERVING__DECODE_PROCESSES": 2, "SERVING__ENGINES": "thread"}
UNBEGUN = "One decoder after another ended before it began with the picture: send it again."
_PATIENCE_SECONDS = 120


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("acceptors", [1, 2])
def test_a_decoder_that_crashes_costs_the_picture_in_its_hands_at_most(tmp_path: Path, acceptors: int, tell: Tell) -> None:
    rng, heard = random.Random(acceptors), list[Asked]()
    http = f"127.0.0.1:{free_port()}"
    settings = {"API__HTTP_LISTEN": http, "SERVING__ACCEPTORS": acceptors, **SETTINGS}
    if acceptors > 1:
        settings["SERVING__ENGINES"] = "process"
    daemon = Trainer(tmp_path, TESTS / "fake_program", role="server", **settings)
    models = Models(LocalStore(daemon.data / "models"))
    models.publish("colours", tellers.write(tmp_path / "bundle", JOB), JOB)
    models.aliases.set("colours", "production", 1, actor="test", reason="")
    callers = {"grpc": 2, "stream": 1, "http": 1}
    load = Load(daemon.address, http, lambda: ["colours"], heard.append, callers=callers, timeout_seconds=60)
    daemon.start()
    try:
        daemon.client().close()
        wait_until(lambda: is_listened_on(http))
        load.begin()
        try:
            for _ in range(KILLS):
                answered = len(heard)
                victim = rng.choice(all_decoders(daemon))
                os.kill(victim, signal.SIGSEGV)
                wait_until(lambda victim=victim, answered=answered: victim not in all_decoders(daemon) and len(heard) > answered)
                wait_until(lambda: len(all_decoders(daemon)) >= 2)
        finally:
            load.end()
        last = all_decoders(daemon)
    finally:
        daemon.kill()
    wait_until(lambda: not any(Path(f"/proc/{process}").exists() for process in last))
    heard = [asked for asked in heard if "connecting took too long" not in asked.message]  # a machine with too much to do
    lost = [asked for asked in heard if asked.error]
    assert {(asked.error, asked.message.partition(" It is")[0]) for asked in lost} <= {
        ("INVALID_ARGUMENT", "The picture's decoder ended by SIGSEGV."),
        ("UNAVAILABLE", UNBEGUN),
    }
    unbegun = sum(asked.error == "UNAVAILABLE" for asked in lost)  # on a machine that is slow to begin; three kills each
    assert len(lost) + 2 * unbegun <= KILLS
    for asked in heard:
        if not asked.error:
            label, probability = tellers.said(JOB, asked.colour)
            assert (asked.version, asked.label) == ("colours/1", label)
            assert abs(asked.probability - probability) < tellers.TOLERANCE
    done = f"a decoder killed as by a crash (SIGSEGV), of {acceptors} acceptors under 4 callers over gRPC, streams and HTTP"
    found = (
        f"{len(lost) - unbegun} pictures lost with their decoders, {unbegun} refused as three had ended before they began, "
        f"{len(heard) - len(lost):,} answered rightly"
    )
    tell(f"{done}; in the end the daemon, `kill -9`", f"{KILLS}", f"{found}; no decoder was left")


def is_listened_on(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def all_decoders(daemon: Trainer) -> list[int]:
    """Returns those of the daemon, or of its acceptors."""
    assert daemon.process is not None
    own = daemon.process.pid
    return [process for parent in (own, *children("eyasd.acceptor", own)) for process in decoders(parent=parent)]
