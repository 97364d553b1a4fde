"""A trainer whose pods share no folder with it is killed at random moments: every job ends with one version, told of once."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import kmock
import pytest
from tests.faults.conftest import Tell

import eyas
import eyas.aio
from eyasd.registry.models import Models
from eyasd.storage.local import LocalStore
from fake_cluster import NAMESPACE, FakeCluster
from kubelet import Kubelet
from ports import free_port
from waits import until

TESTS = Path(__file__).parents[2]
PARTS, EACH = 4, 5  # in parts, as a test has five minutes


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One moment of the first part is for every change."""
    if "part" in metafunc.fixturenames:
        every = metafunc.config.getoption("all_faults")
        metafunc.parametrize(("part", "count"), [(part, EACH) for part in range(PARTS)] if every else [(0, 1)])


class Trainer:
    """A daemon in a process of its own, and the pods' program, which is the fake one."""

    def __init__(self, folder: Path, cluster: FakeCluster) -> None:
        self.address, self.folder = f"127.0.0.1:{free_port()}", folder
        self.store = folder / "store"
        self.store.mkdir()
        (folder / "go").touch()
        kubernetes = {"image": "eyas-trainer:1", "api_url": str(cluster.url), "namespace": NAMESPACE, "gpu_resource": ""}
        volumes = json.dumps({str(self.store): "store", str(folder / "photos"): "photos"})
        settings = {
            **{f"KUBERNETES__{name.upper()}": value for name, value in kubernetes.items()},
            "KUBERNETES__STORE": f"file://{self.store}",
            "KUBERNETES__TRAINER": self.address,
            "KUBERNETES__VOLUMES": volumes,
            "JOBS__MAX_ATTEMPTS": "9",
            "JOBS__STOP_GRACE_SECONDS": "1",
            "API__LISTEN": self.address,
            "API__LAME_DUCK_SECONDS": "0",
            "TELEMETRY__METRICS_LISTEN": "127.0.0.1:0",
            "DATA_DIR": str(folder / "data"),
        }
        self._environment = os.environ | {f"EYASD_{name}": value for name, value in settings.items()}
        path = [str(TESTS / "fake_program"), str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.program = {"PYTHONPATH": os.pathsep.join(path), "EYAS_TEST_GO": str(folder / "go")}
        self.program["EYAS_TEST_RUNS"] = str(folder / "runs")
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "eyasd", "trainer"), env=self._environment, stderr=log
            )

    async def kill(self) -> None:
        assert self.process is not None
        assert self.process.returncode is None
        self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def trainer_of(folder: Path) -> AsyncIterator[Trainer]:
    (folder / "photos").mkdir()
    async with FakeCluster() as cluster, kmock.Server(cluster):
        trainer = Trainer(folder, cluster)
        working = asyncio.create_task(Kubelet(cluster, folder / "nodes", **trainer.program).work())
        await trainer.start()
        try:
            yield trainer
        finally:
            await trainer.kill()
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)


async def answered(trainer: Trainer, job: str) -> eyas.Job:
    """Waits until a job has ended, however often its trainer begins anew."""
    limit = time.monotonic() + 150
    while True:
        try:
            async with eyas.aio.Client(trainer.address) as client:
                return await client.wait(job)
        except eyas.EyasError:
            assert time.monotonic() < limit, (trainer.folder / "log").read_text()[-5000:]
            await asyncio.sleep(0.1)


async def submitted(trainer: Trainer, number: int) -> str:
    limit = time.monotonic() + 150
    while True:
        try:
            async with eyas.aio.Client(trainer.address) as client:
                return (await client.train(trainer.folder / "photos", "m", preset="fast", request_id=f"r{number}")).id
        except eyas.EyasError:
            assert time.monotonic() < limit, (trainer.folder / "log").read_text()[-5000:]
            await asyncio.sleep(0.1)


async def test_a_trainer_is_killed_at_any_moment_of_an_attempt_in_pods(tmp_path: Path, part: int, count: int, tell: Tell) -> None:
    chance, attempts = random.Random(part), 0
    async with trainer_of(tmp_path) as trainer:
        begun = time.monotonic()
        await answered(trainer, await submitted(trainer, 0))
        takes = 1.2 * (time.monotonic() - begun)
        for number in range(1, count + 1):
            job = await submitted(trainer, number)
            await asyncio.sleep((number - 1 + (part + chance.random()) / PARTS) / count * takes)
            await trainer.kill()
            await trainer.start()
            done = await answered(trainer, job)
            assert (done.state, done.version) == (eyas.JobState.SUCCEEDED, f"m/{number + 1}"), done
            async with eyas.aio.Client(trainer.address) as client:
                events = [event async for event in client.watch_job(job)]
            assert [event.sequence for event in events] == list(range(1, len(events) + 1))
            attempts += done.attempt
        store, models = LocalStore(trainer.store), Models(LocalStore(tmp_path / "data" / "models"))
        await until(lambda: not store.keys("jobs"))
        assert models.versions("m") == list(range(1, count + 2))
    assert alone(tmp_path / "runs")
    tell(
        "`kill -9` of a trainer whose pods share no folder with it", f"{count} moments, part {part + 1} ({attempts} attempts)", "0"
    )


def alone(runs: Path) -> bool:
    """Returns whether no attempt of a job was at work once a later one was."""
    newest: dict[str, int] = {}
    for job, attempt, _ in (line.split() for line in runs.read_text().splitlines()):
        if int(attempt) < newest.get(job, 0):
            return False
        newest[job] = int(attempt)
    return True
