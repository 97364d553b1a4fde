"""core.room: how a full disk is told of."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path

import pytest

from eyasd.core import room

FULL = OSError(errno.ENOSPC, "No space left on device")


def disk(monkeypatch: pytest.MonkeyPatch, free: int, blocks: int, files: int = 0, free_files: int = 0) -> None:
    found = os.statvfs_result((4096, 4096, blocks, free, free, files, free_files, free_files, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _: found)


@pytest.mark.parametrize(
    ("free", "blocks", "says"),
    [
        (0, 500, "0 bytes of 2.0 MB are free"),
        (3, 500_000, "12,288 bytes of 2.0 GB are free"),
        (1_000_000, 2_000_000, "4.1 GB of 8.2 GB are free"),
    ],
)
def test_how_much_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, blocks: int, says: str) -> None:
    disk(monkeypatch, free, blocks)
    assert room.told(FULL, tmp_path / "not" / "there") == f"No space left on device ({says})"


def test_a_disk_may_have_room_and_no_place_for_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk(monkeypatch, 100, 500, files=5000)
    assert room.room(tmp_path) == "none of 5,000 files is free"


def test_what_is_no_want_of_room_is_told_as_it_is(tmp_path: Path) -> None:
    assert room.told(OSError(errno.EIO, "Input/output error"), tmp_path) == "Input/output error"
    assert room.told(OSError("odd"), tmp_path) == "odd"


def test_a_disk_that_cannot_be_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr(os, "statvfs", fail)
    assert room.room(tmp_path) == "how much is free cannot be told"


def test_sqlite_tells_of_room_where_that_is_in_the_way(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "a.sqlite")
    database.execute("CREATE TABLE a (b)")
    database.execute("PRAGMA max_page_count = 2")
    with pytest.raises(sqlite3.OperationalError) as full:
        database.execute("INSERT INTO a VALUES (zeroblob(100000))")
    with pytest.raises(sqlite3.OperationalError) as other:
        database.execute("SELECT c FROM a")
    database.close()
    said = room.told_by_sqlite(full.value, str(full.value), tmp_path / "a.sqlite")
    assert said.startswith("database or disk is full; ")
    assert said.endswith(" are free")
    assert room.told_by_sqlite(other.value, str(other.value), tmp_path) == "no such column: c"
