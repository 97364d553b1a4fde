"""The training program itself on a disk that has too little room, at every size that matters."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.faults.conftest import Tell
from tests.faults.full.conftest import Disk

from builders import write_pictures
from eyasd.core import document, jobdir
from eyasd.core.jobs import JobError
from eyasd.core.spec import TrainSpec
from eyasd.core.tasks import TrainingTask

# What is left at the start: of 8 MB, of which a whole training takes about 4.
KILOBYTES = (0, 4, 8, 16, 64, 256, 512, 1024, 1536, 2048, 2560, 3072, 3584, 4096)


def train(job_dir: Path) -> int:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with (job_dir / jobdir.LOG).open("ab") as log:
        command = [sys.executable, "-m", "eyasd.training", job_dir]
        return subprocess.run(command, stdout=log, stderr=log, env=environment, check=False).returncode


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_it_says_that_there_is_no_room_and_ends_well_when_there_is(disk: Disk, tmp_path: Path, tell: Tell) -> None:
    photos = write_pictures(tmp_path / "photos", {"red": 12, "green": 12, "blue": 12})
    spec = TrainSpec(backbone="test_resnet", pretrained=False, epochs=2, image_size_px=64)
    told = 0
    for left in KILOBYTES:
        job_dir = disk.folder / str(left)
        job_dir.mkdir()
        task = TrainingTask(job="job", attempt=1, model="m", dataset=str(photos), spec=spec, weights=None, hub=False)
        (job_dir / jobdir.TRAINING).write_text(document.dump(task))
        disk.fill(left * 1024)
        status = train(job_dir)
        if status == jobdir.USER_ERROR:
            told += 1
            error = document.load(JobError, (job_dir / jobdir.ERROR).read_bytes())
            assert error.reason == "STORAGE_FAILED"
            assert "disk is full (" in error.message
            (job_dir / jobdir.ERROR).unlink()
        elif status == jobdir.NO_ROOM:
            told += 1
        if status:
            assert status in {jobdir.USER_ERROR, jobdir.NO_ROOM}, (job_dir / jobdir.LOG).read_text()
            assert not (job_dir / jobdir.RESULT).exists()
            disk.free()
            assert train(job_dir) == jobdir.OK, (job_dir / jobdir.LOG).read_text()
        assert (job_dir / jobdir.RESULT).exists()
        disk.free()
        for path in sorted(job_dir.rglob("*"), reverse=True):
            path.unlink() if not path.is_dir() else path.rmdir()
    assert 0 < told < len(KILOBYTES)
    tell("a training on a disk with 0 to 4,096 KB left", f"{len(KILOBYTES)}, of which {told} failed", "0")
