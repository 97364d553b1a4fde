"""storage.contents: whatever befalls the folder, what is read of it is what was asked for, and it keeps its bound."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from eyasd.core.errors import StorageFailed
from eyasd.storage.contents import Contents, Damaged
from eyasd.storage.store import MOST_READ_BYTES

FIRST, SECOND, THIRD = (letter * 100 for letter in (b"a", b"b", b"c"))


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def contents(folder: Path) -> Contents:
    return Contents(folder, 250)


def keep(contents: Contents, content: bytes, used: float | None = None) -> None:
    """Keeps a content, as if it had last been used so many seconds ago."""
    contents.keep(digest(content), content)
    if used is not None:
        os.utime(contents.folder / digest(content), (time.time() - used,) * 2)


def kept(contents: Contents) -> set[bytes]:
    return {content for content in (FIRST, SECOND, THIRD) if contents.find(digest(content)) is not None}


def test_what_is_kept_is_found_by_others_and_after_a_restart(contents: Contents, folder: Path) -> None:
    assert contents.find(digest(FIRST)) is None
    keep(contents, FIRST)
    keep(contents, FIRST)
    assert Contents(folder, 250).find(digest(FIRST)) == FIRST
    assert [path.name for path in folder.iterdir()] == [digest(FIRST)]


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(FIRST[:-1]),
        lambda path: path.write_bytes(b"b" + FIRST[1:]),
        lambda path: path.write_bytes(b""),
    ],
    ids=["cut short", "changed", "empty"],
)
def test_what_is_damaged_is_removed_and_can_be_kept_anew(
    contents: Contents, folder: Path, damage: Callable[[Path], object]
) -> None:
    keep(contents, FIRST)
    damage(folder / digest(FIRST))
    with pytest.raises(Damaged):
        contents.find(digest(FIRST))
    assert contents.find(digest(FIRST)) is None
    keep(contents, FIRST)
    assert contents.find(digest(FIRST)) == FIRST


def test_what_is_no_file_or_larger_than_any_is_told_and_not_read(contents: Contents, folder: Path) -> None:
    folder.mkdir()
    os.mkfifo(folder / digest(FIRST))
    (folder / digest(SECOND)).touch()
    os.truncate(folder / digest(SECOND), MOST_READ_BYTES + 1)
    for content, says in ((FIRST, "it is no regular file"), (SECOND, "it has 2,147,483,649 bytes")):
        with pytest.raises(StorageFailed, match=f"cache cannot be used: {says}"):
            contents.find(digest(content))


def test_the_least_recently_used_goes(contents: Contents) -> None:
    keep(contents, FIRST, used=200)
    keep(contents, SECOND, used=100)
    assert contents.find(digest(FIRST)) == FIRST  # which is now the newest
    keep(contents, THIRD)
    assert kept(contents) == {FIRST, THIRD}


def test_for_what_another_has_kept_meanwhile_nothing_goes(contents: Contents) -> None:
    keep(contents, FIRST, used=100)
    keep(contents, SECOND)
    keep(contents, SECOND)
    assert kept(contents) == {FIRST, SECOND}


def test_what_is_larger_than_all_is_not_kept_and_nothing_goes_for_it(contents: Contents) -> None:
    keep(contents, FIRST)
    keep(contents, b"d" * 251)
    assert kept(contents) == {FIRST}
    assert contents.find(digest(b"d" * 251)) is None


def test_files_of_other_names_neither_count_nor_go(contents: Contents, folder: Path) -> None:
    folder.mkdir()
    (folder / "notes").write_bytes(b"n" * 1000)
    (folder / digest(b"a folder")).mkdir()
    (folder / digest(b"a link")).symlink_to(folder / "notes")
    for content in (FIRST, SECOND, THIRD):
        keep(contents, content)
    assert len(kept(contents)) == 2
    assert {"notes", digest(b"a folder"), digest(b"a link")} < {path.name for path in folder.iterdir()}


def disk_of(most: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the disk of the folder have room for so many bytes."""
    link = os.link

    def tight(source: str, target: str) -> None:
        if sum(path.stat().st_size for path in folder.iterdir()) > most:
            raise OSError(errno.ENOSPC, "No space left on device")
        link(source, target)

    monkeypatch.setattr(os, "link", tight)


