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

import numpy as np
import pytest
import trustme
from PIL import Image

from eyasd.app import App, Role
from eyasd.core import document, jobdir
from eyasd.core.bundle import MANIFEST, read_manifest
from eyasd.core.jobdir import ProgressLine
from eyasd.core.jobs import Job, JobEvent, JobState, JobType, Lease
from eyasd.core.spec import TrainSpec
from eyasd.core.tasks import TrainingTask
from eyasd.jobs.permits import Permits, kept_key
from eyasd.jobs.store import JobStore
from eyasd.pod.layout import checkpoints, newest, paths, place, receive_newest, send
from eyasd.storage.address import open_store
from eyasd.storage.store import Store
from proxy import Proxy

from .conftest import Daemon


class House:
    """A job that is at work elsewhere, as a replica that the test plays has it, and the pods of its first attempt."""

    def __init__(self, app: App, jobs: JobStore, address: str, tmp_path: Path, epochs: int) -> None:
        self.address, self.jobs, self._folder = address, jobs, tmp_path
        self.store: Store = open_store(address, tmp_path)
        self.port = app.port
        self.inputs = tmp_path / "inputs"
        self.inputs.mkdir()
        spec = TrainSpec(backbone="test_resnet", pretrained=False, image_size_px=32, epochs=epochs, early_stopping_patience=epochs)
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

    async def program(self, folder: Path) -> asyncio.subprocess.Process:
        """The same as a process of this machine has it."""
        return await asyncio.create_subprocess_exec(sys.executable, "-m", "eyasd.training", str(folder))

    def events(self) -> list[JobEvent]:
        return self.jobs.events("j1", 1)

    def messages(self) -> list[str]:
        return [event.message for event in self.events() if event.message]

    def out(self) -> list[str]:
        return newest(self.store, place("j1", 1, "out"))


@pytest.fixture
def house(daemon: Daemon, data_dir: Path, tmp_path: Path, s3_address: str, log) -> Callable[..., AsyncIterator[House]]:
    for label, colour in (("red", (220, 30, 30)), ("green", (30, 200, 40))):
        for seed in range(12):
            noise = np.random.default_rng((seed, *colour)).integers(-30, 30, (40, 40, 3))
            path = tmp_path / "photos" / label / f"{seed}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)).save(path)

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


async def until(holds: Callable[[], object], process: asyncio.subprocess.Process) -> None:
    end = time.monotonic() + 100
    while not await asyncio.to_thread(holds):
        assert process.returncode is None
        assert time.monotonic() < end
        await asyncio.sleep(0.05)


def said(lines: list[JobEvent] | list[ProgressLine]) -> tuple[list[str], list[str]]:
    """Returns the stages in their order, and the sentences."""
    stages = list(dict.fromkeys(line.progress.stage for line in lines if line.progress))
    return stages, [line.message for line in lines if line.message]


async def test_a_pod_trains_as_a_process_does_and_tells_all_once_its_trainer_is_back(house, tmp_path: Path) -> None:
    async with house(epochs=2) as it, Proxy(it.port, []) as way:
        pod, program = await it.pod("scratch", f"127.0.0.1:{way.port}"), await it.program(it.inputs)
        await until(lambda: said(it.events())[0], pod)
        way.leave()
        await until(it.out, pod)  # the result waits for nobody
        known = len(it.events())
        way.away = False
        assert (await pod.wait(), await program.wait()) == (jobdir.OK, jobdir.OK)

        lines = [document.load(ProgressLine, line) for line in (tmp_path / "scratch" / jobdir.PROGRESS).read_text().splitlines()]
        told = [event for event in it.events() if event.progress or event.message]
        assert [(event.progress, event.message) for event in told] == [(line.progress, line.message) for line in lines]
        assert known < len(it.events())
        own = [document.load(ProgressLine, line) for line in (it.inputs / jobdir.PROGRESS).read_text().splitlines()]
        assert said(told) == said(own)
        assert receive_newest(it.store, place("j1", 1, "out"), tmp_path / "back") == "jobs/j1/1/out/1"
        assert (tmp_path / "back" / jobdir.RESULT).read_bytes() == (it.inputs / jobdir.RESULT).read_bytes()
        bundle = tmp_path / "back" / jobdir.BUNDLE
        manifest = read_manifest((bundle / MANIFEST).read_bytes())
        assert {file.relative_to(bundle).as_posix() for file in bundle.rglob("*") if file.is_file()} == {*manifest.files, MANIFEST}
        assert manifest.history == read_manifest((it.inputs / jobdir.BUNDLE / MANIFEST).read_bytes()).history

        again = await it.pod("again", f"127.0.0.1:{it.port}")  # its end was not seen
        assert await again.wait() == jobdir.OK
        assert it.out() == ["jobs/j1/1/out/1"]


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
