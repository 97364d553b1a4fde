"""Uploads from the client library to a real daemon: whole, broken off, wrong, refused, at once."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.integration.conftest import Daemon

import eyas
from eyas.v1 import dataset_service_pb2 as pb
from eyasd.app import App
from eyasd.core.names import DatasetRef
from eyasd.machine import open_datasets
from proxy import Proxy
from uploads import blob
from waits import until

UPLOAD = "/eyas.v1.DatasetService/UploadDataset"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Some hundred small files, of which two are alike, and two large ones."""
    folder = tmp_path / "Photos of 2026"
    for number in range(300):
        place = folder / ("shirt", "hat")[number % 2] / f"{number}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(f"picture {number % 299}".encode() * 50)
    for number in range(2):
        (folder / "hat" / f"large{number}.png").write_bytes(os.urandom(3_000_000))
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("none of the dataset's")
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.*g")) if path.is_file()}


def stored(app: App, name: str) -> dict[str, bytes]:
    """What the daemon keeps of a dataset."""
    datasets = open_datasets(app._settings)
    record = datasets.get(DatasetRef(name))
    return {file.path: datasets.blobs.store.read(file.blob.key) for file in datasets.files(record.manifest)}


async def upload(port: int, folder: Path, name: str | None = None, *, sync: bool = False, **options: Any) -> eyas.Dataset:
    address = f"127.0.0.1:{port}"
    if sync:

        def run() -> eyas.Dataset:
            with eyas.Client(address) as client:
                return client.upload_dataset(folder, name, **options)

        return await asyncio.to_thread(run)
    async with eyas.aio.Client(address) as client:
        return await client.upload_dataset(folder, name, **options)


@pytest.mark.parametrize("sync", [True, False])
async def test_a_folder_arrives_whole_and_once(app: App, photos: Path, sync: bool) -> None:
    told: list[eyas.UploadProgress] = []
    first = await upload(app.port, photos, sync=sync, on_progress=told.append)
    assert (first.name, first.file_count) == ("datasets/photos-of-2026/versions/1", 302)
    assert stored(app, "photos-of-2026") == content(photos)
    assert [one.done_bytes for one in told] == sorted(one.done_bytes for one in told)
    assert (told[-1].files, told[-1].done_bytes) == (302, first.size_bytes)
    told.clear()
    assert await upload(app.port, photos, sync=sync, on_progress=told.append) == first
    assert told[-1].sent_bytes == 0
    (photos / "hat" / "new.jpg").write_bytes(b"new")
    second = await upload(app.port, photos, sync=sync, on_progress=told.append)
    assert (second.name, told[-1].sent_bytes) == ("datasets/photos-of-2026/versions/2", 3)
    async with eyas.aio.Client(f"127.0.0.1:{app.port}") as client:
        await client.delete_dataset("photos-of-2026")
    store = open_datasets(app._settings).blobs.store
    await until(lambda: next(store.find("blobs"), None) is None)  # all of it goes by itself


@pytest.mark.parametrize("sync", [True, False])
async def test_a_broken_connection_is_gone_on_with(app: App, photos: Path, sync: bool) -> None:
    told: list[eyas.UploadProgress] = []
    for number in range(2, 6):
        (photos / "hat" / f"large{number}.png").write_bytes(os.urandom(3_000_000))
    async with Proxy(app.port, [3_000_000, 5_000_000, 7_000_000]) as proxy:
        done = await upload(proxy.port, photos, sync=sync, on_progress=told.append)
    assert proxy.broken == 3
    assert stored(app, "photos-of-2026") == content(photos)
    distinct = sum(len(one) for one in set(content(photos).values()))
    # Twice came what lay in buffers when a connection broke, a window of HTTP/2 each; the broken ones let 15 MB through.
    assert distinct < proxy.passed_bytes < distinct + 3 * 4_000_000
    assert told[-1].sent_bytes > distinct
    assert done.file_count == 306


async def test_two_clients_at_once_and_one_that_leaves(app: App, photos: Path) -> None:
    loop = asyncio.get_running_loop()
    leaving = asyncio.create_task(upload(app.port, photos, "gone", on_progress=lambda _: loop.call_soon_threadsafe(leaving.cancel)))
    done = await asyncio.gather(*(upload(app.port, photos, f"photos{number}", sync=number > 1) for number in range(4)))
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert len({one.digest for one in done}) == 1
    assert stored(app, "photos3") == content(photos)
    async with eyas.aio.Client(f"127.0.0.1:{app.port}") as client:
        assert [one.name async for one in client.list_datasets()] == [f"datasets/photos{number}/versions/1" for number in range(4)]
        shown = await client.get_dataset("photos1")
        assert shown.folders == (eyas.DatasetFolder("hat", 152), eyas.DatasetFolder("shirt", 150))
        await client.delete_dataset("photos1/1")
        with pytest.raises(eyas.NotFound, match="no uploaded dataset 'photos1'"):
            await client.get_dataset("photos1")


