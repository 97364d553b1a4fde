"""The decoded pictures reach every machine of a training, whether they share a disk or not."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eyasd.training import together
from eyasd.training.data.cache import open_pixels
from eyasd.training.ranks import Ranks
from eyasd.training.together import reach

IMAGES = np.random.default_rng(0).integers(0, 256, (7, 4, 4, 3), np.uint8)


class Thread(Ranks):
    """One of two processes, as a thread."""

    def __init__(self, rank: int, meeting: threading.Barrier, said: list[Any]) -> None:
        self.rank, self.world = rank, 2
        self._meeting, self._said = meeting, said
        self.broadcasts = 0

    def any(self, flag: bool) -> bool:
        return any(self._exchanged(flag))

    def broadcast(self, value: Any) -> Any:
        self.broadcasts += 1
        return self._exchanged(value)[0]

    def wait(self) -> None:
        self._exchanged(None)

    def _exchanged(self, value: Any) -> list[Any]:
        self._said[self.rank] = value
        self._meeting.wait(100)
        said = list(self._said)
        self._meeting.wait(100)
        return said


@pytest.mark.parametrize("shared", [False, True])
def test_each_machine_sees_the_pictures_of_the_first(tmp_path: Path, shared: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "_PIECE_BYTES", 100)
    paths = [tmp_path / "0" / "pixels", tmp_path / ("0" if shared else "1") / "pixels"]
    paths[0].parent.mkdir()
    paths[0].write_bytes(IMAGES.tobytes())
    meeting, said = threading.Barrier(2), [None, None]
    ranks = [Thread(rank, meeting, said) for rank in range(2)]
    with ThreadPoolExecutor(2) as threads:
        works: list[Callable[[], None]] = [
            lambda: reach(paths[0], IMAGES.shape, ranks[0], IMAGES),
            lambda: reach(paths[1], IMAGES.shape, ranks[1]),
        ]
        for work in [threads.submit(work) for work in works]:
            work.result()
    assert np.array_equal(open_pixels(paths[1], IMAGES.shape), IMAGES)
    assert [one.broadcasts for one in ranks] == ([0, 0] if shared else [4, 4])  # two pictures a piece
    assert [path.name for path in paths[1].parent.iterdir()] == ["pixels"]
