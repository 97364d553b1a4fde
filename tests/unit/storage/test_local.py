"""storage.local: a failing disk is told of, and leaves what was there. tests/integration/test_storage.py has the rest."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import tempfile
import time
from io import BytesIO
from pathlib import Path

import pytest

from eyasd.core.errors import StorageFailed
from eyasd.storage.local import LocalStore
from eyasd.storage.store import MOST_READ_BYTES


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "root")


def test_a_pipe_in_the_place_of_an_object_is_not_waited_for(store: LocalStore, tmp_path: Path) -> None:
    (tmp_path / "root" / "folder").mkdir(parents=True)
    os.mkfifo(tmp_path / "root" / "pipe")
    before = set(Path("/proc/self/fd").iterdir())
    for key in ("pipe", "folder"):
        for read in (store.read, lambda key: store.read_into(key, BytesIO())):
            with pytest.raises(StorageFailed, match="it is no regular file"):
                read(key)
    assert set(Path("/proc/self/fd").iterdir()) <= before


def test_an_object_larger_than_any_network_is_not_read_into_memory(store: LocalStore, tmp_path: Path) -> None:
    store.write("a/b", b"")
    os.truncate(tmp_path / "root/a/b", MOST_READ_BYTES + 1)
    with pytest.raises(StorageFailed, match="it has 2,147,483,649 bytes, and at most 2,147,483,648 are read at once"):
        store.read("a/b")


@pytest.mark.parametrize("call", ["fsync", "link", "replace"])
def test_a_failing_disk_leaves_what_was_there(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    store.write("a/b", b"before")

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(StorageFailed, match="No space left on device"):
        store.write("a/b", b"after") if call != "link" else store.create("a/new", b"after")
    monkeypatch.undo()
    assert store.read("a/b") == b"before"
    assert [entry.name for entry in (tmp_path / "root" / "a").iterdir()] == ["b"]


def test_a_full_disk_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "root").write_bytes(b"a file where the folder should be")
    with pytest.raises(StorageFailed):
        LocalStore(tmp_path / "root").write("a", b"")


def left_by_the_killed(store: LocalStore, tmp_path: Path, age: float = 7200.0) -> Path:
    """What a writer leaves who is killed before his object has its name."""
    (tmp_path / "root" / "a").mkdir(parents=True, exist_ok=True)
    program = (
        "import os, signal, sys; from pathlib import Path; from eyasd.storage.local import LocalStore; "
        "os.link = lambda *_: os.kill(os.getpid(), signal.SIGKILL); LocalStore(Path(sys.argv[1])).create('a/b', b'half')"
    )
    assert subprocess.run([sys.executable, "-c", program, tmp_path / "root"], check=False).returncode == -signal.SIGKILL
    (left,) = [path for path in (tmp_path / "root" / "a").iterdir() if path.name.startswith(".writing-")]
    os.utime(left, (time.time() - age,) * 2)
    assert store.children("a") == []
    return left


def test_what_a_killed_writer_left_is_swept_when_it_is_old(store: LocalStore, tmp_path: Path) -> None:
    left = left_by_the_killed(store, tmp_path)
    store.write("a/whole", b"1")
    assert store.sweep(10_000.0) == 0
    assert left.exists()
    assert store.sweep(3600.0) == 1
    assert [path.name for path in left.parent.iterdir()] == ["whole"]


def test_a_writer_at_work_is_spared_however_long_he_takes(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, swept = os.link, []

    def slow(written: str, place: Path) -> None:
        os.utime(written, (0, 0))  # or a clock has jumped
        swept.append(LocalStore(tmp_path / "root").sweep(3600.0))
        link(written, place)

    monkeypatch.setattr(os, "link", slow)
    assert store.create("a/b", b"whole")
    assert (swept, store.read("a/b")) == ([0], b"whole")


def test_one_that_is_swept_before_it_is_held_is_begun_again(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mkstemp, swept = tempfile.mkstemp, []

    def quick(prefix: str, dir: Path) -> tuple[int, str]:  # noqa: A002 - tempfile's name
        descriptor, name = mkstemp(prefix=prefix, dir=dir)
        if not swept:
            os.utime(name, (0, 0))
            swept.append(store.sweep(3600.0))
        return descriptor, name

    monkeypatch.setattr(tempfile, "mkstemp", quick)
    store.write("a/b", b"whole")
    assert (swept, store.read("a/b")) == ([1], b"whole")


def test_who_takes_no_more_is_told_by_his_own_error(store: LocalStore) -> None:
    class Full(BytesIO):
        def write(self, _: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    store.write("a", b"1")
    with pytest.raises(OSError, match="No space left on device"):
        store.read_into("a", Full())
