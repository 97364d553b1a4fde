"""What has not changed is not read again, and what has is seen at the next look."""

from __future__ import annotations

import errno
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from eyasd.core.errors import StorageFailed
from eyasd.core.names import ModelRef
from eyasd.core.traffic import Canary
from eyasd.registry.models import Models
from eyasd.storage.local import LocalStore

ANN: dict[str, Any] = {"actor": "ann", "reason": ""}


class CountingStore(LocalStore):
    """A store that counts what is asked of it."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.asked: Counter[str] = Counter()

    def read(self, key: str) -> bytes:
        self.asked["read"] += 1
        return super().read(key)

    def children(self, prefix: str) -> list[str]:
        self.asked["children"] += 1
        return super().children(prefix)


@pytest.fixture
def store(tmp_path: Path) -> CountingStore:
    return CountingStore(tmp_path)


def settle(folder: Path) -> None:
    """Lets every change below a folder be some time ago, as it will be soon."""
    for path in folder.rglob("*"):
        if path.is_dir():
            before = path.stat()
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns - 10 * 10**9))


def test_a_thousand_models_that_stay_are_not_read_twice(store: CountingStore, tmp_path: Path) -> None:
    models = Models(store)
    for number in range(1000):
        (tmp_path / f"m{number}/aliases/production").mkdir(parents=True)
        record = '{"record":1,"version":1,"time":"2026-11-26T00:00:00+00:00","actor":"ann","reason":""}'
        (tmp_path / f"m{number}/aliases/production/00000001.json").write_text(record)
    settle(tmp_path)
    first = models.pointers()
    assert (len(first), first["m7"].aliases) == (1000, {"production": 1})
    store.asked.clear()
    assert models.pointers() == first
    assert store.asked == {"children": 1}  # the list of models
    models.aliases.set("m7", "production", 2, **ANN)
    models.aliases.set("m8", "next", 3, **ANN)
    models.traffic.set("m9", Canary(ModelRef("m9", version=2), 5.0), None, **ANN)
    second = models.pointers()
    assert (second["m7"].aliases, second["m8"].aliases) == ({"production": 2}, {"next": 3, "production": 1})
    assert second["m9"].by_number == (2,)


def test_two_changes_within_the_clock_of_the_file_system_are_both_seen(tmp_path: Path) -> None:
    models = Models(LocalStore(tmp_path))
    for version in range(1, 30):
        models.aliases.set("colours", "production", version, **ANN)
        folder = tmp_path / "colours/aliases/production"
        os.utime(folder, (time.time(), 0.5 + int(time.time())))  # no finer than a second
        assert models.pointers()["colours"].aliases == {"production": version}


def test_a_folder_that_is_not_there_yet_is_seen_when_it_is(store: CountingStore, tmp_path: Path) -> None:
    models = Models(store)
    assert models.traffic.get("colours") is None
    assert store.asked == {}
    assert models.traffic.records._newest._known == {}  # names that callers make up take no memory
    models.traffic.set("colours", Canary(ModelRef("colours", version=2), 5.0), None, **ANN)
    found = models.traffic.get("colours")
    assert found is not None
    assert found.record == 1


def test_a_folder_that_cannot_be_looked_at_is_not_taken_for_none(
    store: CountingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = Models(store)
    models.aliases.set("colours", "production", 1, **ANN)

    def broken(path: object) -> os.stat_result:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "stat", broken)
    monkeypatch.setattr(os, "listdir", broken)
    with pytest.raises(StorageFailed, match="Input/output error"):
        models.aliases.get("colours", "production")
