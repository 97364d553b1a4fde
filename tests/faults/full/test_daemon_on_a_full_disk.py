"""A daemon whose disk becomes full: it serves, says what is amiss, keeps what it has, and goes on when there is room."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import structlog
from tests.faults.conftest import Tell
from tests.faults.disk import PAGE, Disk
from tests.integration.conftest import Daemon, daemon, published, repository

import eyas
from builders import picture
from eyasd.core import jobdir
from eyasd.core.errors import StorageFailed
from eyasd.core.jobs import JobState
from eyasd.jobs import attempt, publishing
from eyasd.jobs.local import LocalOptions, LocalRunner
from eyasd.jobs.runner import Launch
from eyasd.registry.models import Models
from eyasd.storage.local import LocalStore
from fake_trainer import FakeProcess, FakeRunner, House, at_work, follow, states, train
from processes import children

# What is wrong, with how much room, and what to do.
FULL = r"(No space left on device|is full).*0 bytes of [\d.]+ MB are free.*ree or mend"
__all__ = ["daemon", "published", "repository"]  # fixtures


@pytest.fixture
def data_dir(disk: Disk) -> Path:
    return disk.folder


async def test_it_serves_and_refuses_what_it_cannot_keep(
    daemon: Daemon, published: Models, disk: Disk, tmp_path: Path, all_faults: bool, tell: Tell
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "1.jpg").write_bytes(picture())
    calls = 2000 if all_faults else 50
    async with (
        daemon() as app,
        eyas.aio.Client(f"127.0.0.1:{app.port}", retries=False) as client,
    ):
        disk.fill()
        for refused in (
            client.set_alias("colours", "canary", 1),
            client.train(str(tmp_path / "photos"), "shades"),
            client.upload_dataset(tmp_path / "photos"),
        ):
            with pytest.raises(eyas.Unavailable, match=FULL):
                await refused
        for _ in range(calls):
            assert (await client.classify("colours", picture())).version == "colours/1"
        assert [job async for job in client.list_jobs()] == []
        disk.free()
        await client.set_alias("colours", "canary", 1)
        await client.upload_dataset(tmp_path / "photos")
        job = await client.train("datasets/photos", "shades")
        await client.cancel_job(job.id)
    tell("disk full under a daemon: a picture is classified", f"{calls}", "0")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt, "_STORAGE_RETRY_SECONDS", 0.02)
    monkeypatch.setattr(publishing, "_RETRY_SECONDS", (0.02,))


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("where", ["with the database", "without it"])
async def test_a_training_ends_well_though_the_disk_is_full_when_it_does(
    disk: Disk, tmp_path: Path, log: structlog.typing.FilteringBoundLogger, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = None if where == "with the database" else tmp_path / "jobs.sqlite"
    house = House(disk.folder, Models(LocalStore(disk.folder / "models")), log, database)
    job = await train(house)
    process = await house.runner.started.get()
    await at_work(house, job)
    with monkeypatch.context() as patch:
        patch.setattr(FakeProcess, "end", lambda *_: None)
        process.succeed()
    disk.fill()
    process.end(jobdir.OK)
    if database:  # the sentence reaches whoever watches
        async for event in house.ledger.watch(job.id, 1):
            if event.message and "No space left on device (0 bytes of" in event.message:
                assert event.message.endswith("The finished model is kept, and published as soon as that is possible.")
                break
    else:
        await asyncio.sleep(0.1)
        assert (await house.ledger.get(job.id)).state is JobState.RUNNING
        with pytest.raises(StorageFailed, match=r"disk is full.*0 bytes of"):
            await train(house)
    disk.free()
    assert states(await follow(house, job)) == [JobState.QUEUED, JobState.STARTING, JobState.RUNNING, JobState.SUCCEEDED]
    assert (process.stops, house.models.versions("colours")) == (0, [1])
    assert all(not checked.problem for checked in house.models.check("colours", 1))
    await house.end()


async def test_a_trainer_is_started_or_not_at_all(disk: Disk, tmp_path: Path, all_faults: bool, tell: Tell) -> None:
    runner, failed = LocalRunner(LocalOptions(locks=tmp_path / "gpus")), 0
    steps = range(20) if all_faults else range(3)
    for number in steps:
        launch = Launch(job="job", attempt=1, job_dir=disk.folder / f"job{number}")
        launch.job_dir.mkdir()
        disk.fill(number * PAGE)
        try:
            process = await runner.start(launch)
        except StorageFailed as error:
            failed += 1
            assert "The job's folder could not be written: No space left on device (0 bytes of" in error.message  # noqa: PT017
            assert children(str(launch.job_dir)) == []
            assert await runner.attach(launch) is None
            disk.free()
            process = await runner.start(launch)
        disk.free()
        again = await runner.attach(launch)
        assert again is not None
        await process.stop(0)
    assert failed
    tell("disk full when a training program is started", f"{len(steps)}, of which {failed} failed", "0")


async def test_a_job_that_cannot_be_started_says_so_and_is_started_later(
    models: Models, tmp_path: Path, log: structlog.typing.FilteringBoundLogger, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, fails = FakeRunner.start, [StorageFailed("The job's folder could not be written: full.")]

    async def failing(runner: FakeRunner, launch: Launch) -> FakeProcess:
        if fails:
            raise fails.pop()
        return await start(runner, launch)

    monkeypatch.setattr(FakeRunner, "start", failing)
    house = House(tmp_path, models, log)
    job = await train(house)
    (await house.runner.started.get()).succeed()
    events = await follow(house, job)
    assert "The job's folder could not be written: full." in [event.message for event in events]
    assert states(events)[-1] is JobState.SUCCEEDED
    assert (await house.ledger.get(job.id)).attempt == 2
    await house.end()
