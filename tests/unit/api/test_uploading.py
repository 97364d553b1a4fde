"""A stream of content: what is kept, what ends it, what it holds."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from eyas.v1 import dataset_service_pb2 as pb
from eyasd.api.uploading import Upload, UploadLimits
from eyasd.core.datasets import Blob
from eyasd.core.errors import DigestMismatch, EyasError, InvalidArgument, StreamEnded, StreamIdle, UploadConflict
from eyasd.registry.blobs import Blobs
from eyasd.storage.local import LocalStore
from uploads import blob

LARGE = os.urandom(1_500_000)


def message(*pieces: tuple[Blob, int, bytes]) -> pb.UploadDatasetRequest:
    def of(one: Blob) -> pb.Blob:
        return pb.Blob(sha256=bytes.fromhex(one.sha256), size_bytes=one.size_bytes)

    return pb.UploadDatasetRequest(pieces=[pb.BlobPiece(blob=of(b), offset=offset, content=c) for b, offset, c in pieces])


def whole(content: bytes) -> tuple[Blob, int, bytes]:
    return blob(content), 0, content


def large(start: int, end: int) -> tuple[Blob, int, bytes]:
    return blob(LARGE), start, LARGE[start:end]


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(LocalStore(tmp_path / "datasets"), tmp_path / "uploads", 10**8)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as made:
        yield made


async def sent(messages: Iterable[pb.UploadDatasetRequest], then: asyncio.Event | None = None) -> AsyncIterator[Any]:
    for one in messages:
        yield one
    if then is not None:
        await then.wait()


def upload(requests: AsyncIterator[Any], blobs: Blobs, pool: ThreadPoolExecutor, **limits: Any) -> Upload:
    return Upload(requests, blobs, pool, UploadLimits(**{"idle_seconds": 30.0, **limits}))


async def test_small_and_large_content_in_one_stream(blobs: Blobs, pool: ThreadPoolExecutor) -> None:
    messages = [
        message(whole(b"a"), whole(b""), large(0, 500_000)),
        message(large(500_000, 1_000_000), whole(b"b")),
        message(large(1_000_000, 1_500_000), whole(b"a")),
    ]
    assert await upload(sent(messages), blobs, pool).run() == 5
    assert blobs.missing([blob(content) for content in (b"a", b"", b"b", LARGE)]) == []


async def test_nothing_at_all(blobs: Blobs, pool: ThreadPoolExecutor) -> None:
    assert await upload(sent([]), blobs, pool).run() == 0


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (message((blob(b"a"), 0, b"b")), DigestMismatch),
        (message((Blob("00", 1), 0, b"b")), InvalidArgument),
        (message((Blob("00" * 32, -1), 0, b"b")), InvalidArgument),
        (message(large(5, 10)), UploadConflict),
        (message(large(0, 10), large(11, 12)), UploadConflict),
        (message(whole(bytes(1024 * 1024 + 1))), InvalidArgument),
        (message(*[whole(b"")] * 10_001), InvalidArgument),
    ],
)
async def test_what_is_wrong_ends_it_and_the_rest_is_kept(
    blobs: Blobs, pool: ThreadPoolExecutor, bad: pb.UploadDatasetRequest, error: type[EyasError]
) -> None:
    with pytest.raises(error):
        await upload(sent([message(whole(b"good")), bad]), blobs, pool).run()
    await asyncio.to_thread(pool.shutdown)
    assert blobs.missing([blob(b"good")]) == []


async def test_a_caller_who_leaves_or_begins_another_file_can_go_on(blobs: Blobs, pool: ThreadPoolExecutor) -> None:
    await upload(sent([message(large(0, 100)), message(large(100, 200))]), blobs, pool).run()
    assert blobs.missing([blob(LARGE)]) == [(0, 200)]
    silent = asyncio.Event()
    running = asyncio.create_task(upload(sent([message(large(200, 300))], silent), blobs, pool).run())
    while blobs.missing([blob(LARGE)]) != [(0, 300)]:
        await asyncio.sleep(0.001)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert blobs.missing([blob(LARGE)]) == [(0, 300)]


async def test_silence_and_age_and_the_daemon_end_it_with_what_has_come_kept(blobs: Blobs, pool: ThreadPoolExecutor) -> None:
    silent = asyncio.Event()
    with pytest.raises(StreamIdle, match=r"0\.01 s"):
        await upload(sent([message(large(0, 100))], silent), blobs, pool, idle_seconds=0.01).run()
    assert blobs.missing([blob(LARGE)]) == [(0, 100)]
    with pytest.raises(StreamEnded, match="lasted its time"):
        await upload(sent([message(large(100, 200))], silent), blobs, pool, lifetime_seconds=0.05).run()
    assert blobs.missing([blob(LARGE)]) == [(0, 200)]
    ended = upload(sent([message(whole(b"a"))]), blobs, pool)
    ended.end("The server is going down")
    with pytest.raises(StreamEnded, match="going down"):
        await ended.run()


async def test_nothing_is_read_while_there_is_no_room(
    blobs: Blobs, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, most = 0, 0
    go = threading.Event()

    async def requests() -> AsyncIterator[pb.UploadDatasetRequest]:
        nonlocal read
        for number in range(50):
            read += 1
            yield message(whole(bytes([number])))

    put = blobs.put

    def slow(one: Blob, content: bytes) -> None:
        go.wait()
        put(one, content)

    monkeypatch.setattr(blobs, "put", slow)
    running = asyncio.create_task(upload(requests(), blobs, pool, held_blobs=5).run())
    for _ in range(100):
        await asyncio.sleep(0)
        most = max(most, read)
    assert most == 6
    go.set()
    assert await running == 50
