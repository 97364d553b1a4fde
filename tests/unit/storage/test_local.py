"""storage.local: a failing disk is told of, and leaves what was there. tests/integration/test_storage.py has the rest."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from eyasd.core.errors import StorageFailed
from eyasd.storage.local import LocalStore


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "root")


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
