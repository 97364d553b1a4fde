"""The cache of fetched objects: shared, bounded, and never half, whoever is killed when."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from eyasd.core.errors import StorageFailed
from eyasd.storage import cache as module
from eyasd.storage.cache import ObjectCache, Piece, object_id

Opened = Callable[..., ObjectCache]


@pytest.fixture
def opened(tmp_path: Path) -> Opened:
    return lambda user="job", max_bytes=10_000: ObjectCache(tmp_path / "cache", max_bytes, user)


def known_by(name: str) -> bytes:
    return object_id("s3://photos", name, "v1", 1)


def put(cache: ObjectCache, **contents: bytes) -> None:
    cache.put([(known_by(name), content, hashlib.sha256(content).digest()) for name, content in contents.items()])


def content(cache: ObjectCache, name: str) -> bytes | None:
    (piece,) = cache.find([known_by(name)])
    return None if piece is None else read(piece)


def read(piece: Piece) -> bytes:
    found = piece.path.read_bytes()[piece.start : piece.start + piece.size_bytes]
    assert hashlib.sha256(found).hexdigest() == piece.sha256
    return found


def dead(run: str, folder: Path) -> int:
    """Runs code with a cache `c` as user `other` in another process, which is then dead; returns its exit status."""
    program = f"from test_cache_program import *\nimport os, signal\nc = opened({str(folder)!r})\n{run}\n"
    program = program.replace("from test_cache_program import *\n", _PROGRAM)
    return subprocess.run([sys.executable, "-c", program], check=False).returncode


_PROGRAM = """
import hashlib
from pathlib import Path
from eyasd.storage import cache as module
from eyasd.storage.cache import ObjectCache, object_id
def opened(folder): return ObjectCache(Path(folder), 10_000, "other")
def known_by(name): return object_id("s3://photos", name, "v1", 1)
def put(cache, **contents): cache.put([(known_by(n), c, hashlib.sha256(c).digest()) for n, c in contents.items()])
"""


def test_what_is_kept_is_found_by_any_process(opened: Opened, tmp_path: Path) -> None:
    put(opened(), a=b"aaa", b=b"", c=b"cc")
    again = opened("another")
    assert [content(again, name) for name in "abcd"] == [b"aaa", b"", b"cc", None]
    assert [path.suffix for path in (tmp_path / "cache").iterdir()].count(".pack") == 1


def test_another_version_is_another_object() -> None:
    ids = {
        object_id(url, key, version, size) for url in ("s3://a", "s3://b") for key in "xy" for version in "12" for size in (1, 2)
    }
    assert len(ids) == 16


def test_equal_content_is_found_under_every_name(opened: Opened) -> None:
    cache = opened()
    put(cache, a=b"same", b=b"same")
    put(cache, c=b"same")
    pieces = cache.find([known_by(name) for name in "abc"])
    assert {read(piece) for piece in pieces if piece} == {b"same"}
    assert len(pieces) == 3


def test_what_was_not_used_for_longest_goes_first(opened: Opened) -> None:
    cache = opened("first")
    for name in "abc":
        put(cache, **{name: name.encode() * 3000})
    content(cache, "a")
    cache.release()
    put(opened("second"), d=b"d" * 3000)
    assert [name for name in "abcd" if content(cache, name)] == ["a", "c", "d"]


def test_what_is_used_stays_and_a_sentence_says_who_has_the_room(opened: Opened) -> None:
    cache = opened("first")
    put(cache, a=b"a" * 9000)
    with pytest.raises(StorageFailed, match="jobs use 0.00 GB of training.fetched_bytes = 1e-05 GB: raise it, or wait for them"):
        put(opened("second"), b=b"b" * 2000)
    assert content(cache, "a") == b"a" * 9000
    cache.release()
    put(opened("second"), b=b"b" * 2000)
    assert content(cache, "a") is None


def test_a_dead_process_uses_nothing(opened: Opened, tmp_path: Path) -> None:
    assert dead("put(c, a=b'a' * 9000); os.kill(os.getpid(), signal.SIGKILL)", tmp_path / "cache") == -signal.SIGKILL
    cache = opened()
    assert content(cache, "a") == b"a" * 9000
    cache.release()
    put(cache, b=b"b" * 2000)
    assert content(cache, "a") is None
    assert len(list((tmp_path / "cache").glob("*.user"))) == 1


@pytest.mark.parametrize("at", ["_write", "_publish", "fdatasync"])
def test_a_process_that_is_killed_while_it_writes_leaves_nothing(opened: Opened, tmp_path: Path, at: str) -> None:
    die = "lambda *_: os.kill(os.getpid(), signal.SIGKILL)"
    kill = {
        "_write": f"module._write = {die}",
        "fdatasync": f"module.os.fdatasync = {die}",
        "_publish": "before = c._publish\ndef after(*a):\n before(*a)\n os.kill(os.getpid(), signal.SIGKILL)\nc._publish = after",
    }[at]
    assert dead(f"{kill}\nput(c, a=b'aaa')", tmp_path / "cache") == -signal.SIGKILL
    cache = opened()
    assert content(cache, "a") is None
    assert [path.name for path in (tmp_path / "cache").iterdir() if path.suffix in {".pack", ".draft"}] == []
    put(cache, a=b"aaa")
    assert content(cache, "a") == b"aaa"


@pytest.mark.parametrize("harm", ["gone", "cut"])
def test_a_pack_that_somebody_harmed_is_fetched_again(opened: Opened, tmp_path: Path, harm: str) -> None:
    cache = opened()
    put(cache, a=b"aaa", b=b"bbb")
    (pack,) = (tmp_path / "cache").glob("*.pack")
    if harm == "gone":
        pack.unlink()
    else:
        os.truncate(pack, 4)
    assert content(cache, "a") is None
    put(cache, a=b"aaa")
    assert content(cache, "a") == b"aaa"


def test_on_a_full_disk_old_packs_go_first_and_then_a_sentence_tells(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, room = opened("first"), [1]
    put(cache, a=b"a")
    cache.release()
    write = module._write

    def full(*args: object) -> None:
        if not room or room.pop():
            raise OSError(errno.ENOSPC, "No space left on device")
        write(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_write", full)
    room[:] = [0, 1]
    put(opened("second"), b=b"b")
    assert (content(cache, "a"), content(cache, "b")) == (None, b"b")
    with pytest.raises(
        StorageFailed, match=r"The disk of training.fetched_dir is full \(.* are free\), and jobs use all that was fetched"
    ):
        put(opened("second"), c=b"c")
    monkeypatch.undo()
    put(opened("second"), c=b"c")
    assert content(cache, "c") == b"c"


def test_a_disk_that_fails_is_told_of(opened: Opened, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    cache = opened()
    monkeypatch.setattr(module, "_write", broken)
    with pytest.raises(StorageFailed, match="Fetched data cannot be kept: Input/output error"):
        put(cache, a=b"a")
    assert list((tmp_path / "cache").glob("*.draft")) == []


def test_an_index_that_is_none_is_told_of(opened: Opened, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "index-1.sqlite").write_bytes(b"no index" * 1000)
    with pytest.raises(StorageFailed, match="file is not a database.: free its disk, or empty training.fetched_dir"):
        opened()


class TestDrafts:
    """Of a large object the finished parts stay, whoever is killed."""

    PART = 4

    def draft(self, cache: ObjectCache, content: bytes, parts: list[int]) -> None:
        with cache.draft(known_by("big"), len(content), lambda: None) as draft:
            done = draft.finished(self.PART)
            assert done.isdisjoint(parts)
            for start in parts:
                draft.note(start, draft.write(start, content[start : start + self.PART]))
            if done | set(parts) == set(range(0, len(content), self.PART)):
                draft.publish(draft.read_back(self.PART))

    def test_a_later_process_goes_on(self, opened: Opened) -> None:
        self.draft(opened(), b"0123456789", [0, 8])
        cache = opened("later")
        assert content(cache, "big") is None
        self.draft(cache, b"0123456789", [4])
        assert content(cache, "big") == b"0123456789"

    def test_a_part_that_the_disk_lost_is_fetched_again(self, opened: Opened, tmp_path: Path) -> None:
        self.draft(opened(), b"0123456789", [0, 8])
        (path,) = (tmp_path / "cache").glob("*.draft")
        with path.open("r+b") as file:
            file.write(b"xx")
        self.draft(opened(), b"0123456789", [0, 4])
        assert content(opened(), "big") == b"0123456789"

    def test_a_disk_that_lies_is_found_out(self, opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "_write", lambda *_: None)
        with pytest.raises(StorageFailed, match="does not keep what is written to it"):
            self.draft(opened(), b"0123", [0])

    def test_it_waits_for_whoever_is_at_it(self, opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
        looks = []
        monkeypatch.setattr(module.time, "sleep", looks.append)

        def give_up() -> None:
            if len(looks) == 2:
                raise InterruptedError

        with opened().draft(known_by("big"), 10, lambda: None), pytest.raises(InterruptedError):  # noqa: SIM117
            with opened("other").draft(known_by("big"), 10, give_up):
                pass
        with opened("other").draft(known_by("big"), 10, give_up):
            assert len(looks) == 2

    def test_one_that_nobody_goes_on_with_makes_room(self, opened: Opened, tmp_path: Path) -> None:
        self.draft(opened(), b"0" * 9000, [0])
        put(opened(), a=b"a" * 2000)
        assert list((tmp_path / "cache").glob("*.draft")) == []
        assert content(opened(), "a") == b"a" * 2000
