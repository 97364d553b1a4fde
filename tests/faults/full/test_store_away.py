"""An object store that throttles, fails, hangs, cuts or forgets: what may be repeated is, within bounds; then a sentence tells."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import obstore
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from obstore.store import from_url
from tests.faults.conftest import Tell
from tests.integration.conftest import Daemon, daemon

import eyas
from buckets import Quiet
from builders import picture, write_bundle
from eyasd.app import Role
from eyasd.core.errors import BadDataset, BrokenBundle, StorageFailed
from eyasd.registry.models import Models
from eyasd.storage import bucket_reader, fetching
from eyasd.storage.bucket import Bucket
from eyasd.storage.bucket_reader import BucketReader
from eyasd.storage.cache import ObjectCache
from eyasd.storage.fetching import PART_BYTES, fetch, find_objects
from s3_server import BUCKET, Fault, Proxy

__all__ = ["daemon"]  # a fixture
PASSING: tuple[Fault, ...] = (503, 500, 429, "drop", "lose", "cut", "slow")
FEW: tuple[Fault, ...] = (503, "slow")  # what every change can wait for
SLOW_SECONDS = 0.2  # a request that takes longer has failed
NEVER_SECONDS = 0.5  # how long a failing request is repeated


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def patient(s3_proxy: Proxy, s3_address: str) -> Models:
    return Models(Bucket(s3_address, patience_seconds=120.0, request_seconds=SLOW_SECONDS, pause_seconds=0.005))


@pytest.fixture
def hasty(s3_proxy: Proxy, s3_address: str) -> Models:
    return Models(Bucket(s3_address, patience_seconds=NEVER_SECONDS, request_seconds=SLOW_SECONDS, pause_seconds=0.01))


def publish(models: Models, folder: Path, number: int) -> int:
    """Publishes a version, moves an alias to it, and reads it back."""
    version = models.publish("colours", write_bundle(folder / f"job{number}", job=f"job{number}"), f"job{number}")
    models.promote("colours", "production", version, actor="ann", reason="")
    assert [checked.problem for checked in Models(models._store).check("colours", version) if checked.problem] == []
    return version


def words(faults: tuple[Fault, ...]) -> str:
    return ", ".join(map(str, faults))


class Chance:
    """Befalls requests by chance, each alike whatever threads do: its number decides."""

    def __init__(self, proxy: Proxy, faults: tuple[Fault, ...], share: float, seed: int) -> None:
        self.made = 0
        self._faults, self._share, self._seed, self._number, self._lock = faults, share, seed, 0, threading.Lock()
        proxy.fault = self

    def __call__(self, _method: str, _path: str) -> Fault:
        with self._lock:
            self._number += 1
            chance = random.Random(self._seed * 1_000_003 + self._number)
            if chance.random() > self._share:
                return None
            self.made += 1
            return chance.choice(self._faults)


def test_versions_are_published_promoted_and_read_though_every_third_request_fails(
    patient: Models, s3_proxy: Proxy, tmp_path: Path, all_faults: bool, tell: Tell
) -> None:
    times = 40 if all_faults else 3
    # A request that hangs takes its time-out: few do.
    chance = Chance(s3_proxy, (*PASSING[:-1] * 5, "slow"), 1 / 3, 1)
    s3_proxy.release_seconds = SLOW_SECONDS * 2
    for number in range(1, times + 1):
        assert publish(patient, tmp_path, number) == number
    s3_proxy.fault = lambda *_: None
    history = patient.aliases.history("colours", "production")
    assert [record.version for record in history] == list(range(1, times + 1))
    tell(f"{words(PASSING)} by chance to a third of all requests of {times} publications", f"{chance.made:,}", "0")


def test_a_store_that_stays_so_is_told_of_in_time_and_leaves_what_was_there(
    hasty: Models, patient: Models, s3_proxy: Proxy, tmp_path: Path, all_faults: bool, tell: Tell
) -> None:
    s3_proxy.release_seconds = SLOW_SECONDS * 2
    acts: tuple[Callable[[int], Any], ...] = (
        lambda number: publish(hasty, tmp_path, number),
        lambda _: hasty.aliases.set("colours", "production", 1, actor="ann", reason=""),
        lambda _: Models(hasty._store).check("colours", 1),
        lambda _: hasty._store.keys(""),
    )
    assert publish(patient, tmp_path, 1) == 1
    faults, most = PASSING if all_faults else FEW, 0
    for number, fault in enumerate(faults, 2):
        for act in acts if all_faults else acts[:2]:
            asked, start = s3_proxy.asked.total(), time.monotonic()
            s3_proxy.fault = lambda *_, fault=fault: fault  # type: ignore[misc]
            with pytest.raises(StorageFailed, match=r"could not be used \(.*\): once the store answers, try again\."):
                act(number)
            # Each of the two who repeat has that long, and a request may begin at its end.
            assert time.monotonic() - start < 2 * NEVER_SECONDS + 4 * SLOW_SECONDS + 15  # of a busy machine's
            most = max(most, s3_proxy.asked.total() - asked)
            s3_proxy.fault = lambda *_: None
        assert patient.versions("colours") == list(range(1, number))
        assert publish(patient, tmp_path, number) == number
    assert 2 <= most <= 200  # with pauses in between: at once would be thousands
    tell(f"every request of a publication, an alias, a check, a listing fails: {words(faults)}", f"{len(faults) * len(acts)}", "0")


def photos(address: str, count: int, size: int = 2000) -> dict[str, bytes]:
    store = from_url(address, client_options={"allow_http": True})
    files = {f"{number % 3}/{number}.png": random.Random(number).randbytes(size) for number in range(count)}
    for name, content in files.items():
        obstore.put(store, name, content)
    return files


def fetched(address: str, cache: Path) -> dict[str, bytes]:
    bucket, prefix = BucketReader(f"s3://{BUCKET}"), address.rpartition("/")[2]
    objects = find_objects(bucket, prefix, Quiet())
    kept = ObjectCache(cache, 1e9, "job")
    pieces = fetch(bucket, objects, kept, 1e9, Quiet())
    kept.close()
    return {
        one.key.removeprefix(f"{prefix}/"): piece.path.read_bytes()[piece.start : piece.start + piece.size_bytes]
        for one, piece in zip(objects, pieces, strict=True)
    }


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "DELAYS", (0.01,) * 12)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(bucket_reader._CLIENT, "read_timeout", f"{SLOW_SECONDS}s")  # type: ignore[arg-type]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("size", [2000, PART_BYTES + 5])
def test_pictures_are_fetched_whole_though_every_third_request_fails(
    s3_address: str, s3_proxy: Proxy, tmp_path: Path, all_faults: bool, tell: Tell, size: int, request: pytest.FixtureRequest
) -> None:
    large = size > PART_BYTES
    if not large:
        request.getfixturevalue("short")
    files = photos(s3_address, (6 if large else 1000) if all_faults else 2 if large else 60, size)
    s3_proxy.release_seconds = SLOW_SECONDS * 2
    # What hangs, and what is large, takes its time.
    chance = Chance(s3_proxy, PASSING[:-1] if large else (*PASSING[:-1] * 5, "slow"), 2 / 3 if large else 1 / 3, 3)
    assert fetched(s3_address, tmp_path / "cache") == files
    assert chance.made
    tell(f"{words(PASSING)} by chance to many requests for {len(files):,} objects of {size:,} bytes",
         f"{chance.made:,}", "0")  # fmt: skip


@pytest.mark.usefixtures("quick", "short")
def test_a_bucket_that_stays_so_is_told_of_and_what_came_is_not_fetched_again(
    s3_address: str, s3_proxy: Proxy, tmp_path: Path, all_faults: bool, monkeypatch: pytest.MonkeyPatch, tell: Tell
) -> None:
    monkeypatch.setattr(fetching, "DELAYS", (0.01,) * 2)
    files = photos(s3_address, 30)
    s3_proxy.release_seconds = SLOW_SECONDS * 2
    faults = PASSING if all_faults else FEW
    for fault in faults:
        cache = tmp_path / f"{fault}"
        s3_proxy.fault = lambda _, path, fault=fault: fault if path.endswith("/1/7.png") else None  # type: ignore[misc]
        with pytest.raises(StorageFailed, match=r"/1/7\.png could not be fetched, though it was tried 3 times: "):
            fetched(s3_address, cache)
        s3_proxy.fault = lambda *_: None
        assert fetched(s3_address, cache) == files
    tell(f"every request for a picture of a dataset fails: {words(faults)}", f"{len(faults)}", "0")


def test_answers_that_are_not_the_objects(patient: Models, s3_address: str, s3_proxy: Proxy, tmp_path: Path) -> None:
    publish(patient, tmp_path, 1)
    fresh = Models(patient._store)
    fresh.manifest("colours", 1)
    s3_proxy.fault = lambda *_: "bytes"
    with pytest.raises(BrokenBundle, match=r"model.onnx of colours/1.* was changed"):
        fresh.fetch("colours", 1, "model.onnx")
    large = tmp_path / "large"
    large.write_bytes(bytes(PART_BYTES + 5))
    s3_proxy.fault = lambda *_: None
    Bucket(s3_address).write_file("large", large)
    s3_proxy.fault = lambda *_: "etag"
    with pytest.raises(StorageFailed, match="was changed while it was read: try again"):
        Bucket(s3_address).read("large")
    s3_proxy.fault = lambda *_: None
    photos(s3_address, 3)
    s3_proxy.fault = lambda _, path: "etag" if path.endswith("/1.png") else None
    with pytest.raises(BadDataset, match=r"/1/1\.png was changed while the dataset was read"):
        fetched(s3_address, tmp_path / "cache")


@pytest.mark.parametrize("fault", ["slow", 503])
async def test_a_server_stays_ready_and_serves_while_its_store_is_away(
    daemon: Daemon, patient: Models, s3_proxy: Proxy, s3_address: str, tmp_path: Path, fault: Fault, all_faults: bool, tell: Tell
) -> None:
    await asyncio.to_thread(publish, patient, tmp_path, 1)
    rooms = {"registry": {"url": s3_address}, "serving": {"poll_interval_seconds": 0.05}}
    async with daemon(Role.SERVER, **rooms) as app, eyas.aio.Client(f"127.0.0.1:{app.port}") as client:
        before, calls, limit = s3_proxy.asked.total(), 0, time.monotonic() + (60 if all_faults else 1)
        s3_proxy.fault = lambda *_: fault
        async with grpc.aio.insecure_channel(f"127.0.0.1:{app.port}") as channel:
            health = health_pb2_grpc.HealthStub(channel)
            while time.monotonic() < limit or s3_proxy.asked.total() == before:
                assert (await client.classify("colours", picture())).version == "colours/1"
                answer = await health.Check(health_pb2.HealthCheckRequest())
                assert answer.status == health_pb2.HealthCheckResponse.SERVING
                calls += 1
        s3_proxy.fault = lambda *_: None
        s3_proxy.release.set()
    tell(f"pictures classified while every request to the store is answered: {fault}", f"{calls:,}", "0")
