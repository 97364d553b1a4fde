"""The training program itself on a disk that has too little room, at every size that matters."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.faults.conftest import Tell
from tests.faults.disk import Disk

from builders import write_pictures
from eyasd.core import document, jobdir
from eyasd.core.jobs import JobError
from eyasd.core.spec import TrainSpec
from eyasd.core.tasks import TrainingTask

# What is left at the start: a whole training takes 11 MB, 7 of them for a checkpoint, which it does without.
NEVER, ALWAYS = (0, 256, 2048), (20_480,)


def train(job_dir: Path) -> int:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with (job_dir / jobdir.LOG).open("ab") as log:
        command = [sys.executable, "-m", "eyasd.training", job_dir]
        return subprocess.run(command, stdout=log, stderr=log, env=environment, check=False).returncode


@pytest.mark.long
@pytest.mark.parametrize("disk", [24], indirect=True)
@pytest.mark.parametrize("left", [*NEVER, 8192, *ALWAYS])
def test_it_says_that_there_is_no_room_and_ends_well_when_there_is(disk: Disk, tmp_path: Path, left: int, tell: Tell) -> None:
    photos = write_pictures(tmp_path / "photos", {"red": 12, "green": 12, "blue": 12})
    spec = TrainSpec(backbone="test_resnet", pretrained=False, epochs=2, image_size_px=64)
    task = TrainingTask(job="job", attempt=1, model="m", dataset=str(photos), spec=spec, weights=None, hub=False)
    job_dir = disk.folder
    (job_dir / jobdir.TRAINING).write_text(document.dump(task))
    disk.fill(left * 1024)
    status = train(job_dir)
    if status == jobdir.USER_ERROR:
        error = document.load(JobError, (job_dir / jobdir.ERROR).read_bytes())
        assert (error.reason, "disk is full (" in error.message) == ("STORAGE_FAILED", True)
        (job_dir / jobdir.ERROR).unlink()
    if status:
        assert status in {jobdir.USER_ERROR, jobdir.NO_ROOM}, (job_dir / jobdir.LOG).read_text()
        assert not (job_dir / jobdir.RESULT).exists()
        disk.free()
        assert train(job_dir) == jobdir.OK, (job_dir / jobdir.LOG).read_text()
    assert (job_dir / jobdir.RESULT).exists()
    assert status or left not in NEVER
    assert not status or left not in ALWAYS
    tell(f"a training on a disk with {left:,} KB left: ends with {status}, and well when there is room", "1", "0")