def test_on_a_disk_that_is_smaller_than_the_bound_the_oldest_go(
    contents: Contents, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(contents, FIRST, used=200)
    keep(contents, SECOND, used=100)
    disk_of(250, folder, monkeypatch)
    Contents(folder, 1000).keep(digest(THIRD), THIRD)
    assert kept(contents) == {SECOND, THIRD}


def test_a_disk_full_of_other_things_is_told_and_costs_no_more_than_one_content_would_take(
    contents: Contents, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(contents, FIRST, used=200)
    keep(contents, SECOND, used=100)
    disk_of(0, folder, monkeypatch)
    with pytest.raises(StorageFailed, match=r"cache cannot be used: No space left on device \(.* free\)\. Free or mend its disk\."):
        Contents(folder, 1000).keep(digest(THIRD), THIRD)
    assert kept(contents) == {SECOND}


def test_where_nothing_can_be_removed_a_full_disk_is_told_too(
    contents: Contents, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(contents, FIRST)
    disk_of(0, folder, monkeypatch)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(StorageFailed, match="Operation not permitted"):
        Contents(folder, 1000).keep(digest(SECOND), SECOND)


def test_a_folder_that_cannot_be_one_is_told(contents: Contents, folder: Path) -> None:
    folder.write_text("a file")
    for call in (contents.try_out, lambda: keep(contents, FIRST)):
        with pytest.raises(StorageFailed, match="cache cannot be used: "):
            call()
    assert contents.find(digest(FIRST)) is None


def test_it_is_tried_out_without_a_trace(contents: Contents, folder: Path) -> None:
    keep(contents, FIRST)
    assert contents.try_out() == (1, 100)
    assert [path.name for path in folder.iterdir()] == [digest(FIRST)]


def test_what_a_killed_writer_leaves_is_never_found_and_goes(contents: Contents, folder: Path) -> None:
    program = (
        "import hashlib, os, signal, sys; from pathlib import Path; from eyasd.storage.contents import Contents; "
        "os.link = lambda *_: os.kill(os.getpid(), signal.SIGKILL); "
        "Contents(Path(sys.argv[1]), 250).keep(hashlib.sha256(b'a' * 100).hexdigest(), b'a' * 100)"
    )
    assert subprocess.run([sys.executable, "-c", program, folder], check=False).returncode == -signal.SIGKILL
    (left,) = folder.iterdir()
    assert contents.find(digest(FIRST)) is None
    os.utime(left, (time.time() - 3600,) * 2)
    keep(contents, SECOND)
    assert [path.name for path in folder.iterdir()] == [digest(SECOND)]


def test_processes_that_keep_and_lose_the_same_contents_at_once_find_them_or_not(folder: Path) -> None:
    """Three contents of six fit, so each process removes what the other reads."""
    program = """
import hashlib, sys
from pathlib import Path
from eyasd.storage.contents import Contents
contents = Contents(Path(sys.argv[1]), 300_000)
found = 0
for turn in range(150):
    content = bytes([turn % 6]) * 100_000
    digest = hashlib.sha256(content).hexdigest()
    again = contents.find(digest)
    assert again in (None, content)
    found += again is not None
    contents.keep(digest, content)
    assert contents.find(digest) in (None, content)
print(found)
"""
    commands = [subprocess.Popen([sys.executable, "-c", program, folder], stderr=subprocess.PIPE) for _ in range(2)]
    for command in commands:
        _, said = command.communicate(timeout=120)
        assert command.returncode == 0, said.decode()
    Contents(folder, 300_000).try_out()
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 400_000
    assert all(len(path.name) == 64 for path in folder.iterdir())
