"""core.locks: whether a process holds the lock on a file; one that has ended holds none."""

from __future__ import annotations

import fcntl
from pathlib import Path

from eyasd.core.locks import Lock, is_held, removed, unheld


def test_a_file_is_held_while_somebody_has_it_locked(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not is_held(path)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert is_held(path)
        assert not removed(path)
    assert not is_held(path)
    with unheld(path):  # who looks is in nobody's way who looks, too
        assert not is_held(path)
    assert removed(path)
    assert removed(path)
    assert not path.exists()


def test_a_lock_on_a_file_that_was_removed_is_none(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    first, second = Lock(path), Lock(path)
    assert first.taken()
    assert not second.taken()
    assert second.busy
    path.unlink()
    assert second.taken()  # that of another file
    first.close()
    assert is_held(path)
    second.close()
    assert not is_held(path)
