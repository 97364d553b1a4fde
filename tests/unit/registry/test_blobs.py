"""registry.blobs: content is kept once and only if it is what its digest says; what has come of some is gone on with."""

from __future__ import annotations

import os
import threading
from io import FileIO
from pathlib import Path

import pytest

from eyasd.core.datasets import Blob
from eyasd.core.errors import DigestMismatch, InvalidArgument, StorageFailed, UploadConflict, UploadTooLarge
from eyasd.registry.blobs import Blobs
from eyasd.storage.local import LocalStore
from uploads import blob

CONTENT = os.urandom(3_000_000)
LARGE = blob(CONTENT)


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return opened(tmp_path)


def opened(folder: Path, max_bytes: int = 10_000_000) -> Blobs:
    return Blobs(LocalStore(folder / "datasets"), folder / "uploads", max_bytes)


def send(blobs: Blobs, start: int, end: int, *, of: Blob = LARGE, content: bytes = CONTENT) -> None:
    """Sends a part in two pieces, and leaves."""
    arrival = blobs.arrive(of, start)
    middle = (start + end) // 2
    arrival.add(content[start:middle])
    arrival.add(content[middle:end])
    if arrival.is_whole:
        arrival.finish()
    else:
        arrival.leave()


def test_content_is_kept_once(blobs: Blobs) -> None:
    assert blobs.missing([blob(b"a"), LARGE]) == [(0, 0), (1, 0)]
    blobs.put(blob(b"a"), b"a")
    blobs.put(blob(b"a"), b"a")
    send(blobs, 0, len(CONTENT))
    send(blobs, 0, len(CONTENT))
    assert blobs.missing([LARGE, blob(b"a")]) == []
    assert blobs.store.read(LARGE.key) == CONTENT
    assert [found.size_bytes for found in blobs.store.find("blobs")].count(1) == 1
    assert list(blobs.staging.iterdir()) == []


def test_what_broke_off_is_gone_on_with_also_by_another_daemon(tmp_path: Path) -> None:
    blobs = opened(tmp_path)
    send(blobs, 0, 1_000_000)
    assert blobs.missing([LARGE]) == [(0, 1_000_000)]
    arrival = blobs.arrive(LARGE, 1_000_000)
    arrival.add(CONTENT[1_000_000:2_000_000])
    assert opened(tmp_path).missing([LARGE]) == [(0, 0)]  # another daemon leaves it alone, as it is being received
    arrival._file.close()  # the daemon is killed
    again = opened(tmp_path)
    assert again.missing([LARGE]) == [(0, 2_000_000)]
    send(again, 2_000_000, 3_000_000)
    assert again.store.read(LARGE.key) == CONTENT


def test_whole_content_that_could_not_be_kept_is_kept_without_sending_it_again(
    blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bool:
        raise StorageFailed("full")

    monkeypatch.setattr(LocalStore, "create_from", fail)
    with pytest.raises(StorageFailed):
        send(blobs, 0, len(CONTENT))
    monkeypatch.undo()
    assert blobs.missing([LARGE]) == [(0, len(CONTENT))]
    send(blobs, len(CONTENT), len(CONTENT))
    assert blobs.missing([LARGE]) == []


@pytest.mark.parametrize("size", [2, 4])
def test_content_that_is_not_what_its_digest_says(blobs: Blobs, size: int) -> None:
    with pytest.raises(DigestMismatch):
        blobs.put(Blob(blob(b"abc").sha256, size), b"abc")
    with pytest.raises(DigestMismatch):
        blobs.put(blob(b"abc"), b"abd")
    with pytest.raises(DigestMismatch):
        send(blobs, 0, len(CONTENT), content=CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]))
    with pytest.raises(DigestMismatch):
        send(blobs, 0, len(CONTENT) + 2, content=CONTENT + b"ab")
    assert blobs.missing([LARGE, blob(b"abc")]) == [(0, 0), (1, 0)]
    assert list(blobs.staging.iterdir()) == []


def test_a_part_that_was_damaged_on_the_disk_is_found_out(blobs: Blobs) -> None:
    send(blobs, 0, 1_000_000)
    (part,) = blobs.staging.iterdir()
    part.write_bytes(bytes(1_000_000))
    with pytest.raises(DigestMismatch):
        send(blobs, 1_000_000, 3_000_000)
    assert blobs.missing([LARGE]) == [(0, 0)]


def test_a_size_that_is_wrong_is_told_of(blobs: Blobs) -> None:
    blobs.put(blob(b"a"), b"a")
    with pytest.raises(InvalidArgument, match="has 1 bytes, not 2"):
        blobs.missing([Blob(blob(b"a").sha256, 2)])


