"""The model repository on a real S3 server: everything that is done to models, a server that follows, and a store that fails."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import pytest
import structlog

import eyas
from builders import picture, write_bundle
from eyasd.app import Role
from eyasd.core import bundle
from eyasd.core.errors import AliasConflict, StartupFailed, VersionInUse, VersionNotFound
from eyasd.core.jobs import JobState
from eyasd.core.names import ModelRef
from eyasd.core.promotion import Policy
from eyasd.core.traffic import Canary
from eyasd.registry.models import Models
from eyasd.storage.bucket import Bucket
from fake_trainer import House, follow, train
from s3_server import Fault, Proxy
from waits import until

ANN: dict[str, Any] = {"actor": "ann", "reason": ""}
NEVER = timedelta(days=30)


@pytest.fixture
def models(s3_proxy: Proxy, s3_address: str) -> Models:
    return Models(Bucket(s3_address, pause_seconds=0.01))


def publish(models: Models, folder: Path, job: str) -> int:
    return models.publish("colours", write_bundle(folder / job, job=job), job)


def test_the_life_of_a_model(s3_address: str, tmp_path: Path) -> None:
    models = Models(Bucket(s3_address))
    assert [publish(models, tmp_path, f"job{number}") for number in (1, 2, 3, 2)] == [1, 2, 3, 2]
    assert (models.names(), models.versions("colours")) == (["colours"], [1, 2, 3])
    assert all(not checked.problem for checked in models.check("colours", 2))
    with (tmp_path / "fetched").open("wb+") as file:
        models.fetch_into("colours", 2, bundle.MODEL, file)
    assert (tmp_path / "fetched").read_bytes() == (tmp_path / "job2" / bundle.MODEL).read_bytes()

    models.promote("colours", "production", 1, **ANN)
    models.promote("colours", "production", 2, **ANN)
    assert models.rollback("colours", "production", **ANN).version == 1
    with pytest.raises(AliasConflict):
        models.aliases.set("colours", "production", 3, **ANN, after=1)
    models.policies.set("colours", Policy(aliases=("production",), at_least={"accuracy": 0.5}, at_most={}), actor="ann")
    assert models.policies.get("colours") is not None
    models.set_traffic("colours", Canary(ModelRef("colours", version=3), 5.0), None, **ANN)
    models.looks.add("colours", "split", 1, "job1")
    models.looks.add("colours", "split", 1, "job1")
    assert models.looks.count("colours", "split") == 1

    with pytest.raises(VersionInUse, match="is the canary"):
        models.delete("colours", 3, NEVER)
    with pytest.raises(VersionInUse, match="it is kept for a rollback"):
        models.delete("colours", 2, NEVER)
    models.delete("colours", 2, timedelta(0))
    assert models.versions("colours") == [1, 3]
    with pytest.raises(VersionNotFound):
        models.resolve(ModelRef("colours", version=2))
    assert publish(models, tmp_path, "job4") == 4  # a number is never given again


def test_writers_who_race_over_a_bad_line_agree(s3_proxy: Proxy, s3_address: str, tmp_path: Path) -> None:
    turn, lock = [0], threading.Lock()

    def every_third(method: str, _: str) -> Fault:
        with lock:
            turn[0] += 1
            return (None, "lose", None, 503, None, "drop")[turn[0] % 6] if method == "PUT" else None

    s3_proxy.fault = every_third
    writers, numbers, moved = [Models(Bucket(s3_address, pause_seconds=0.01)) for _ in range(2)], {}, []

    def write(writer: int) -> None:
        numbers[writer] = publish(writers[writer], tmp_path, f"job{writer}")
        for _ in range(5):
            try:
                moved.append(writers[writer].aliases.set("colours", f"alias{writer % 2}", numbers[writer], **ANN).record)
                moved.append(writers[writer].aliases.set("colours", "shared", numbers[writer], **ANN).record)
            except AliasConflict:
                moved.append(0)

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    s3_proxy.fault = lambda *_: None
    assert set(numbers.values()) == {1, 2}
    assert writers[0].versions("colours") == [1, 2]
    assert all(not checked.problem for version in (1, 2) for checked in writers[0].check("colours", version))
    history = writers[0].aliases.history("colours", "shared")
    assert [record.record for record in history] == list(range(1, len(history) + 1))
    assert all(before.version == after.previous for before, after in pairwise(history))


async def test_a_training_is_published_over_a_bad_line(
    models: Models, s3_proxy: Proxy, tmp_path: Path, log: structlog.typing.FilteringBoundLogger
) -> None:
    puts = count()
    s3_proxy.fault = lambda method, _: (None, "lose", 503)[next(puts) % 3] if method == "PUT" else None
    house = House(tmp_path, models, log)
    job = await train(house)
    (await house.runner.started.get()).succeed()
    assert [event.job.state for event in await follow(house, job) if event.job][-1] is JobState.SUCCEEDED
    await house.end()
    s3_proxy.fault = lambda *_: None
    assert (models.versions("colours"), models.manifest("colours", 1).lineage.job) == ([1], job.id)
    assert models.pointers()["colours"].aliases == {"production": 1}
    assert all(not checked.problem for checked in models.check("colours", 1))


def test_a_look_costs_one_request_until_something_is_told(
    models: Models, s3_proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert models.pointers() == {}
    publish(models, tmp_path, "job1")
    models.aliases.set("colours", "production", 1, **ANN)
    models.aliases.set("colours", "canary", 1, **ANN)
    other = Models(Bucket(models._store.address))  # type: ignore[attr-defined]
    assert other.pointers()["colours"].aliases == {"production": 1, "canary": 1}

    def costs() -> dict[str, int]:
        s3_proxy.asked.clear()
        other.pointers()
        return dict(s3_proxy.asked)

    assert costs() == {"GET": 1}
    models.aliases.set("colours", "next", 1, **ANN)
    assert costs() == {"GET": 1 + 1 + 3 + 1}  # the news, the models, three prefixes, the new record
    assert costs() == {"GET": 1}
    assert other.pointers()["colours"].aliases == {"production": 1, "canary": 1, "next": 1}

    monkeypatch.setattr(Bucket, "tell", lambda _: None)  # somebody who dies before he tells
    models.aliases.set("colours", "late", 1, **ANN)
    assert costs() == {"GET": 1}
    other.pointers.__self__._due = 0.0  # a minute later
    assert costs() == {"GET": 6}
    assert other.pointers()["colours"].aliases["late"] == 1


async def test_a_server_goes_on_while_the_store_is_away_and_follows_again(
    daemon: Any, models: Models, s3_proxy: Proxy, s3_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Bucket.__init__, "__defaults__", (0.2, 30.0, 0.01))
    await asyncio.to_thread(publish, models, tmp_path, "job1")
    await asyncio.to_thread(publish, models, tmp_path, "job2")
    await asyncio.to_thread(models.aliases.set, "colours", "production", 1, **ANN)
    rooms = {"registry": {"url": s3_address}, "serving": {"poll_interval_seconds": 0.05}}
    async with daemon(Role.ALL, **rooms) as app, eyas.aio.Client(f"127.0.0.1:{app.port}") as client:
        assert (await client.classify("colours", picture())).version == "colours/1"
        before = s3_proxy.asked.total()
        s3_proxy.fault = lambda *_: "drop"
        with pytest.raises(eyas.Unavailable, match="could not be used"):
            await client.set_alias("colours", "production", 2)
        while s3_proxy.asked.total() < before + 15:
            assert (await client.classify("colours", picture())).version == "colours/1"
        s3_proxy.fault = lambda *_: None
        async with asyncio.timeout(150):
            assert (await client.set_alias("colours", "production", 2)).version == "colours/2"
            while (await client.classify("colours", picture())).version != "colours/2":
                await asyncio.sleep(0.02)
    s3_proxy.fault = lambda *_: "drop"
    with pytest.raises(StartupFailed, match=f"{s3_address} .*could not be used"):
        async with daemon(Role.SERVER, **rooms):
            pass


async def test_a_server_that_starts_later_fetches_no_file_that_another_has_kept(
    daemon: Any, models: Models, s3_proxy: Proxy, s3_address: str, tmp_path: Path
) -> None:
    await asyncio.to_thread(publish, models, tmp_path, "job1")
    await asyncio.to_thread(models.aliases.set, "colours", "production", 1, **ANN)
    fetched: list[str] = []

    def note(method: str, path: str) -> Fault:
        if method == "GET" and path.endswith((bundle.MODEL, bundle.GOLDEN)):
            fetched.append(path.rpartition("/")[2])
        return None

    s3_proxy.fault = note
    cache = tmp_path / "cache"
    for before in ([], [bundle.GOLDEN, bundle.MODEL]):
        assert fetched == before
        registry = {"url": s3_address, "cache_dir": cache}
        async with daemon(Role.SERVER, registry=registry) as app, eyas.aio.Client(f"127.0.0.1:{app.port}") as client:
            assert (await client.classify("colours", picture())).version == "colours/1"
            await until(lambda: len(list(cache.glob("[0-9a-f]*"))) >= 2)
    assert fetched == [bundle.GOLDEN, bundle.MODEL]
