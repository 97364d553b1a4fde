"""How many processes a training takes, and which program it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from eyasd.jobs.local import LocalRunner, gpu_count
from eyasd.jobs.runner import Launch


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


@pytest.mark.parametrize(
    ("processes", "training", "program"),
    [(1, True, ("eyasd.training",)), (8, True, ("eyasd.training.launch", "8")), (8, False, ("eyasd.training",))],
)
def test_a_training_alone_takes_several_processes(processes: int, training: bool, program: tuple[str, ...]) -> None:
    assert LocalRunner(processes)._program(Launch(job="j", attempt=1, job_dir=Path("j"), training=training)) == program
