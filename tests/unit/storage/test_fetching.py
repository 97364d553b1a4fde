"""Objects come whole, once, and at the version that was listed; or one sentence names the one that did not."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from buckets import FakeBucket, Quiet
from eyasd.core.errors import BadDataset, StorageFailed
from eyasd.storage import fetching
from eyasd.storage.cache import ObjectCache
from eyasd.storage.fetching import PART_BYTES, fetch, find_objects, look_at
from eyasd.storage.reading import Hitch, Object

BIG = bytes(range(256)) * (3 * PART_BYTES // 256) + b"tail"
CONTENTS = {"a.jpg": b"aaa", "sub/b.jpg": b"bb", "sub/ü #?%25.jpg": b"c" * 70_000, "empty.jpg": b"", "sub/big.tar": BIG}


class Stop(Exception):
    """Somebody stops it."""


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits for nothing."""
    monkeypatch.setattr(fetching, "DELAYS", (0.0,) * 4)


@pytest.fixture
def brought(tmp_path: Path) -> Callable[..., list[bytes]]:
    """Fetches keys of a bucket into a cache, and returns what is there then."""

    def bring(
        bucket: FakeBucket, keys: list[str] | None = None, listener: Quiet | None = None, max_bytes: float = 1e9
    ) -> list[bytes]:
        cache = ObjectCache(tmp_path / "cache", max_bytes, "job")
        try:
            wanted = [bucket.object(key) for key in keys or bucket.contents]
            pieces = fetch(bucket, wanted, cache, max_bytes, listener or Quiet())
        finally:
            cache.close()
        found = []
        for piece in pieces:
            with piece.path.open("rb") as pack:
                pack.seek(piece.start)
                found.append(pack.read(piece.size_bytes))
            assert hashlib.sha256(found[-1]).hexdigest() == piece.sha256
        return found

    return bring


Brought = Callable[..., list[bytes]]


def test_all_come_in_order_and_none_twice(brought: Brought) -> None:
    bucket, listener = FakeBucket(CONTENTS), Quiet()
    assert brought(bucket, listener=listener) == list(CONTENTS.values())
    assert bucket.asked == {"a.jpg": 1, "sub/b.jpg": 1, "sub/ü #?%25.jpg": 1, "sub/big.tar": 4}
    assert listener.fractions == sorted(listener.fractions)
    assert listener.fractions[-1] == 1
    assert brought(bucket) == list(CONTENTS.values())
    assert len(bucket.reads) == 7


def test_only_what_is_new_is_fetched(brought: Brought) -> None:
    bucket = FakeBucket(dict(CONTENTS))
    brought(bucket)
    bucket.reads.clear()
    bucket.contents |= {"a.jpg": b"changed", "new.jpg": b"new"}
    assert brought(bucket)[0] == b"changed"
    assert set(bucket.asked) == {"a.jpg", "new.jpg"}


def test_the_same_objects_in_other_places_are_kept_once(brought: Brought, tmp_path: Path) -> None:
    brought(FakeBucket({f"{number}.jpg": b"same" * 1000 for number in range(50)}))
    assert sum(path.stat().st_size for path in (tmp_path / "cache").glob("*.pack")) == 4000