def test_a_piece_that_does_not_continue_what_is_there(blobs: Blobs) -> None:
    with pytest.raises(UploadConflict):
        blobs.arrive(LARGE, 5)
    send(blobs, 0, 1000)
    with pytest.raises(UploadConflict):
        blobs.arrive(LARGE, 999)
    assert blobs.missing([LARGE]) == [(0, 1000)]


def test_of_two_that_send_the_same_the_part_with_more_is_kept(blobs: Blobs) -> None:
    one, other = blobs.arrive(LARGE, 0), blobs.arrive(LARGE, 0)
    one.add(CONTENT[:500])
    other.add(CONTENT[:2000])
    other.leave()
    one.leave()
    assert blobs.missing([LARGE]) == [(0, 2000)]


@pytest.mark.parametrize("is_last_to_leave", [True, False])
def test_content_that_another_stream_brought_whole_leaves_no_part(blobs: Blobs, is_last_to_leave: bool) -> None:
    broken = blobs.arrive(LARGE, 0)
    broken.add(CONTENT[:1_000_000])
    again = blobs.arrive(LARGE, 0)  # whose client was told that nothing had come yet
    again.add(CONTENT)
    for act in (again.finish, broken.leave) if is_last_to_leave else (broken.leave, again.finish):
        act()
    assert list(blobs.staging.iterdir()) == []
    blobs.usage.check(10_000_000 - len(CONTENT))
    with pytest.raises(UploadTooLarge):
        blobs.usage.check(10_000_001 - len(CONTENT))
    assert blobs.store.read(LARGE.key) == CONTENT


def test_a_stream_that_does_not_know_yet_that_it_is_broken_is_taken_over(blobs: Blobs) -> None:
    broken = blobs.arrive(LARGE, 0)
    broken.add(CONTENT[:2000])
    assert blobs.missing([LARGE]) == [(0, 2000)]
    with pytest.raises(UploadConflict):
        blobs.arrive(LARGE, 1000)
    again = blobs.arrive(LARGE, 2000)
    again.add(CONTENT[2000:3000])
    with pytest.raises(UploadConflict):
        broken.add(CONTENT[2000:3000])
    broken.leave()
    assert blobs.missing([LARGE]) == [(0, 3000)]
    again.add(CONTENT[3000:])
    again.finish()
    assert blobs.store.read(LARGE.key) == CONTENT
    assert list(blobs.staging.iterdir()) == []


def test_all_of_it_together_is_bounded(tmp_path: Path) -> None:
    blobs = opened(tmp_path, 2500)
    blobs.put(blob(bytes(1000)), bytes(1000))
    blobs.put(blob(bytes(1000)), bytes(1000))
    with pytest.raises(UploadTooLarge, match="2,500 bytes; 1,000 are taken, and 2,000 more"):
        blobs.put(blob(bytes(2000)), bytes(2000))
    with pytest.raises(UploadTooLarge):
        blobs.arrive(LARGE, 0)
    part = Blob(LARGE.sha256, 1500)
    send(blobs, 0, 1400, of=part)
    with pytest.raises(UploadTooLarge):  # parts count, too, also for a daemon that starts
        opened(tmp_path, 2500).put(blob(bytes(200)), bytes(200))
    blobs.forget_parts(-1)
    blobs.put(blob(bytes(1500)), bytes(1500))
    blobs.delete([blob(bytes(1000))])
    blobs.put(blob(bytes(900)), bytes(900))
    with pytest.raises(UploadTooLarge, match="takes no uploads"):
        opened(tmp_path, 0).put(blob(b"a"), b"a")


class Full(FileIO):
    """A file on a disk that has room for three bytes more."""

    def write(self, content: bytes, /) -> int:  # type: ignore[override]
        return super().write(content[:3])


def test_a_full_disk_is_told_of_and_what_had_come_stays(blobs: Blobs) -> None:
    send(blobs, 0, 1000)
    arrival = blobs.arrive(LARGE, 1000)
    arrival._file.close()
    arrival._file = Full(arrival.place, "a+")
    with pytest.raises(StorageFailed, match="No space left"):
        arrival.add(CONTENT[1000:2000])
    arrival.leave()
    assert blobs.missing([LARGE]) == [(0, 1000)]
    send(blobs, 1000, len(CONTENT))
    assert blobs.missing([LARGE]) == []


def test_many_threads_keep_the_same_content(tmp_path: Path) -> None:
    blobs = opened(tmp_path, 1_000_000)
    threads = [threading.Thread(target=blobs.put, args=(blob(bytes(1000)), bytes(1000))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    blobs.put(blob(b"\1" * 999_000), b"\1" * 999_000)  # counted once, so it fits to the byte
