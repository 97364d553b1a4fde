"""registry.datasets: versions of uploaded datasets, which name nothing that is not there; and what is collected beside them."""

from __future__ import annotations

import errno
import os
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from eyasd.core.datasets import Blob, DatasetFile
from eyasd.core.errors import ContentMissing, InvalidArgument, StorageFailed, Unavailable, UploadNotFound, UploadTooLarge
from eyasd.core.names import DatasetRef
from eyasd.registry import collection
from eyasd.registry import datasets as registry
from eyasd.registry.collection import collect
from eyasd.registry.datasets import Datasets
from uploads import blob, manifest, open_uploads, put, upload

PHOTOS = {"shirt/1.jpg": b"one", "shirt/2.jpg": b"two", "hat/1.jpg": b"three", "hat/copy.jpg": b"three"}
MORE = PHOTOS | {"hat/3.jpg": b"four"}
DAY = timedelta(days=1)
AT_ONCE = timedelta(seconds=-1)


@pytest.fixture(params=[None, "memory://"], ids=["a folder", "a bucket"])
def datasets(request: pytest.FixtureRequest, tmp_path: Path) -> Datasets:
    return open_uploads(tmp_path, request.param)


def content(datasets: Datasets) -> set[str]:
    return {found.key.rpartition("/")[2] for found in datasets.blobs.store.find("blobs")}


def of(*files: dict[str, bytes]) -> set[str]:
    return {blob(one).sha256 for some in files for one in (*some.values(), manifest(some))}


def test_the_same_files_are_the_same_version(datasets: Datasets) -> None:
    first = upload(datasets, "photos", PHOTOS)
    assert (first.version, first.files, first.size_bytes, first.actor) == (1, 4, 16, "test")
    assert upload(datasets, "photos", dict(reversed(PHOTOS.items()))) == first
    assert upload(datasets, "photos", MORE).version == 2
    assert upload(datasets, "photos", PHOTOS) == first
    assert upload(datasets, "others", PHOTOS).version == 1
    assert datasets.names() == ["others", "photos"]
    assert [record.version for record in datasets.versions("photos")] == [1, 2]
    assert datasets.get(DatasetRef("photos")).version == 2
    assert datasets.folders(first.manifest, 10) == [("hat", 2), ("shirt", 2)]
    assert content(datasets) == of(PHOTOS, MORE)


def test_the_first_of_very_many_folders_take_little_memory(datasets: Datasets, monkeypatch: pytest.MonkeyPatch) -> None:
    """A million with the longest names took 1.1 GB of a trainer each time that somebody looked at their dataset."""
    monkeypatch.setattr(registry, "_MORE_FOLDERS", 100)
    names = [f"{number:05d}{'x' * 240}/{'y' * 250}" for number in range(10_000)]
    monkeypatch.setattr(datasets, "files", lambda _: (DatasetFile(f"{name}/{i}.jpg", Blob("", 0)) for name in names for i in "ab"))
    tracemalloc.start()
    try:
        found = datasets.folders(Blob("", 0), 10)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found == [(name, 2) for name in names[:10]]
    assert peak < 1_000_000


