"""Uploaded datasets: content, whole and in pieces, the version that seals it, and the collection of what nothing names."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from eyasd.core.errors import UploadNotFound
from eyasd.core.names import DatasetRef
from eyasd.registry import collection
from eyasd.registry.datasets import Datasets
from faults.crash.scenario import Ack, Scenario
from faults.crash.scenarios.versions import hidden_files
from uploads import blob, manifest, open_uploads, upload

SMALL = {"red/1.png": b"small", "red/2.png": b"also small"}
LARGE = b"large " * 1000
FILES = {**SMALL, "blue/1.png": LARGE}
_PIECE = 2500


def wrong_datasets(datasets: Datasets) -> Iterator[str]:
    """Yields what is wrong with any content, or any version of a dataset."""
    for found in datasets.blobs.store.find("blobs"):
        if hashlib.sha256(datasets.blobs.store.read(found.key)).hexdigest() != found.key.rpartition("/")[2]:
            yield f"{found.key} is not what its name says"
    for name in datasets.names():
        for record in datasets.versions(name):
            for file in datasets.files(record.manifest):
                if not datasets.blobs.store.exists(file.blob.key):
                    yield f"{name}/{record.version} names {file.path}, which is not there"


class Upload(Scenario[Datasets]):
    """What a daemon does with an upload."""

    passing = ("uploads",)

    def open(self, root: Path) -> Datasets:
        return open_uploads(root)

    def act(self, opened: Datasets, ack: Ack) -> None:
        listed = manifest(FILES)
        for content in (*SMALL.values(), listed):
            opened.blobs.put(blob(content), content)
            ack(blob(content).key)
        large = blob(LARGE)
        for _, received in opened.blobs.missing([large]):
            arrival = opened.blobs.arrive(large, received)
            try:
                while not arrival.is_whole:
                    arrival.add(LARGE[arrival.received : arrival.received + _PIECE])
                arrival.finish()
            except BaseException:
                arrival.leave()
                raise
        ack(large.key)
        record = opened.create("photos", blob(listed), "test")
        ack(f"photos/{record.version}")

    def check(self, root: Path, acked: list[str]) -> Iterator[str]:
        datasets = open_uploads(root)
        yield from wrong_datasets(datasets)
        yield from (
            f"{key} was acknowledged, and is not there" for key in acked if "blobs" in key and not datasets.blobs.store.exists(key)
        )
        if [record.version for record in datasets.versions("photos")] not in ([], [1]) or (
            "photos/1" in acked and not datasets.versions("photos")
        ):
            yield f"the versions are {datasets.versions('photos')}"

    def settled(self, root: Path) -> Iterator[str]:
        yield from self.check(root, ["photos/1"])
        datasets = open_uploads(root)
        collection._STALE_SECONDS = -1
        collection.collect(datasets, timedelta(0))
        yield from wrong_datasets(datasets)
        kept = {found.key for found in datasets.blobs.store.find("")}
        expected = {blob(content).key for content in (*FILES.values(), manifest(FILES))} | {"names/photos/00000001.json"}
        if kept != expected:
            yield f"there are {sorted(kept ^ expected)} too many or too few"
        yield from (f"{left} is left" for left in (root / "uploads").iterdir())
        yield from hidden_files(root / "datasets")


class Collect(Scenario[Datasets]):
    """A deletion of a dataset, and the collection of what no other one names."""

    def lay(self, root: Path) -> None:
        datasets = open_uploads(root)
        upload(datasets, "photos", FILES)
        upload(datasets, "others", {"green/1.png": b"others'", "red/1.png": SMALL["red/1.png"]})

    def open(self, root: Path) -> Datasets:
        return open_uploads(root)

    def act(self, opened: Datasets, ack: Ack) -> None:
        try:
            opened.delete(DatasetRef("photos"))
        except UploadNotFound:
            if "photos" in opened.names():
                raise
        ack("deleted")
        collection.collect(opened, timedelta(days=1))

    def check(self, root: Path, acked: list[str]) -> Iterator[str]:
        datasets = open_uploads(root)
        yield from wrong_datasets(datasets)
        if "deleted" in acked and "photos" in datasets.names():
            yield "photos is there, which was deleted"
        if "others" not in datasets.names():
            yield "others is gone"

    def settled(self, root: Path) -> Iterator[str]:
        yield from self.check(root, ["deleted"])
        datasets = open_uploads(root)
        collection._STALE_SECONDS = -1
        collection.collect(datasets, timedelta(days=1))
        if len(list(datasets.blobs.store.find("blobs"))) != 3:
            yield "more or less is left than one dataset"
        yield from hidden_files(root / "datasets")
