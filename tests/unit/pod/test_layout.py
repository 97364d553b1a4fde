"""pod.layout: a folder is handed over whole or not at all, and of what several pods left, the newest whole counts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from eyasd.core.errors import StorageFailed
from eyasd.pod.layout import NotWhole, add, claim, newest, paths, place, receive, receive_newest, send, withdraw
from eyasd.storage.local import LocalStore

PLACE = place("j1", 2, "in")
OUT = place("j1", 2, "out")


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "job"
    (made / "base").mkdir(parents=True)
    (made / "training.json").write_text("{}")
    (made / "base" / "weights").write_bytes(b"\x00" * 3_000_000)
    return made


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_folder_arrives_as_it_was(store: LocalStore, folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "scratch"
    assert not receive(store, PLACE, target)
    for _ in range(2):  # the answer was lost
        send(store, PLACE, folder, files(folder))
    for _ in range(2):
        assert receive(store, PLACE, target)
    found = {path.relative_to(target).as_posix(): path.read_bytes() for path in files(target)}
    assert found == {"training.json": b"{}", "base/weights": b"\x00" * 3_000_000}
    assert paths(store, PLACE) == found.keys()
    withdraw(store, PLACE)
    assert store.keys("jobs") == []
    assert paths(store, PLACE) == frozenset()


def test_nothing_is_there_before_the_list_is(store: LocalStore, folder: Path, tmp_path: Path) -> None:
    store.write_file(f"{PLACE}/training.json", folder / "training.json")
    assert not receive(store, PLACE, tmp_path / "scratch")


@pytest.mark.parametrize("content", [None, b"[]", b""])
def test_what_is_not_what_the_list_says_is_told_and_changes_nothing(
    store: LocalStore, folder: Path, tmp_path: Path, content: bytes | None
) -> None:
    send(store, PLACE, folder, files(folder))
    key = f"{PLACE}/training.json"
    if content is None:
        store.delete(key)
    else:
        store.write(key, content)
    with pytest.raises(NotWhole, match=r"training\.json"):
        receive(store, PLACE, tmp_path / "scratch")
    assert list((tmp_path / "scratch").iterdir()) == []


def test_no_list_leads_out_of_the_folder(store: LocalStore, tmp_path: Path) -> None:
    store.write(f"{PLACE}.json", b'{"files": [{"path": "../up", "size": 0, "sha256": ""}]}')
    with pytest.raises(StorageFailed, match="outside"):
        receive(store, PLACE, tmp_path / "scratch")
    assert not (tmp_path / "up").exists()


def test_pods_of_one_attempt_have_numbers_of_their_own(store: LocalStore) -> None:
    assert [claim(store, "j1", 2) for _ in range(11)] == list(range(1, 12))
    assert claim(store, "j1", 3) == 1


def test_the_newest_whole_counts(store: LocalStore, tmp_path: Path) -> None:
    assert receive_newest(store, OUT, tmp_path / "target") is None
    for number in (1, 9, 10):
        left = tmp_path / str(number) / ("result.json" if number < 10 else "error.json")
        left.parent.mkdir()
        left.write_text(str(number))
        send(store, f"{OUT}/{number}", left.parent, [left])
    store.write(f"{OUT}/11/result.json", b"its list is not there yet")
    assert newest(store, OUT) == [f"{OUT}/{number}" for number in (10, 9, 1)]
    store.write(f"{OUT}/10/error.json", b"0")  # as no pod would
    assert receive_newest(store, OUT, tmp_path / "target") == f"{OUT}/9"
    assert {path.name: path.read_text() for path in files(tmp_path / "target")} == {"result.json": "9"}


def test_checkpoints_are_in_the_order_of_attempts_then_pods_then_numbers(store: LocalStore) -> None:
    for name in ("2-1-9", "2-1-10", "1-3-11", "10-1-1", "2-2-1"):
        store.write(f"c/{name}.json", b"")
    assert newest(store, "c") == [f"c/{name}" for name in ("10-1-1", "2-2-1", "2-1-10", "2-1-9", "1-3-11")]


def test_one_more_file_may_follow(store: LocalStore, folder: Path, tmp_path: Path) -> None:
    send(store, PLACE, folder, [folder / "training.json"])
    for content in ("1", "2"):
        (folder / "more").write_text(content)
        add(store, PLACE, folder, folder / "more")
    assert receive(store, PLACE, tmp_path / "scratch")
    assert {path.name: path.read_text() for path in files(tmp_path / "scratch")} == {"training.json": "{}", "more": "2"}


class Dying(LocalStore):
    """A store whose user is killed before one of its writes, or after it.

    Attributes:
        writes: how many are left.
        after: whether the last is still done.
    """

    def __init__(self, root: Path, writes: int, *, after: bool) -> None:
        super().__init__(root)
        self.writes, self.after = writes, after

    def write(self, key: str, content: bytes) -> None:
        self._count(lambda: super(Dying, self).write(key, content))

    def write_file(self, key: str, path: Path) -> None:
        self._count(lambda: super(Dying, self).write_file(key, path))

    def create(self, key: str, content: bytes) -> bool:
        created: list[bool] = []
        self._count(lambda: created.append(super(Dying, self).create(key, content)))
        return created[0]

    def _count(self, work: Callable[[], None]) -> None:
        self.writes -= 1
        if self.writes or self.after:
            work()
        if not self.writes:
            raise KeyboardInterrupt


def pod_that_leaves(store: LocalStore, folder: Path, **texts: str) -> None:
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text)
    number = claim(store, "j1", 2)
    send(store, f"{OUT}/{number}", folder, files(folder))


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("writes", [1, 2, 3, 4])
@pytest.mark.parametrize("again", [1, 2, 3, 4])
def test_pods_that_are_killed_at_any_write_leave_nothing_mixed(tmp_path: Path, writes: int, again: int, after: bool) -> None:
    first, second = {"result": "1" * 9, "log": "a"}, {"error": "2", "log": "b"}  # what the pods of one attempt come to differs
    for number, (count, texts) in enumerate(((writes, first), (again, second))):
        with pytest.raises(KeyboardInterrupt):
            pod_that_leaves(Dying(tmp_path / "store", count, after=after), tmp_path / str(number), **texts)
    receive_newest(LocalStore(tmp_path / "store"), OUT, tmp_path / "target")
    whole = [texts for count, texts in ((writes, first), (again, second)) if count == 4 and after]
    found = {path.name: path.read_text() for path in files(tmp_path / "target")}
    assert found == (whole[-1] if whole else {})
