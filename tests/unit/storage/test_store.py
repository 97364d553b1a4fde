"""storage: an object is whole or not there, `create` has one winner, and a failing disk is told of."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from eyasd.core.errors import StorageFailed
from eyasd.storage.local import LocalStore


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "root")


def test_write_replaces_and_create_does_not(store: LocalStore) -> None:
    store.write("a/b", b"1")
    store.write("a/b", b"2")
    assert not store.create("a/b", b"3")
    assert store.create("a/c", b"4")
    assert (store.read("a/b"), store.read("a/c")) == (b"2", b"4")
    assert store.children("a") == ["b", "c"]
    assert store.exists("a/b")
    assert not store.exists("a")


def test_what_is_not_there(store: LocalStore) -> None:
    store.write("a", b"")
    assert store.children("nothing") == []
    assert store.children("a") == []
    for key in ("nothing", "a/below-a-file"):
        with pytest.raises(FileNotFoundError):
            store.read(key)


def test_create_has_one_winner(store: LocalStore) -> None:
    start, wins = threading.Barrier(8), []

    def race(number: int) -> None:
        start.wait()
        if store.create("prize", str(number).encode()):
            wins.append(number)

    threads = [threading.Thread(target=race, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wins) == 1
    assert store.read("prize") == str(wins[0]).encode()


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


def test_what_is_deleted_is_gone_and_may_be_deleted_again(store: LocalStore) -> None:
    store.write("a/b", b"1")
    store.write("a/c", b"2")
    store.delete("a/b")
    store.delete("a/b")
    store.delete("nowhere/d")
    assert store.children("a") == ["c"]