def test_folders_between_those_of_another_are_counted(datasets: Datasets, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [f"{folder}/{i}" for folder in ("a/b", "a", "a!", "a/c/d", "z", "a/b/c") for i in range(3)]
    before = datasets.folders(upload(datasets, "photos", dict.fromkeys((*paths, "own"), b"x")).manifest, 10)
    assert before == [("", 1), ("a", 3), ("a!", 3), ("a/b", 3), ("a/b/c", 3), ("a/c/d", 3), ("z", 3)]
    monkeypatch.setattr(registry, "_MORE_FOLDERS", 0)
    for most in range(1, 8):
        assert datasets.folders(datasets.get(DatasetRef("photos")).manifest, most) == before[:most]


def test_what_is_not_there_is_told_of(datasets: Datasets) -> None:
    with pytest.raises(UploadNotFound, match="There is no uploaded dataset 'photos'; the datasets are: none yet"):
        datasets.get(DatasetRef("photos"))
    upload(datasets, "photos", PHOTOS)
    with pytest.raises(UploadNotFound, match="'photos' has no version 2; the datasets are: photos"):
        datasets.get(DatasetRef("photos", 2))


def test_a_dataset_names_nothing_that_is_not_there(datasets: Datasets) -> None:
    listed = manifest(PHOTOS)
    with pytest.raises(ContentMissing, match="list of files"):
        datasets.create("photos", blob(listed), "test")
    datasets.blobs.put(blob(listed), listed)
    datasets.blobs.put(blob(b"one"), b"one")
    with pytest.raises(ContentMissing, match=r"content of 3 files .* such as that of 'hat/1.jpg'"):
        datasets.create("photos", blob(listed), "test")
    assert datasets.names() == []
    assert datasets.blobs.store.children(registry.PENDING) == []


def test_a_list_that_lies_about_a_size(datasets: Datasets) -> None:
    listed = manifest(PHOTOS).replace(b" 5 hat/1", b" 6 hat/1")
    put(datasets, PHOTOS)
    datasets.blobs.put(blob(listed), listed)
    with pytest.raises(InvalidArgument, match=r"'hat/1.jpg' has 5 bytes, not 6"):
        datasets.create("photos", blob(listed), "test")


def test_content_that_is_no_list(datasets: Datasets) -> None:
    datasets.blobs.put(blob(b"one"), b"one")
    with pytest.raises(InvalidArgument, match="begins with the line"):
        datasets.create("photos", blob(b"one"), "test")


@pytest.mark.parametrize(("limits", "says"), [({"max_dataset_bytes": 15}, "16 bytes"), ({"max_files": 3}, "more than 3 files")])
def test_a_dataset_is_bounded(tmp_path: Path, limits: dict[str, int], says: str) -> None:
    with pytest.raises((UploadTooLarge, InvalidArgument), match=says):
        upload(open_uploads(tmp_path, **limits), "photos", PHOTOS)


def test_versions_made_at_the_same_moment(tmp_path: Path) -> None:
    opened = [open_uploads(tmp_path) for _ in range(4)]
    lists = [put(one, {"a": bytes([place])}) for place, one in enumerate(opened)]
    threads = [threading.Thread(target=one.create, args=("photos", lists[place], "test")) for place, one in enumerate(opened)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(record.manifest.sha256 for record in opened[0].versions("photos")) == sorted(one.sha256 for one in lists)


def test_a_number_is_not_given_again(datasets: Datasets) -> None:
    upload(datasets, "photos", PHOTOS)
    upload(datasets, "photos", MORE)
    datasets.delete(DatasetRef("photos", 2))
    assert datasets.get(DatasetRef("photos")).version == 1
    datasets.delete(DatasetRef("photos"))
    with pytest.raises(UploadNotFound):
        datasets.get(DatasetRef("photos"))
    assert datasets.names() == []
    with pytest.raises(UploadNotFound, match=r"Version 2 of the uploaded dataset 'photos' was deleted: upload it again \(`eyas"):
        datasets.get(DatasetRef("photos", 2))
    assert upload(datasets, "photos", MORE).version == 3


def test_content_goes_with_the_last_dataset_that_names_it(datasets: Datasets) -> None:
    upload(datasets, "photos", PHOTOS)
    upload(datasets, "photos", MORE)
    assert collect(datasets, DAY) == 0
    datasets.delete(DatasetRef("photos", 2))
    assert collect(datasets, DAY) == 2
    assert content(datasets) == of(PHOTOS)
    datasets.delete(DatasetRef("photos"))
    collect(datasets, DAY)
    assert content(datasets) == set()
    assert datasets.blobs.store.children(registry.DOOMED) == []


def test_content_of_an_upload_that_has_not_ended_stays_for_some_time(datasets: Datasets) -> None:
    put(datasets, PHOTOS)
    upload(datasets, "more", MORE)
    assert collect(datasets, DAY) == 0
    assert collect(datasets, AT_ONCE) == 1  # all but the list is in the other, too
    assert content(datasets) == of(MORE)


@pytest.mark.parametrize("address", [None, "memory://"])
def test_room_is_there_again_once_content_is_collected(tmp_path: Path, address: str | None) -> None:
    datasets = open_uploads(tmp_path, address, max_bytes=2000)
    upload(datasets, "photos", {"a": bytes(1500)})
    datasets.delete(DatasetRef("photos"))
    with pytest.raises(UploadTooLarge):
        put(datasets, {"a": b"\1" * 1500})
    collect(datasets, DAY)
    put(datasets, {"a": b"\1" * 1500})


def test_a_dataset_that_is_made_during_a_collection_is_spared_or_waits(datasets: Datasets, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = put(datasets, PHOTOS)
    doom = datasets.blobs.delete
    refused: list[ContentMissing] = []

    def create() -> None:
        try:
            datasets.create("photos", listed, "test")
        except ContentMissing as error:
            refused.append(error)

    waiting = threading.Thread(target=create)

    def delete(some: Sequence[Blob]) -> None:  # they are doomed, and now somebody makes a version of them
        if not waiting.ident:
            waiting.start()
            while not datasets.blobs.store.children(registry.PENDING):
                time.sleep(0.001)
        doom(some)

    monkeypatch.setattr(datasets.blobs, "delete", delete)
    assert collect(datasets, AT_ONCE) == 4
    waiting.join()
    assert len(refused) == 1
    assert datasets.names() == []
    monkeypatch.undo()
    upload(datasets, "photos", PHOTOS)  # and so its client sends it again


def test_what_others_put_into_the_same_place_is_left_alone(datasets: Datasets) -> None:
    for key in ("blobs/photos/1.jpg", f"blobs/00/{'1' * 64}", f"blobs/{'1' * 64}"):
        datasets.blobs.store.create(key, b"theirs")
    assert collect(datasets, AT_ONCE) == 0


def test_what_is_pending_is_not_collected(datasets: Datasets, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = put(datasets, PHOTOS)
    with datasets._held(listed):
        assert collect(datasets, AT_ONCE) == 0
    look = collection._Named.look
    looks = 0

    def late(named: collection._Named) -> None:  # it becomes a version between the first look and the second
        nonlocal looks
        looks += 1
        if looks == 2:
            monkeypatch.setattr(datasets, "_wait_while", lambda _: None)  # as one that did not see yet that it is doomed
            datasets.create("photos", listed, "test")
        look(named)

    monkeypatch.setattr(collection._Named, "look", late)
    assert collect(datasets, AT_ONCE) == 0
    assert datasets.names() == ["photos"]


@pytest.mark.parametrize("datasets", [None], indirect=True)
def test_a_version_does_not_wait_for_ever(datasets: Datasets, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = put(datasets, PHOTOS)
    datasets.blobs.store.create(f"{registry.DOOMED}/1", blob(b"one").sha256.encode())
    monkeypatch.setattr(registry, "_PATIENCE_SECONDS", 0.0)
    with pytest.raises(Unavailable, match="is being removed"):
        datasets.create("photos", listed, "test")
    os.utime(datasets.blobs.store._root / registry.DOOMED / "1", (0, 0))  # type: ignore[attr-defined]
    collect(datasets, DAY)  # what a killed collection left goes
    datasets.create("photos", listed, "test")


def test_nothing_is_collected_while_it_is_not_known_what_a_dataset_names(datasets: Datasets) -> None:
    record = upload(datasets, "photos", PHOTOS)
    datasets.blobs.store.delete(record.manifest.key)
    with pytest.raises(StorageFailed, match="is lost"):
        collect(datasets, AT_ONCE)
    assert len(content(datasets)) == 3


def test_a_disk_of_temporary_files_that_fails_is_told_of(datasets: Datasets, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = put(datasets, {"a.png": b"a"})

    def fail() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", fail)
    with pytest.raises(StorageFailed, match="which lists of files go through, cannot be used: No space left on device"):
        list(datasets.files(listed))
