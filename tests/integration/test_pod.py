"""The very command line of a pod, with a real store and a real daemon: what it hands over, and what it leaves when cut short."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import kmock
import numpy as np
import pytest
import structlog
import trustme
from PIL import Image

import eyas.aio
from eyasd.app import App, Role
from eyasd.core import document, jobdir
from eyasd.core.bundle import MANIFEST, read_manifest
from eyasd.core.jobdir import ProgressLine
from eyasd.core.jobs import Job, JobEvent, JobState, JobType, Lease
from eyasd.core.spec import TrainSpec
from eyasd.core.tasks import TrainingTask
from eyasd.jobs.permits import Permits, kept_key
from eyasd.jobs.store import JobStore
from eyasd.pod.layout import checkpoints, newest, paths, place, receive, send
from eyasd.registry.models import Models
from eyasd.storage.address import open_store
from eyasd.storage.local import LocalStore
from eyasd.storage.store import Store
from fake_cluster import NAMESPACE, FakeCluster
from kubelet import BIN, Kubelet
from proxy import Proxy

from .conftest import Daemon

WISHES: dict[str, Any] = {"backbone": "test_resnet", "pretrained": False, "image_size_px": 32}


class House:
    """A job that is at work elsewhere, as a replica that the test plays has it, and the pods of its first attempt."""

    def __init__(self, app: App, jobs: JobStore, address: str, tmp_path: Path, epochs: int) -> None:
        self.address, self.jobs, self._folder = address, jobs, tmp_path
        self.store: Store = open_store(address, tmp_path)
        self.port = app.port
        self.inputs = tmp_path / "inputs"
        self.inputs.mkdir()
        spec = TrainSpec(epochs=epochs, early_stopping_patience=epochs, **WISHES)
        task = TrainingTask(job="j1", attempt=1, model="m", dataset=str(tmp_path / "photos"), spec=spec, hub=False)
        (self.inputs / jobdir.TRAINING).write_text(document.dump(task))
        send(self.store, place("j1", 1, "in"), self.inputs, [self.inputs / jobdir.TRAINING])
        jobs.submit(Job(id="j1", type=JobType.TRAINING, create_time=datetime.now(UTC), model="m", dataset="/d"), None, "r")
        assert jobs.leases.claim("elsewhere", ["j1"]) is not None
        self.lease = Lease("j1", 1, "elsewhere")
        jobs.update(self.lease, state=JobState.RUNNING)
        self._token = Permits(kept_key(tmp_path / "data" / "report.key")).make("j1", 1)

    async def pod(self, name: str, trainer: str, *more: str | Path) -> asyncio.subprocess.Process:
        where = ("--trainer", trainer, "--store", self.address, "--scratch", str(self._folder / name), *more)
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "eyasd.pod", *where, "--job", "j1", "--attempt", "1"),
            env={**os.environ, "EYAS_REPORT_TOKEN": self._token},
        )

    def events(self) -> list[JobEvent]:
        return self.jobs.events("j1", 1)

    def messages(self) -> list[str]:
        return [event.message for event in self.events() if event.message]

    def out(self) -> list[str]:
        return newest(self.store, place("j1", 1, "out"))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for label, colour in (("red", (220, 30, 30)), ("green", (30, 200, 40))):
        for seed in range(12):
            noise = np.random.default_rng((seed, *colour)).integers(-30, 30, (40, 40, 3))
            path = tmp_path / "photos" / label / f"{seed}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)).save(path)
    return tmp_path / "photos"


@pytest.fixture
def house(
    daemon: Daemon, photos: Path, data_dir: Path, tmp_path: Path, s3_address: str, log: structlog.typing.FilteringBoundLogger
) -> Callable[..., AsyncIterator[House]]:
    @asynccontextmanager
    async def run(epochs: int, **api: str) -> AsyncIterator[House]:
        async with daemon(Role.TRAINER, api=api) as app:
            jobs = JobStore(data_dir / "jobs.sqlite", log)
            made = House(app, jobs, s3_address, tmp_path, epochs)

            async def renew() -> None:
                while True:
                    jobs.leases.renew("elsewhere")
                    await asyncio.sleep(1)

            renewing = asyncio.create_task(renew())
            try:
                yield made
            finally:
                renewing.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await renewing
                jobs.close()

    return run


async def until(holds: Callable[[], object], process: asyncio.subprocess.Process | None = None) -> None:
    end = time.monotonic() + 200  # of a busy machine's
    while not await asyncio.to_thread(holds):
        assert process is None or process.returncode is None
        assert time.monotonic() < end
        await asyncio.sleep(0.05)


def said(lines: list[JobEvent] | list[ProgressLine]) -> tuple[list[str], list[str]]:
    """Returns the stages in their order, and the sentences."""
    stages = list(dict.fromkeys(line.progress.stage for line in lines if line.progress))
    return stages, [line.message for line in lines if line.message]


async def test_a_training_in_a_pod_is_that_of_a_process_though_its_trainer_goes_away(
    daemon: Daemon, photos: Path, data_dir: Path, tmp_path: Path, s3_address: str, log: structlog.typing.FilteringBoundLogger
) -> None:
    store = open_store(s3_address, tmp_path)
    async with FakeCluster() as cluster, kmock.Server(cluster), Proxy(0, []) as way:
        kubelet = Kubelet(cluster, tmp_path / "node")
        kubernetes = {"image": "eyas-trainer:1", "api_url": str(cluster.url), "namespace": NAMESPACE, "gpu_resource": ""}
        kubernetes |= {"store": s3_address, "trainer": f"127.0.0.1:{way.port}", "volumes": {str(photos): "photos"}}
        async with daemon(Role.TRAINER, kubernetes=kubernetes, training={"hub": False}) as app:
            jobs = JobStore(data_dir / "jobs.sqlite", log)
            way.target = app.port
            working = asyncio.create_task(kubelet.work())
            async with eyas.aio.Client(f"127.0.0.1:{app.port}") as client:
                job = (await client.train(photos, "m", epochs=2, **WISHES)).id
                await until(lambda: said(jobs.events(job, 1))[0])
                own = tmp_path / "own"
                assert receive(store, place(job, 1, "in"), own)
                program = await asyncio.create_subprocess_exec(sys.executable, "-m", "eyasd.training", str(own))
                way.leave()
                out = place(job, 1, "out")
                await until(lambda: newest(store, out))  # what is left waits for nobody
                known = len(jobs.events(job, 1))
                (command,) = kubelet.started  # its end was not seen, and it is made again
                scratch = command.index("--scratch") + 1
                command[scratch] += "-again"
                again = await asyncio.create_subprocess_exec(BIN / command[0], *command[1:])
                assert await again.wait() == jobdir.OK
                assert newest(store, out) == [f"{out}/1"]
                way.away = False
                ended = await client.wait(job)
            assert (ended.state, ended.version, await program.wait()) == (eyas.JobState.SUCCEEDED, "m/1", jobdir.OK)
            await until(lambda: not store.keys("jobs"))
            events = jobs.events(job, 1)
            jobs.close()
            working.cancel()

    assert known < len(events)
    lines = [document.load(ProgressLine, line) for line in (own / jobdir.PROGRESS).read_text().splitlines()]
    stages, sentences = said(events)
    own_stages, own_sentences = said(lines)
    assert [stage for stage in stages if stage != "publish"] == [stage for stage in own_stages if stage != "publish"]
    assert [sentence for sentence in sentences if sentence in own_sentences] == own_sentences
    version = Models(LocalStore(data_dir / "models")).manifest("m", 1)
    assert version.history == read_manifest((own / jobdir.BUNDLE / MANIFEST).read_bytes()).history
    assert {(data_dir / "models" / "m" / "1" / file).exists() for file in version.files} == {True}


async def test_a_pod_that_has_to_make_way_leaves_a_checkpoint_and_one_that_was_given_up_leaves_nothing(
    house, authority: trustme.CA, tls_files: dict[str, str], tmp_path: Path
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with house(epochs=1000, **tls_files) as it:
        trainer = (f"localhost:{it.port}", "--ca", tmp_path / "ca.pem")
        pod = await it.pod("scratch", *trainer)
        await until(lambda: any(event.progress and (event.progress.epoch or 0) > 2 for event in it.events()), pod)
        pod.terminate()
        assert await pod.wait() == jobdir.TERMINATED
        assert newest(it.store, checkpoints("j1")) == ["jobs/j1/checkpoint/1-1-1"]
        assert [paths(it.store, out) for out in it.out()] == [{jobdir.LOG}]

        pod = await it.pod("next", *trainer)
        await until(lambda: any(message.startswith("Went on from the checkpoint") for message in it.messages()), pod)
        it.jobs.update(it.lease, state=JobState.CANCELLED, end_time=datetime.now(UTC))
        assert await pod.wait() == jobdir.TERMINATED
        assert newest(it.store, checkpoints("j1")) == ["jobs/j1/checkpoint/1-1-1"]
        assert it.out() == ["jobs/j1/1/out/1"]