def test_where_a_connection_breaks_the_next_request_goes_on(brought: Brought) -> None:
    bucket = FakeBucket(CONTENTS, cut=PART_BYTES // 2)
    assert brought(bucket, ["sub/big.tar"]) == [BIG]
    half = PART_BYTES // 2
    assert sorted(start for _, start, _ in bucket.reads) == sorted([*range(0, 6 * half, half), 6 * half])


def test_a_large_object_that_was_broken_off_is_gone_on_with(brought: Brought) -> None:
    bucket = FakeBucket(CONTENTS)

    def fails(_: str) -> Exception | None:
        return Hitch("no answer") if any(start == 2 * PART_BYTES for *_, start, _ in bucket.reads) else None

    bucket.fails = fails
    with pytest.raises(StorageFailed, match="s3://photos/sub/big.tar could not be fetched, though it was tried 5 times: no answer"):
        brought(bucket, ["sub/big.tar"])
    bucket.fails = lambda _: None
    bucket.reads.clear()
    assert brought(bucket, ["sub/big.tar"]) == [BIG]
    assert 0 not in [start for _, start, _ in bucket.reads]


@pytest.mark.parametrize("hitches", [1, 4])
def test_what_passes_is_tried_again(brought: Brought, hitches: int) -> None:
    bucket = FakeBucket(CONTENTS)
    bucket.fails = lambda key: Hitch("503") if bucket.asked[key] <= hitches else None
    assert brought(bucket, ["a.jpg", "sub/b.jpg"]) == [b"aaa", b"bb"]
    assert bucket.asked == {"a.jpg": hitches + 1, "sub/b.jpg": hitches + 1}


def test_what_does_not_pass_names_the_object(brought: Brought) -> None:
    bucket = FakeBucket(CONTENTS)
    bucket.fails = lambda key: Hitch("the store answered 503") if key == "sub/b.jpg" else None
    with pytest.raises(
        StorageFailed, match="s3://photos/sub/b.jpg could not be fetched, though it was tried 5 times: the store answered 503"
    ):
        brought(bucket, ["a.jpg", "sub/b.jpg"])


@pytest.mark.parametrize(("change", "how"), [({"a.jpg": b"xyz"}, "changed"), ({"a.jpg": b"longer"}, "changed"), ({}, "removed")])
def test_what_was_changed_since_it_was_listed_is_noticed(tmp_path: Path, change: dict[str, bytes], how: str) -> None:
    bucket = FakeBucket({"a.jpg": b"aaa", "b.jpg": b"bbb"})
    wanted = find_objects(bucket, "", Quiet())
    bucket.contents = {"b.jpg": b"bbb", **change}
    with pytest.raises(BadDataset, match=f"s3://photos/a.jpg was {how} while the dataset was read: wait until nobody writes to it"):
        fetch(bucket, wanted, ObjectCache(tmp_path, 1e9, "job"), 1e9, Quiet())


def test_what_is_not_what_its_digest_says_is_not_kept(tmp_path: Path) -> None:
    cache, content = ObjectCache(tmp_path / "cache", 1e9, "job"), os.urandom(PART_BYTES + 5)
    for size in (5, len(content)):
        one = Object("a", size, "", hashlib.sha256(content[:size]).hexdigest())
        bucket = FakeBucket({"a": bytes(size)}, versions=False)
        with pytest.raises(BadDataset, match="content s3://photos/a of the uploaded dataset was damaged: upload the dataset again"):
            fetch(bucket, [one], cache, 1e9, Quiet())
        bucket.contents["a"] = content[:size]
        (piece,) = fetch(bucket, [one], cache, 1e9, Quiet())
        assert piece.sha256 == one.sha256
    cache.close()


def test_more_than_the_cache_may_hold_is_refused_at_once(brought: Brought) -> None:
    bucket = FakeBucket(CONTENTS)
    with pytest.raises(
        StorageFailed, match="The dataset has 0.03 GB, and training.fetched_bytes lets 0.02 GB be fetched: raise it"
    ):
        brought(bucket, max_bytes=2e7)
    assert bucket.reads == []


def test_it_stops_when_it_is_asked_to_and_keeps_what_was_put(brought: Brought, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "PACK_BYTES", 100)
    bucket = FakeBucket({f"{number:04}.jpg": b"%04d" % number * 30 for number in range(1000)})

    class Impatient(Quiet):
        def advance(self, fraction: float) -> None:
            if fraction > 0.5:
                raise Stop

    with pytest.raises(Stop):
        brought(bucket, listener=Impatient())
    bucket.reads.clear()
    brought(bucket)
    assert len(bucket.reads) == pytest.approx(500, abs=10)


class TestListing:
    def test_of_a_folder_or_of_all(self) -> None:
        bucket = FakeBucket({**CONTENTS, "sub/folder/": b"", "subs/x.jpg": b""})
        assert [one.key for one in find_objects(bucket, "sub", Quiet())] == ["sub/b.jpg", "sub/big.tar", "sub/ü #?%25.jpg"]
        assert len(find_objects(bucket, "", Quiet())) == 6

    def test_goes_on_where_it_broke_off(self) -> None:
        bucket = FakeBucket({f"{number:03}": b"x" for number in range(100)}, page=10)
        tries: list[str] = []

        def fails(_: str) -> Exception | None:
            tries.append("")
            return Hitch("503") if len(tries) % 2 else None

        bucket.fails = fails
        assert [one.key for one in find_objects(bucket, "", Quiet())] == [f"{number:03}" for number in range(100)]

    def test_a_store_that_does_not_answer(self) -> None:
        bucket = FakeBucket(CONTENTS, fails=lambda _: Hitch("the store answered 500"))
        with pytest.raises(
            StorageFailed, match="s3://photos/sub could not be listed, though it was tried 5 times: the store answered 500"
        ):
            find_objects(bucket, "sub", Quiet())
        with pytest.raises(StorageFailed, match="s3://photos/a.jpg could not be looked at"):
            look_at(bucket, "a.jpg")

    def test_a_bucket_that_is_not_there(self) -> None:
        bucket = FakeBucket(CONTENTS, fails=FileNotFoundError)
        with pytest.raises(StorageFailed, match="There is no bucket s3://photos: check its name"):
            find_objects(bucket, "", Quiet())
