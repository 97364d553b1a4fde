"""registry.cache: versions are loaded with what is kept of them, and as well without."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from builders import write_bundle
from eyasd.core.bundle import GOLDEN, MODEL
from eyasd.core.errors import BrokenBundle, StorageFailed, VersionNotFound
from eyasd.registry import cache
from eyasd.registry.cache import ModelCache
from eyasd.registry.models import Models
from eyasd.storage.contents import Contents
from eyasd.storage.local import LocalStore


class Server:
    """What a server loads versions from, and what it says of that."""

    def __init__(self, root: Path, contents: Contents) -> None:
        self.results: list[str] = []
        self.failures: list[str] = []
        self.source = ModelCache(Models(LocalStore(root)), contents, self.results.append, self.failures.append)

    def fetch(self, name: str = MODEL) -> bytes:
        """Returns a file of colours/1, once all is written that was to be."""
        content = self.source.fetch("colours", 1, name)
        for thread in threading.enumerate():
            if thread.name == "model-cache":
                thread.join(60)
        return content


@pytest.fixture
def root(tmp_path: Path) -> Path:
    Models(LocalStore(tmp_path / "models")).publish("colours", write_bundle(tmp_path / "bundle"), "job1")
    return tmp_path / "models"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def contents(folder: Path) -> Contents:
    return Contents(folder, 1_000_000)


def test_what_one_server_has_fetched_the_next_does_not_fetch(root: Path, contents: Contents) -> None:
    first, second = Server(root, contents), Server(root, contents)
    fetched = {name: first.fetch(name) for name in (MODEL, GOLDEN)}
    for name in fetched:
        (root / "colours/1" / name).unlink()
    assert {name: second.fetch(name) for name in fetched} == fetched
    assert (first.results, second.results) == (["miss", "miss"], ["hit", "hit"])


def test_what_is_damaged_there_is_fetched_and_kept_anew(root: Path, contents: Contents, folder: Path) -> None:
    server = Server(root, contents)
    content = server.fetch()
    (path,) = folder.iterdir()
    path.write_bytes(content[:-1])
    assert [server.fetch(), server.fetch()] == [content, content]
    assert server.results == ["miss", "damaged", "hit"]


def test_a_folder_that_cannot_be_used_is_told_once_and_in_nobodys_way(root: Path, contents: Contents, folder: Path) -> None:
    folder.write_text("a file")
    server = Server(root, contents)
    assert server.fetch() == server.fetch() == (root / "colours/1" / MODEL).read_bytes()
    assert "failed" in server.results
    (said,) = server.failures
    folder.unlink()
    server.fetch()
    folder.joinpath(next(folder.iterdir()).name).unlink()
    folder.rmdir()
    folder.write_text("a file again")
    server.fetch()
    assert server.failures == [said, said]


def test_a_folder_that_cannot_be_read_is_in_nobodys_way(root: Path, contents: Contents, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(root, contents)
    content = server.fetch()

    def fail(_: str) -> bytes:
        raise StorageFailed("Input/output error")

    monkeypatch.setattr(contents, "find", fail)
    assert server.fetch() == content
    assert server.results[:2] == ["miss", "failed"]


def test_where_no_thread_can_be_started_nothing_is_kept(
    root: Path, contents: Contents, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(root, contents)

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        content = server.source.fetch("colours", 1, MODEL)
    assert server.results == ["miss", "failed"]
    assert not folder.exists()
    assert [server.fetch(), server.fetch()] == [content, content]
    assert server.results[2:] == ["miss", "hit"]


def test_what_the_repository_has_spoilt_is_refused_and_not_kept(root: Path, contents: Contents, folder: Path) -> None:
    (root / "colours/1" / MODEL).write_bytes(b"spoilt")
    server = Server(root, contents)
    with pytest.raises(BrokenBundle, match="was changed after it was published"):
        server.fetch()
    with pytest.raises(BrokenBundle):
        server.fetch("no-such-file")
    with pytest.raises(VersionNotFound):
        server.source.fetch("colours", 2, MODEL)
    assert not folder.exists()


def test_a_slow_disk_delays_nobody_and_takes_no_more_memory(
    root: Path, contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one file is being written, what waits for its turn is served from memory, and beyond the bound nothing waits."""
    monkeypatch.setattr(cache, "_MOST_WAITING_BYTES", 1)
    keep, go_on, kept = contents.keep, threading.Event(), []

    def hang(digest: str, content: bytes) -> None:
        assert go_on.wait(60)
        kept.append(content)
        keep(digest, content)

    monkeypatch.setattr(contents, "keep", hang)
    server = Server(root, contents)
    model, _, again = (server.source.fetch("colours", 1, name) for name in (MODEL, GOLDEN, MODEL))
    assert server.results == ["miss", "miss", "hit"]
    go_on.set()
    assert server.fetch() == again == model
    assert kept == [model]
