"""pod.checkpoints: a later pod goes on from the newest that is whole, and two stay."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from eyasd.core.jobdir import CHECKPOINT
from eyasd.pod.checkpoints import Checkpoints
from eyasd.pod.layout import newest
from eyasd.storage.local import LocalStore

PREFIX = "jobs/j1/checkpoint"


class Pod:
    def __init__(self, store: LocalStore, folder: Path, attempt: int, number: int) -> None:
        self.now = 0.0
        self.path = folder / CHECKPOINT
        folder.mkdir()
        self.checkpoints = Checkpoints(store, "j1", attempt, number, folder, lambda: self.now)

    def write(self, content: str) -> None:
        fresh = self.path.with_suffix(".new")
        fresh.write_text(content)
        os.utime(fresh, ns=(0, int(content, 36)))
        fresh.replace(self.path)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def test_one_is_handed_over_a_minute_and_at_the_end(store: LocalStore, tmp_path: Path) -> None:
    pod = Pod(store, tmp_path / "a", 1, 1)
    pod.checkpoints.look(now=True)  # there is none
    for second, content in ((59, "one"), (61, "two"), (62, "three"), (122, "four")):
        pod.write(content)
        pod.now = second
        pod.checkpoints.look()
    assert newest(store, PREFIX) == [f"{PREFIX}/1-1-2", f"{PREFIX}/1-1-1"]
    for _ in range(2):
        pod.checkpoints.look(now=True)  # no other than a minute ago
    pod.write("five")
    pod.checkpoints.look(now=True)
    assert newest(store, PREFIX) == [f"{PREFIX}/1-1-3", f"{PREFIX}/1-1-2"]
    assert len(store.keys(PREFIX)) == 4
    assert store.read(f"{PREFIX}/1-1-3/{CHECKPOINT}") == b"five"


def test_the_next_pod_goes_on_from_the_newest_that_is_whole(store: LocalStore, tmp_path: Path) -> None:
    first = Pod(store, tmp_path / "a", 1, 9)
    first.checkpoints.restore()
    for content in ("one", "two"):
        first.write(content)
        first.checkpoints.look(now=True)
    second = Pod(store, tmp_path / "b", 2, 1)
    second.checkpoints.restore()
    assert second.path.read_text() == "two"
    second.checkpoints.look(now=True)  # it is the one that is handed over
    assert newest(store, PREFIX) == [f"{PREFIX}/1-9-2", f"{PREFIX}/1-9-1"]
    store.write(f"{PREFIX}/1-9-2/{CHECKPOINT}", b"tw")
    third = Pod(store, tmp_path / "c", 2, 2)
    third.checkpoints.restore()
    assert third.path.read_text() == "one"
    third.write("three")
    third.checkpoints.look(now=True)
    assert newest(store, PREFIX)[0] == f"{PREFIX}/2-2-1"
