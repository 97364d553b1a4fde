"""registry.keys: everybody who reads a repository gets the same key, which no list and no back-up shows."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from eyasd.registry.keys import shared_key
from eyasd.registry.models import Models
from eyasd.storage.local import LocalStore


def test_all_have_the_same_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: shared_key(LocalStore(tmp_path)), range(8)))
    assert len(keys) == 1
    assert len(keys.pop()) == 64
    assert LocalStore(tmp_path).keys("") == Models(LocalStore(tmp_path)).names() == []
