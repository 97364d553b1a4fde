"""jobs.gpus: which GPUs there are, and who gets which."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from eyasd.jobs.gpus import gpu_count, take


@pytest.mark.parametrize(
    ("present", "visible", "expected"),
    [
        (0, None, 0),
        (4, None, 4),
        (4, "2", 1),
        (4, "0, 3", 2),
        (4, "GPU-aa,GPU-bb", 2),
        (4, "", 0),
        (4, "-1", 0),
        (4, "1,-1,2", 1),
        (0, "0,1", 0),
    ],
)
def test_the_gpus_that_cuda_would_see_are_counted(tmp_path: Path, present: int, visible: str | None, expected: int) -> None:
    for gpu in range(present):
        (tmp_path / f"0000:{gpu:02}:00.0").mkdir()
    assert gpu_count({} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}, tmp_path) == expected


def test_free_gpus_are_given_first_and_are_free_again_when_nobody_holds_their_lock(tmp_path: Path) -> None:
    gpus = ["0", "GPU-a/b", "2"]
    with ExitStack() as one:
        given, held = take(gpus, 2, tmp_path, one)
        assert (given, len(held)) == (["0", "GPU-a/b"], 2)
        with ExitStack() as two:
            given, held = take(gpus, 2, tmp_path, two)
            assert (given, len(held)) == (["2", "0"], 1)  # one is shared
            copy = os.dup(held[0])
        with ExitStack() as three:
            assert take(gpus, 1, tmp_path, three)[0] == ["0"]  # none is free while somebody has a copy
        os.close(copy)
        with ExitStack() as four:
            assert take(gpus, 1, tmp_path, four)[0] == ["2"]
    with ExitStack() as five:
        assert take(gpus, 8, tmp_path, five)[0] == gpus
        assert take([], 8, tmp_path / "none", five) == ([], [])
    assert not (tmp_path / "none").exists()
