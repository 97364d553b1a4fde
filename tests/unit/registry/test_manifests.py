"""registry.manifests: what is remembered is what was asked for last, within its bounds."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders import write_bundle
from eyasd.core import bundle
from eyasd.core.bundle import MANIFEST, Manifest
from eyasd.core.errors import VersionNotFound
from eyasd.registry import manifests
from eyasd.registry.manifests import Manifests


class Source:
    """Reads the same manifest for every version below 100, and takes down which was asked for."""

    def __init__(self, folder: Path, size: int) -> None:
        self._manifest = bundle.read_manifest((write_bundle(folder) / MANIFEST).read_bytes())
        self._size = size
        self.asked: list[int] = []

    def read(self, model: str, version: int) -> tuple[Manifest, int]:
        """Returns it, as if its file were of that size."""
        self.asked.append(version)
        if version >= 100:
            raise VersionNotFound(f"Model {model!r} has no version {version}.")
        return self._manifest, self._size


@pytest.mark.parametrize(("size", "most"), [(1, 3), (100, 2)])
def test_those_that_were_asked_for_last_are_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, most: int
) -> None:
    monkeypatch.setattr(manifests, "_MOST", 3)
    monkeypatch.setattr(manifests, "_MOST_BYTES", 299)
    source = Source(tmp_path, size)
    known = Manifests(source.read)
    for version in (1, 2, 1, 3, 1, 4):
        assert known.get("colours", version).labels
    kept = [version for version in (1, 4, 3, 2) if known.get("colours", version) and source.asked.count(version) == 1]
    assert kept == [1, 4, 3][:most]


def test_one_that_is_larger_than_all_may_be_is_read_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifests, "_MOST_BYTES", 10)
    source = Source(tmp_path, 11)
    known = Manifests(source.read)
    assert known.get("colours", 1) is known.get("colours", 1)
    assert source.asked == [1, 1]


def test_what_is_not_there_is_asked_for_again(tmp_path: Path) -> None:
    source = Source(tmp_path, 1)
    known = Manifests(source.read)
    for _ in range(2):
        with pytest.raises(VersionNotFound):
            known.get("colours", 100)
    assert source.asked == [100, 100]
