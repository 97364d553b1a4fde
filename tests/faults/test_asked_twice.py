"""Callers who ask for the same training again and again, as connections break and answers are lost: each has it once."""

from __future__ import annotations

import asyncio
import os
import random
from collections import defaultdict
from pathlib import Path

import pytest
from tests.faults.conftest import Tell
from tests.integration.conftest import Daemon, daemon

import eyas
from builders import COLOURS, picture
from eyasd.access.roles import parse_grants
from eyasd.access.tokens import line_of, make_token
from eyasd.app import Role
from proxy import Proxy

__all__ = ["daemon"]  # a fixture
TESTS = Path(__file__).parents[1]
CLIENTS = 8


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


async def test_a_request_that_is_repeated_over_connections_that_break_is_one_job_of_each_caller(
    daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, all_faults: bool, tell: Tell
) -> None:
    ids = 125 if all_faults else 4
    # The first job stands still, and all others wait for it.
    monkeypatch.setenv("PYTHONPATH", f"{TESTS / 'fake_program'}:{TESTS}:{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv("EYAS_TEST_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("EYAS_TEST_GO", str(tmp_path / "never"))
    photos = tmp_path / "photos" / "red"
    photos.mkdir(parents=True)
    (photos / "1.png").write_bytes(picture(COLOURS["red"]))
    tokens = {name: make_token() for name in ("ann", "bob")}
    lines = (line_of(token, name, parse_grants("train"), None) for name, token in tokens.items())
    (tmp_path / "tokens").write_text("".join(f"{line}\n" for line in lines))
    dice = random.Random(15)
    # A call sends some 300 bytes, and calls here share a connection: it breaks before one is whole, or before its answer.
    cuts = [dice.randrange(1, 2500) for _ in range(100 * ids * CLIENTS)]
    made: dict[tuple[str, str], set[str]] = defaultdict(set)
    rooms = {"access": {"tokens": tmp_path / "tokens"}, "training": {"data_roots": [str(tmp_path)]}}
    async with daemon(Role.TRAINER, **rooms) as app, Proxy(app.port, cuts) as proxy:

        async def ask(name: str, request: str) -> str:
            while True:
                async with eyas.aio.Client(f"127.0.0.1:{proxy.port}", token=tokens[name], retries=False) as client:
                    try:
                        return (await client.train(photos.parent, "colours", preset="fast", request_id=request)).id
                    except eyas.Unavailable:
                        continue

        async def ask_all(name: str) -> None:
            for number in range(ids):
                made[name, f"request {number}"].add(await ask(name, f"request {number}"))

        await asyncio.gather(*(ask_all(("ann", "bob")[number % 2]) for number in range(CLIENTS)))
        async with eyas.aio.Client(f"127.0.0.1:{app.port}", token=tokens["ann"]) as client:
            there = {job.id: job.owner async for job in client.list_jobs()}
        broken = proxy.broken
    assert broken > ids // 2
    assert len(made) == 2 * ids
    assert {job: name for (name, _), jobs in made.items() for job in jobs} == there  # each once, and none beside them
    assert len(there) == 2 * ids
    done = f"a training asked for by 4 clients of each of 2 callers, all with the same {ids} ids; {broken:,} connections broke"
    tell(done, f"{ids * CLIENTS:,}", "0")
