"""storage: every store keeps the same promises, whether a folder, this process's memory or a real S3 server."""

from __future__ import annotations

import os
import threading
import time
from io import BytesIO
from pathlib import Path

import pytest

from eyasd.core.errors import StorageFailed
from eyasd.storage.address import open_store
from eyasd.storage.bucket import PART_BYTES, Bucket
from eyasd.storage.store import BlobStore
from s3_server import Fault, Proxy


@pytest.fixture(params=["local", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    address = {"local": None, "memory": "memory://"}.get(request.param) or (
        request.getfixturevalue("s3_address") if request.param == "s3" else None
    )
    return open_store(address, tmp_path / "root")


def test_write_replaces_and_create_does_not(store: BlobStore) -> None:
    store.write("a/b", b"1")
    store.write("a/b", b"2")
    assert not store.create("a/b", b"3")
    assert store.create("a/c", b"4")
    assert not store.create("a/c", b"4")
    assert (store.read("a/b"), store.read("a/c")) == (b"2", b"4")
    assert store.exists("a/b")
    assert not store.exists("a")
    assert store.create("empty", b"")
    assert store.read("empty") == b""


def test_what_is_listed(store: BlobStore) -> None:
    for key in ("m/1/model.onnx", "m/1/manifest.json", "m/10/claim", "m/2/claim", "n/aliases/p/1.json", "top"):
        store.write(key, b"x")
    store.tell()
    assert store.children("") == ["m", "n", "top"]
    assert store.children("m") == ["1", "10", "2"]
    assert store.children("m/1") == ["manifest.json", "model.onnx"]
    assert store.having("m", "claim") == ["10", "2"]
    assert store.having("m", "1") == store.having("none", "claim") == []
    assert store.keys("m/1") == ["m/1/manifest.json", "m/1/model.onnx"]
    assert store.keys("") == [
        *("m/1/manifest.json", "m/1/model.onnx", "m/10/claim", "m/2/claim"),
        *("n/aliases/p/1.json", "top"),
    ]


def test_what_is_not_there(store: BlobStore) -> None:
    store.write("a", b"")
    assert (store.children("nothing"), store.children("a"), store.keys("nothing"), store.keys("a")) == ([], [], [], [])
    for key in ("nothing", "a/below"):
        assert not store.exists(key)
        for read in (store.read, lambda key: store.read_into(key, BytesIO())):
            with pytest.raises(FileNotFoundError):
                read(key)


def test_what_is_deleted_is_gone_and_may_be_deleted_again(store: BlobStore) -> None:
    store.write("a/b", b"1")
    store.write("a/c", b"2")
    for key in ("a/b", "a/b", "nowhere/d"):
        store.delete(key)
    assert store.children("a") == ["c"]
    assert store.create("a/b", b"3")


@pytest.mark.parametrize("store", ["memory", "s3"], indirect=True)
def test_pages_of_a_thousand(store: BlobStore) -> None:
    for number in range(1005):
        store.write(f"many/{number:04d}/x", b"")
    assert store.children("many") == [f"{number:04d}" for number in range(1005)]
    assert len(store.keys("many")) == 1005
    assert [found.key for found in store.find("many")] == store.keys("many")


@pytest.mark.parametrize("size", [PART_BYTES, 2 * PART_BYTES + 1])
def test_a_large_object_goes_and_comes_in_parts(store: BlobStore, tmp_path: Path, size: int) -> None:
    content = os.urandom(1 << 20) * (size >> 20) + b"x" * (size & 0xFFFFF)
    (tmp_path / "large").write_bytes(content)
    store.write_file("a/large", tmp_path / "large")
    taken = BytesIO()
    store.read_into("a/large", taken)
    assert taken.getvalue() == content
    assert store.read("a/large") == content
    with pytest.raises(FileNotFoundError, match="no such file"):
        store.write_file("a/other", tmp_path / "no such file")
    assert store.create_from("b/large", tmp_path / "large")
    assert not store.create_from("b/large", tmp_path / "large")
    assert (store.size("b/large"), store.size("b/none")) == (size, None)
    (found,) = store.find("b")
    assert (found.key, found.size_bytes) == ("b/large", size)
    assert abs(found.modified - time.time()) < 60


def test_create_has_one_winner(store: BlobStore) -> None:
    start, wins = threading.Barrier(8), []

    def race(number: int) -> None:
        start.wait()
        wins.extend((prize, number) for prize in range(10) if store.create(f"prize/{prize}", str(number).encode()))

    threads = [threading.Thread(target=race, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {(prize, int(store.read(f"prize/{prize}"))) for prize in range(10)} == set(wins)
    assert len(wins) == 10


def test_news(store: BlobStore) -> None:
    if store.news() is None:
        assert store.stamp("") is not None
        return
    before = store.news()
    assert store.news() == before
    store.tell()
    assert store.news() != before


@pytest.fixture
def bucket(s3_proxy: Proxy, s3_address: str) -> Bucket:
    """A store behind a proxy."""
    return Bucket(s3_address, patience_seconds=60.0, pause_seconds=0.01)


@pytest.mark.parametrize("fault", ["lose", "drop", 503, 429])
def test_what_is_lost_on_the_way_is_done_once(bucket: Bucket, s3_proxy: Proxy, fault: Fault) -> None:
    s3_proxy.first(2, fault)
    assert bucket.create("ours", b"content")
    s3_proxy.first(2, fault)
    assert not bucket.create("ours", b"content")
    for call in (
        lambda: bucket.write("ours", b"new"),
        lambda: bucket.read("ours"),
        lambda: bucket.keys(""),
        lambda: bucket.size("ours"),
        lambda: list(bucket.find("")),
        lambda: bucket.delete("a"),
    ):
        s3_proxy.first(1, fault)
        call()
    s3_proxy.first(1, fault)
    assert bucket.children("") == ["ours"]
    assert bucket.read("ours") == b"new"


@pytest.mark.parametrize("method", ["POST", "PUT", "GET"])
def test_parts_that_are_lost_are_sent_again(bucket: Bucket, s3_proxy: Proxy, tmp_path: Path, method: str) -> None:
    content = os.urandom(PART_BYTES + 5)
    (tmp_path / "large").write_bytes(content)
    s3_proxy.first(1, "lose", method)
    assert bucket.create_from("large", tmp_path / "large")
    assert bucket.read("large") == content


def test_two_writers_whose_answers_are_lost_know_who_won(s3_proxy: Proxy, s3_address: str) -> None:
    count, lock = [0], threading.Lock()

    def every_other(method: str, _: str) -> Fault:
        with lock:
            count[0] += method == "PUT"
            return "lose" if method == "PUT" and count[0] % 2 else None

    s3_proxy.fault = every_other
    stores, won = [Bucket(s3_address, patience_seconds=60.0, pause_seconds=0.01) for _ in range(2)], []

    def race(number: int) -> None:
        won.append([prize for prize in range(12) if stores[number].create(f"prize/{prize}", b"the same of both")])

    threads = [threading.Thread(target=race, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won[0] + won[1]) == list(range(12))


def test_what_does_not_come_back_is_told_in_a_sentence(s3_address: str, s3_proxy: Proxy) -> None:
    patient = Bucket(s3_address, patience_seconds=0.3, pause_seconds=0.01)
    hasty = Bucket(s3_address, patience_seconds=0.3, request_seconds=0.3, pause_seconds=0.01)
    address = hasty.address
    for fault, says in (
        ("drop", rf"{address} at 'a' could not be used \(.*\): once the store answers, try again\."),
        (503, rf"{address} at 'a' could not be used \(503 Service Unavailable, SlowDown\): once the store answers, try again\."),
        ("slow", rf"{address} at 'a' could not be used \(no answer in time\): once the store answers, try again\."),
    ):
        bucket = hasty if fault == "slow" else patient  # whose requests all get their answer
        s3_proxy.first(10_000, fault)
        with pytest.raises(StorageFailed, match=says):
            bucket.read("a")
        with pytest.raises(StorageFailed, match="could not be used"):
            bucket.create("a", b"")
    s3_proxy.release.set()


def test_a_store_that_is_not_ours(s3_address: str, s3_proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StorageFailed, match="There is no bucket of s3://nobodys: make it, or name another"):
        Bucket("s3://nobodys").read("a")
    with pytest.raises(StorageFailed, match="There is no bucket"):
        Bucket("s3://nobodys").children("")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "stolen")
    for call in (lambda s: s.read("a"), lambda s: s.create("a", b""), lambda s: s.children("")):
        with pytest.raises(StorageFailed, match=r"refused access \(403 Forbidden.*\): give Eyas credentials"):
            call(Bucket(s3_address))
    assert s3_proxy.asked.total() == 5  # what is refused is not asked for again
