"""A client that goes in the middle of an upload, or of a watch: nothing half is seen, nothing is missed, nothing is kept for it."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.faults.conftest import Tell
from tests.integration.conftest import Daemon, daemon

import eyas
from eyasd.app import App, Role
from eyasd.core.names import DatasetRef
from eyasd.machine import open_datasets
from eyasd.registry.datasets import Datasets
from proxy import Proxy
from waits import until

__all__ = ["daemon"]  # a fixture
TESTS = Path(__file__).parents[2]


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


def written(folder: Path, number: int) -> dict[str, bytes]:
    """Writes a dataset that nobody has uploaded yet: some small files, and a large one."""
    noise = random.Random(number)
    files = {f"label{one % 3}/{one}.jpg": noise.randbytes(500) for one in range(30)}
    files["label0/big.png"] = noise.randbytes(1_300_000)
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return files


def kept(datasets: Datasets, name: str) -> dict[str, bytes]:
    record = datasets.get(DatasetRef(name))
    return {file.path: datasets.blobs.store.read(file.blob.key) for file in datasets.files(record.manifest)}


async def test_a_client_that_goes_in_the_middle_of_an_upload(
    daemon: Daemon, tmp_path: Path, data_dir: Path, all_faults: bool, tell: Tell
) -> None:
    times, cut = 200 if all_faults else 4, random.Random(6)
    async with daemon() as app, eyas.aio.Client(f"127.0.0.1:{app.port}") as client:
        datasets = open_datasets(app._settings)
        for number in range(times):
            files = written(tmp_path / "photos", number)
            async with Proxy(app.port, [cut.randrange(1, 1_300_000)]) as proxy:
                async with eyas.aio.Client(f"127.0.0.1:{proxy.port}", retries=False) as gone:
                    with pytest.raises(eyas.Unavailable):
                        await gone.upload_dataset(tmp_path / "photos", f"photos{number}")
                assert proxy.broken == 1
            with pytest.raises(eyas.NotFound):
                await client.get_dataset(f"photos{number}")
            progress: list[eyas.UploadProgress] = []
            done = await client.upload_dataset(tmp_path / "photos", f"photos{number}", on_progress=progress.append)
            assert done.file_count == len(files)
            assert await asyncio.to_thread(kept, datasets, f"photos{number}") == files
        await until(lambda: parts(data_dir) == [])
        written(tmp_path / "photos", times)
        async with asyncio.timeout(60):
            while not parts(data_dir):  # a server that hears of the end before it has read what came leaves none
                async with Proxy(app.port, [1_000_000]) as proxy, eyas.aio.Client(f"127.0.0.1:{proxy.port}", retries=False) as gone:
                    with pytest.raises(eyas.Unavailable):
                        await gone.upload_dataset(tmp_path / "photos", "never")
                await until(lambda: not streams(app))
        assert [path.suffix for path in parts(data_dir)] == [".part"]
        await asyncio.to_thread(datasets.blobs.forget_parts, -1.0)  # its time is over
        assert parts(data_dir) == []
    tell("a connection is cut at a random byte of an upload", f"{times}", "0")


async def test_a_client_that_goes_in_the_middle_of_a_watch(
    daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, all_faults: bool, tell: Tell
) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{TESTS / 'fake_program'}:{TESTS}")
    monkeypatch.setenv("EYAS_TEST_GO", str(tmp_path / "go"))
    monkeypatch.setenv("EYAS_TEST_RUNS", str(tmp_path / "runs"))
    (tmp_path / "photos").mkdir()
    watchers, cuts = 20, 40 if all_faults else 2
    async with daemon(Role.TRAINER) as app, eyas.aio.Client(f"127.0.0.1:{app.port}") as client:
        job = await client.train(str(tmp_path / "photos"), "colours", preset="fast")
        before = tasks()
        async with Proxy(app.port, []) as proxy:
            clients = [eyas.aio.Client(f"127.0.0.1:{proxy.port}") for _ in range(watchers)]
            seen: list[list[eyas.JobEvent]] = [[] for _ in clients]

            async def watch(one: eyas.aio.Client, events: list[eyas.JobEvent]) -> None:
                async for event in one.watch_job(job.id):
                    events.append(event)  # noqa: PERF401 - as they come

            watching = [asyncio.create_task(watch(one, events)) for one, events in zip(clients, seen, strict=True)]
            for _ in range(cuts):
                await until(lambda: watched(app, job.id) >= watchers)
                await asyncio.sleep(0.15)
                proxy.leave()
                proxy.away = False
            (tmp_path / "go").touch()
            await asyncio.gather(*watching)
            for one in clients:
                await one.close()
        for events in seen:
            assert [event.sequence for event in events] == [*range(1, len(events) + 1)]
            assert events == seen[0]
        await until(lambda: watched(app, job.id) == 0 and not new(before))
    tell("a connection is cut in the middle of a watch", f"{watchers * cuts:,}", "0")


def parts(data_dir: Path) -> list[Path]:
    """What lies where uploads arrive, apart from who is at work there."""
    return [path for path in sorted((data_dir / "uploads").rglob("*")) if path.is_file() and len(path.name.partition(".")[0]) == 64]


def streams(app: App) -> Any:
    return [upload for service in app._streaming for upload in getattr(service, "_uploads", ())]


def watched(app: App, job: str) -> int:
    assert app._scheduler is not None
    return len(app._scheduler._ledger._news._watchers.get(job, ()))


def tasks() -> Counter[str]:
    return Counter(getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks())


def new(before: Counter[str]) -> Counter[str]:
    """Which tasks there are that there were not."""
    return tasks() - before
