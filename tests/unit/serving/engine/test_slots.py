"""serving.engine.slots: two processes see one memory, of one size."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from builders import write_bundle
from eyasd.core import bundle
from eyasd.serving.engine.slots import Arena, Shape


def test_what_one_side_writes_the_other_reads() -> None:
    shape = Shape(slots=5, side=7, labels=3, feature_map=(4, 2, 2))
    ours = Arena(shape)
    theirs = Arena(shape, os.dup(ours.descriptor))
    for mine, its in zip(arrays(ours), arrays(theirs), strict=True):
        assert mine.shape == its.shape
        mine[3] = 1
        assert (its[3] == 1).all()
        assert not its[2].any()
        assert not its[4].any()
    del mine, its
    before = mappings()
    for arena in (ours, theirs):
        arena.close()
    assert mappings() == before - 2


def mappings() -> int:
    return Path("/proc/self/maps").read_text().count("eyas-slots")


def arrays(arena: Arena) -> list[np.ndarray[tuple[int, ...], np.dtype[np.generic]]]:
    return [arena.pixels, arena.probabilities, arena.ood_scores, arena.feature_maps, arena.running]


def test_memory_of_another_size_is_refused_and_nobody_can_cut_it() -> None:
    arena = Arena(Shape(slots=5, side=70, labels=3))
    with pytest.raises(ValueError, match="the slots take"):
        Arena(Shape(slots=6, side=70, labels=3), arena.descriptor)
    with pytest.raises(PermissionError):
        os.ftruncate(arena.descriptor, 1)
    arena.close()


def test_large_pictures_have_fewer_slots(tmp_path: Path) -> None:
    manifest = bundle.read_manifest((write_bundle(tmp_path / "b") / bundle.MANIFEST).read_bytes())
    assert Shape.of(manifest, 16) == Shape(16, 32, 3, None)
    most = Shape.of(manifest, 10**9)
    assert 3 * 32 * 32 * most.slots <= 256 * 1024 * 1024
