"""Datasets on a real S3 server: what is fetched of it, and what becomes of a server that fails."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path

import obstore
import pytest
from obstore.store import ObjectStore, from_url

from archives import tarred, zipped
from buckets import Quiet
from builders import noise
from eyasd.core.errors import BadDataset, DatasetNotFound, StorageFailed
from eyasd.core.tasks import SharedCache, Sources
from eyasd.storage import fetching
from eyasd.storage.bucket_reader import BucketReader
from eyasd.storage.cache import ObjectCache
from eyasd.storage.fetching import PART_BYTES, fetch, find_objects
from eyasd.training.data.content import content_of
from eyasd.training.data.dataset import open_dataset
from eyasd.training.data.listing import Listing, list_files
from eyasd.training.journal import EVALUATION_SHARES, Journal, with_fetching
from s3_server import BUCKET, Fault, Proxy

PICTURES = {f"{label}/{number} #?%25ü.png": noise(number) for label, number in itertools.product(("dark", "light"), range(20))}


@pytest.fixture
def store(s3_address: str) -> ObjectStore:
    """The folder of the bucket, for those who put something there."""
    return from_url(s3_address, client_options={"allow_http": True})


@pytest.fixture
def opened(tmp_path: Path) -> Callable[[str], Listing]:
    journal = Journal(tmp_path / "progress.jsonl", with_fetching(EVALUATION_SHARES, "s3://photos"))
    sources = Sources(fetched=SharedCache(str(tmp_path / "fetched"), 10**9))
    return lambda name: open_dataset(name, tmp_path, journal, sources)


def facts(listing: Listing) -> list[tuple[str, str, bytes]]:
    return [(file.name, file.label, content_of(file, 10**6)) for file in listing.files]


def test_in_every_form_it_is_the_folder(
    store: ObjectStore, s3_address: str, opened: Callable[[str], Listing], tmp_path: Path
) -> None:
    for name, content in PICTURES.items():
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_bytes(content)
        obstore.put(store, f"folder/{name}", content)
    notes = {name.replace(".png", ".cls"): name.partition("/")[0].encode() for name in PICTURES}
    obstore.put(store, "a/shards/s-0.tar", tarred({**PICTURES, **notes}))
    obstore.put(store, "a/photos.zip", zipped(PICTURES))
    obstore.put(store, "folder.csv", "\n".join(["path,label", *(f"folder/{n},{n.partition('/')[0]}" for n in PICTURES)]).encode())
    expected = facts(list_files(tmp_path / "data"))
    for form in ("folder", "a/shards", "a/shards/s-{0..0}.tar", "a/photos.zip"):
        assert facts(opened(f"{s3_address}/{form}")) == expected
    assert [fact[1:] for fact in facts(opened(f"{s3_address}/folder.csv"))] == [fact[1:] for fact in expected]
    with pytest.raises(DatasetNotFound, match="There is nothing at"):
        opened(f"{s3_address}/nothing")


def test_a_large_object_comes_in_parts(store: ObjectStore, s3_address: str, tmp_path: Path) -> None:
    content = os.urandom(2 * PART_BYTES + 7)
    obstore.put(store, "big.tar", content)
    bucket = BucketReader(f"s3://{BUCKET}")
    (found,) = find_objects(bucket, s3_address.rpartition("/")[2], Quiet())
    (piece,) = fetch(bucket, [found], ObjectCache(tmp_path / "cache", 1e9, "job"), 1e9, Quiet())
    assert piece.path.read_bytes() == content


def test_what_was_changed_or_removed_is_noticed(store: ObjectStore, s3_address: str, tmp_path: Path) -> None:
    bucket, prefix = BucketReader(f"s3://{BUCKET}"), s3_address.rpartition("/")[2]
    cache = ObjectCache(tmp_path / "cache", 1e9, "job")
    obstore.put(store, "a.png", b"one")
    listed = find_objects(bucket, prefix, Quiet())
    obstore.put(store, "a.png", b"two")
    with pytest.raises(BadDataset, match=f"{s3_address}/a.png was changed while the dataset was read"):
        fetch(bucket, listed, cache, 1e9, Quiet())
    obstore.delete(store, "a.png")
    with pytest.raises(BadDataset, match=f"{s3_address}/a.png was removed while the dataset was read"):
        fetch(bucket, listed, cache, 1e9, Quiet())


@pytest.mark.parametrize("fault", [503, 500, 429, "drop", "lose"])
def test_a_server_that_fails_for_a_while(
    store: ObjectStore,
    s3_address: str,
    s3_proxy: Proxy,
    opened: Callable[[str], Listing],
    fault: Fault,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fetching, "DELAYS", (0.01,) * 40)
    for name, content in PICTURES.items():
        obstore.put(store, f"folder/{name}", content)
    s3_proxy.first(30, fault)
    assert {file.name: content_of(file, 10**6) for file in opened(f"{s3_address}/folder").files} == PICTURES
    assert s3_proxy.asked["GET"] == len(PICTURES) + 1 + 30


def test_one_that_fails_for_long_is_told_of(
    store: ObjectStore, s3_address: str, s3_proxy: Proxy, opened: Callable[[str], Listing], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "DELAYS", (0.01,) * 2)
    for name, content in PICTURES.items():
        obstore.put(store, f"folder/{name}", content)
    s3_proxy.fault = lambda method, path: 503 if "dark" in path and "list-type" not in path else None
    with pytest.raises(
        StorageFailed, match=r"/folder/dark/\d+ .*png could not be fetched, though it was tried 3 times: the store answered 503"
    ):
        opened(f"{s3_address}/folder")
    s3_proxy.close()
    with pytest.raises(StorageFailed, match="/folder could not be listed, though it was tried 3 times: "):
        opened(f"{s3_address}/folder")


def test_wrong_keys_and_wrong_names(s3_address: str, opened: Callable[[str], Listing], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StorageFailed, match="There is no bucket s3://eyas-not-there: check its name"):
        opened("s3://eyas-not-there/x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    for name in (s3_address, f"{s3_address}/a.zip"):
        with pytest.raises(StorageFailed, match=f"The trainer may not read {name}: check its credentials"):
            opened(name)
