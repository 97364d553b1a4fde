"""Uploaded datasets on a real S3 server: shared by daemons over a bad line, read elsewhere, and collected beside uploads."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

import eyas
from eyasd.app import Role
from eyasd.core import document, jobdir
from eyasd.core.datasets import UploadedDataset
from eyasd.core.errors import BadDataset, ContentMissing
from eyasd.core.names import DatasetRef
from eyasd.core.tasks import SharedCache, Sources
from eyasd.machine import open_datasets
from eyasd.registry import datasets as registry
from eyasd.registry.collection import collect
from eyasd.registry.datasets import Datasets
from eyasd.storage.bucket import PART_BYTES, Bucket
from eyasd.training.data.content import content_of
from eyasd.training.data.dataset import discard, open_dataset
from eyasd.training.data.listing import Listing, list_files
from eyasd.training.journal import EVALUATION_SHARES, Journal, with_fetching
from s3_server import Proxy
from uploads import blob, open_uploads, upload
from waits import until

AT_ONCE = timedelta(seconds=-1)
# How often each of two writers makes a version while others collect; more finds more: EYAS_TEST_TURNS=100.
TURNS = int(os.environ.get("EYAS_TEST_TURNS", "3"))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Files of two labels, two of them alike, and one that goes in parts."""
    for number in range(30):
        path = tmp_path / "photos" / ("shirt", "hat")[number % 2] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"picture {number % 29}".encode() * 50)
    (tmp_path / "photos/hat/large.png").write_bytes(os.urandom(PART_BYTES + 5))
    return tmp_path / "photos"


@pytest.fixture
def opened(tmp_path: Path) -> Callable[[UploadedDataset], Listing]:
    """Lists a dataset as a job does on a machine that has nothing but the bucket."""

    def run(located: UploadedDataset) -> Listing:
        (tmp_path / jobdir.UPLOADED).write_text(document.dump(located))
        journal = Journal(tmp_path / "progress.jsonl", with_fetching(EVALUATION_SHARES, located.store))
        return open_dataset("datasets/photos", tmp_path, journal, sources(tmp_path))

    return run


def sources(folder: Path) -> Sources:
    return Sources(fetched=SharedCache(str(folder / "fetched"), 10**9))


def facts(listing: Listing) -> list[tuple[str, str, bytes]]:
    return [(file.name, file.label, content_of(file, 10**8)) for file in listing.files]


async def test_daemons_share_what_came_over_a_bad_line(
    daemon: Any,
    s3_proxy: Proxy,
    s3_address: str,
    photos: Path,
    tmp_path: Path,
    opened: Callable[[UploadedDataset], Listing],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Bucket.__init__, "__defaults__", (15.0, 30.0, 0.01))
    puts = count()
    s3_proxy.fault = lambda method, _: (
        (None, "lose", None, 503, None, "drop")[next(puts) % 6] if method in {"PUT", "POST"} else None
    )
    shared = {"registry": {"url": f"{s3_address}/models"}}
    told: list[eyas.UploadProgress] = []
    async with daemon(Role.TRAINER, **shared) as one, daemon(Role.TRAINER, data_dir=tmp_path / "other", **shared) as other:
        async with eyas.aio.Client(f"127.0.0.1:{one.port}") as client:
            first = await client.upload_dataset(photos)
        s3_proxy.fault = lambda *_: None
        async with eyas.aio.Client(f"127.0.0.1:{other.port}") as client:
            assert await client.upload_dataset(photos, on_progress=told.append) == first
            assert told[-1].sent_bytes == 0
            datasets = open_datasets(other._settings)
            assert datasets.blobs.store.address == f"{s3_address}/models-datasets"
            assert facts(opened(datasets.locate(DatasetRef("photos")))) == facts(list_files(photos))
            discard(tmp_path, sources(tmp_path))
            await client.delete_dataset("photos")
            await until(lambda: next(datasets.blobs.store.find("blobs"), None) is None)  # all of it goes by itself


def test_what_a_job_cannot_read_is_told_of(s3_address: str, tmp_path: Path, opened: Callable[[UploadedDataset], Listing]) -> None:
    datasets = open_uploads(tmp_path, s3_address)
    upload(datasets, "photos", {"red/1.jpg": b"1", "blue/1.jpg": b"2"})
    located = datasets.locate(DatasetRef("photos"))
    datasets.blobs.store.write(blob(b"1").key, b"?")
    with pytest.raises(BadDataset, match=f"content {s3_address}/{blob(b'1').key} of the uploaded dataset was damaged: upload"):
        opened(located)
    datasets.blobs.store.delete(blob(b"1").key)
    with pytest.raises(BadDataset, match="was removed: upload the dataset again"):
        opened(located)
    upload(datasets, "packed", {"photos.csv": b"path,label\nred/1.jpg,red\n"})
    with pytest.raises(BadDataset, match="None of the 1 files that the manifest of the uploaded dataset .* names is there"):
        opened(datasets.locate(DatasetRef("packed")))


class Writer(threading.Thread):
    """Makes versions of content that others name, too, and deletes each but the last."""

    def __init__(self, datasets: Datasets, name: str) -> None:
        super().__init__()
        self._datasets, self._name = datasets, name
        self.whole: list[bool] = []
        self.sent_again = 0

    def run(self) -> None:
        for turn in range(TURNS):
            self._upload({f"{label}.jpg": bytes([label]) for label in range(turn % 3, turn % 3 + 4)})
            self.look()
            if turn < TURNS - 1:
                self._datasets.delete(DatasetRef(self._name))

    def look(self) -> None:
        files = list(self._datasets.files(self._datasets.get(DatasetRef(self._name)).manifest))
        self.whole.append(None not in self._datasets.blobs.sizes([file.blob for file in files]))

    def _upload(self, files: dict[str, bytes]) -> None:
        try:
            upload(self._datasets, self._name, files)
        except ContentMissing:  # it was collected after it was sent; clients do as this one
            self.sent_again += 1
            self._upload(files)


def test_content_that_a_version_names_is_never_collected(
    s3_proxy: Proxy, s3_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Bucket.__init__, "__defaults__", (15.0, 30.0, 0.01))
    monkeypatch.setattr(registry, "_LOOK_SECONDS", 0.01)
    asked = count()
    s3_proxy.fault = lambda method, _: "lose" if method in {"PUT", "DELETE"} and next(asked) % 7 == 0 else None
    writers = [Writer(open_uploads(tmp_path / str(number), s3_address), f"photos{number}") for number in range(2)]
    collectors = [open_uploads(tmp_path / str(number), s3_address) for number in range(2, 4)]
    with ThreadPoolExecutor() as pool:
        for writer in writers:
            writer.start()
        while any(writer.is_alive() for writer in writers):
            list(pool.map(collect, collectors, (AT_ONCE, AT_ONCE)))
    for writer in writers:
        writer.look()
    assert [writer.whole for writer in writers] == [[True] * (TURNS + 1)] * 2
