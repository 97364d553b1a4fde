"""jobs.gpus: which GPUs there are, and who gets which."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from eyasd.jobs.gpus import gpu_count, take, taken
from eyasd.jobs.runner import DevicesTaken


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


def test_a_gpu_is_given_to_one_and_is_free_again_when_nobody_holds_its_lock(tmp_path: Path) -> None:
    gpus = ["0", "GPU-a/b", "2"]
    with ExitStack() as one:
        given, held = take(gpus, 2, tmp_path, one)
        assert (given, len(held), taken(gpus, tmp_path)) == (["0", "GPU-a/b"], 2, ["0", "GPU-a/b"])
        with ExitStack() as two, pytest.raises(DevicesTaken, match="It wants 2 of 3 GPUs, and 1 is free: it waits for them."):
            take(gpus, 2, tmp_path, two)
        with ExitStack() as three:  # which that has let go
            given, held = take(gpus, 1, tmp_path, three)
            assert given == ["2"]
            copy = os.dup(held[0])
        assert taken(gpus, tmp_path) == gpus  # while somebody has a copy
        os.close(copy)
        assert taken(gpus, tmp_path) == ["0", "GPU-a/b"]
    with ExitStack() as five:
        assert take(gpus, 8, tmp_path, five)[0] == gpus
        assert take([], 8, tmp_path / "none", five) == ([], [])
    assert not (tmp_path / "none").exists()