async def test_a_picture_that_is_changed_meanwhile_is_uploaded_as_it_is_then(app: App, photos: Path) -> None:
    large, small = photos / "hat" / "large0.png", photos / "shirt" / "2.jpg"
    changed = False

    def change(_: eyas.UploadProgress) -> None:
        nonlocal changed
        if not changed:
            changed = True
            large.write_bytes(os.urandom(2_000_000))
            small.write_bytes(b"another")

    await upload(app.port, photos, on_progress=change)
    assert stored(app, "photos-of-2026") == content(photos)


async def test_a_picture_that_goes_meanwhile_is_told_of(app: App, photos: Path) -> None:
    with pytest.raises(eyas.InvalidArgument, match=r"large1.png' was there when the upload began"):
        await upload(app.port, photos, sync=True, on_progress=lambda _: (photos / "hat" / "large1.png").unlink(missing_ok=True))


async def test_what_the_operator_does_not_allow_is_refused_before_anything_is_sent(daemon: Daemon, photos: Path) -> None:
    told: list[eyas.UploadProgress] = []
    for limits, says in (
        ({"max_files": 301}, "302 files, and may have 301"),
        ({"max_dataset_bytes": 6_000_000}, "may have 6,000,000"),
        ({"max_bytes": 0}, "takes no uploads"),
    ):
        async with daemon(datasets=limits) as app:
            with pytest.raises(eyas.FailedPrecondition, match=says) as refused:
                await upload(app.port, photos, on_progress=told.append)
            assert refused.value.reason == "UPLOAD_TOO_LARGE"
            with pytest.raises(eyas.InvalidArgument, match="not a name for a dataset"):
                await upload(app.port, photos, "Not A Name", on_progress=told.append)
    async with daemon(datasets={"max_bytes": 4_000_000}) as app:  # the first of the large ones fits
        with pytest.raises(eyas.FailedPrecondition, match="All uploaded datasets together may take 4,000,000 bytes"):
            await upload(app.port, photos)


@pytest.fixture
def small_disk(data_dir: Path) -> Iterator[Path]:
    """The data folder on a disk of 4 MiB."""
    data_dir.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", data_dir], check=True)
    yield data_dir
    subprocess.run(["umount", data_dir], check=True)


async def test_a_full_disk_is_a_sentence_and_the_upload_goes_on_when_there_is_room(
    small_disk: Path, daemon: Daemon, photos: Path
) -> None:
    async with daemon() as app, eyas.aio.Client(f"127.0.0.1:{app.port}", retries=False) as client:
        with pytest.raises(eyas.Unavailable, match="No space left on device"):
            await client.upload_dataset(photos)
        assert await anext(aiter(client.list_datasets()), None) is None
        await asyncio.to_thread(subprocess.run, ["mount", "-o", "remount,size=40m", small_disk], check=True)
        told: list[eyas.UploadProgress] = []
        await client.upload_dataset(photos, on_progress=told.append)
        assert 0 < told[-1].sent_bytes < 6_000_000  # what fitted was not sent again
        assert stored(app, "photos-of-2026") == content(photos)


def piece(of: bytes, *, sent: bytes | None = None, offset: int = 0) -> pb.UploadDatasetRequest:
    named = pb.Blob(sha256=hashlib.sha256(of).digest(), size_bytes=len(of))
    return pb.UploadDatasetRequest(pieces=[pb.BlobPiece(blob=named, offset=offset, content=of if sent is None else sent)])


@pytest.mark.parametrize(
    ("message", "code", "says"),
    [
        (piece(b"abc", sent=b"abd"), "INVALID_ARGUMENT", "What was sent is not the content"),
        (piece(bytes(2_000_000)), "INVALID_ARGUMENT", "more than 1,048,576 bytes"),
        (piece(bytes(10), sent=bytes(2), offset=5), "ABORTED", "ask what is missing"),
    ],
)
async def test_what_the_client_library_would_not_send(
    channel: grpc.aio.Channel, message: pb.UploadDatasetRequest, code: str, says: str
) -> None:
    async def requests() -> AsyncIterator[pb.UploadDatasetRequest]:
        yield message

    method = channel.stream_unary(UPLOAD, pb.UploadDatasetRequest.SerializeToString, pb.UploadDatasetResponse.FromString)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await method(requests())
    assert (refused.value.code().name, says in (refused.value.details() or "")) == (code, True)


@pytest.mark.parametrize("path", ["../../evil", "/etc/passwd", "a/../../b", "a\\b", "a\0b", "\udcff"])
async def test_hostile_paths_are_refused(channel: grpc.aio.Channel, path: str) -> None:
    listed = f"eyas dataset 1\n{blob(b'a').sha256} 1 {path}\n".encode(errors="surrogateescape")

    async def requests() -> AsyncIterator[pb.UploadDatasetRequest]:
        for one in (b"a", listed):
            yield piece(one)

    await channel.stream_unary(UPLOAD, pb.UploadDatasetRequest.SerializeToString)(requests())
    create = channel.unary_unary(
        "/eyas.v1.DatasetService/CreateDataset", pb.CreateDatasetRequest.SerializeToString, pb.CreateDatasetResponse.FromString
    )
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await create(pb.CreateDatasetRequest(name="datasets/evil", manifest=piece(listed).pieces[0].blob))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "Line 2" in (refused.value.details() or "")
