"""pod.layout: a folder is handed over whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from eyasd.core.errors import StorageFailed
from eyasd.pod.layout import place, receive, send
from eyasd.storage.local import LocalStore

PLACE = place("j1", 2, "in")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "job"
    (made / "base").mkdir(parents=True)
    (made / "training.json").write_text("{}")
    (made / "base" / "weights").write_bytes(b"\x00" * 3_000_000)
    return made


def paths(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_folder_arrives_as_it_was(folder: Path, tmp_path: Path) -> None:
    store, target = LocalStore(tmp_path / "store"), tmp_path / "scratch"
    assert not receive(store, PLACE, target)
    for _ in range(2):  # the answer was lost
        send(store, PLACE, folder, paths(folder))
    assert receive(store, PLACE, target)
    found = {path.relative_to(target).as_posix(): path.read_bytes() for path in paths(target)}
    assert found == {"training.json": b"{}", "base/weights": b"\x00" * 3_000_000}


def test_nothing_is_there_before_the_list_is(folder: Path, tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    store.write_file(f"{PLACE}/training.json", folder / "training.json")
    assert not receive(store, PLACE, tmp_path / "scratch")


@pytest.mark.parametrize("content", [None, b"[]", b""])
def test_what_is_not_what_the_list_says_is_told(folder: Path, tmp_path: Path, content: bytes | None) -> None:
    store = LocalStore(tmp_path / "store")
    send(store, PLACE, folder, paths(folder))
    key = f"{PLACE}/training.json"
    if content is None:
        store.delete(key)
    else:
        store.write(key, content)
    with pytest.raises(StorageFailed, match=r"training\.json"):
        receive(store, PLACE, tmp_path / "scratch")


def test_no_list_leads_out_of_the_folder(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    store.write(f"{PLACE}.json", b'{"files": [{"path": "../up", "size": 0, "sha256": ""}]}')
    with pytest.raises(StorageFailed, match="outside"):
        receive(store, PLACE, tmp_path / "scratch")
    assert not (tmp_path / "up").exists()
