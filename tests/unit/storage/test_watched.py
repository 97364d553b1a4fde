"""storage.watched: a store as it was, and whoever counts its failures hears of each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from eyasd.core.errors import StorageFailed
from eyasd.storage.local import LocalStore
from eyasd.storage.store import Found
from eyasd.storage.watched import watched


class Broken(LocalStore):
    """A folder on a disk that reads no more."""

    def read(self, key: str) -> bytes:
        raise StorageFailed(f"{key} cannot be read")

    def find(self, prefix: str) -> Iterator[Found]:
        yield from super().find(prefix)
        raise StorageFailed("the rest cannot be listed")


def test_failures_are_told_by_operation_and_raise_as_before(tmp_path: Path) -> None:
    failures: list[str] = []
    store = watched(Broken(tmp_path), failures.append)
    assert store.create("a/b", b"content")
    assert (store.exists("a/b"), store.size("a/b"), store.address) == (True, 7, str(tmp_path))
    for _ in range(2):
        with pytest.raises(StorageFailed, match="a/b cannot be read"):
            store.read("a/b")
    listed = store.find("")
    assert next(listed).key == "a/b"
    with pytest.raises(StorageFailed):
        next(listed)
    assert failures == ["read", "read", "find"]


def test_what_is_not_there_is_no_failure(tmp_path: Path) -> None:
    failures: list[str] = []
    with pytest.raises(FileNotFoundError):
        watched(LocalStore(tmp_path), failures.append).read("none")
    assert failures == []
