"""Small datasets of coloured squares, and jobs on them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from torch.onnx._internal.exporter._registration import ONNXRegistry

from eyasd.core import document, jobdir
from eyasd.core.bundle import MANIFEST, Manifest, read_manifest
from eyasd.core.errors import BadDataset
from eyasd.core.jobdir import ProgressLine
from eyasd.core.jobs import JobError
from eyasd.core.spec import TrainSpec
from eyasd.core.tasks import TrainingTask
from eyasd.training import __main__ as program
from eyasd.training.data.archive import unpack
from eyasd.training.journal import FINE_TUNE_SHARES, Journal

from .tuning.colours import EVERY_CHANGE

# Batch normalisation by the kept statistics, as with pre-trained weights, and neither dropout nor drop path: what is left to chance
# is the same in any number of processes.
TINY: dict[str, Any] = {"backbone": "test_resnet", "pretrained": False, "image_size_px": 32, "batch_size": 9, "dropout": 0.0}
TINY |= {"learning_rate": 1e-3, "early_stopping_patience": 400, **EVERY_CHANGE, "drop_path_rate": 0.0}
COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (40, 60, 220)}


def save_square(path: Path, colour: tuple[int, int, int], seed: int, px: int = 40) -> None:
    """Writes a noisy square; another seed is another file."""
    noise = np.random.default_rng(seed).integers(-30, 30, (px, px, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)).save(path)


@pytest.fixture(scope="session", autouse=True)
def operators() -> Iterator[None]:
    """The exporter reads what operators there are from their sources, each time: two fifths of a tiny network's export."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ONNXRegistry, "from_torchlib", staticmethod(cache(ONNXRegistry.from_torchlib)))
        yield


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny networks are slower on as many threads as a training takes than on one."""
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "set_num_threads", lambda count: None)
        yield


@pytest.fixture
def squares(tmp_path: Path) -> Callable[..., Path]:
    """Builds a dataset: a folder a label, with that many pictures, in the splits named or in none."""

    def build(counts: Mapping[str, int] | None = None, splits: tuple[str, ...] = ("",), name: str = "data") -> Path:
        root = tmp_path / name
        seed = 0
        for split in splits:
            for label, count in (counts or {"red": 12, "green": 12, "blue": 12}).items():
                for _ in range(count):
                    seed += 1
                    save_square(root / split / label / f"{seed:03}.png", COLOURS.get(label, (seed % 255, 99, 99)), seed)
        return root

    return build


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    journal = Journal(tmp_path / jobdir.PROGRESS, FINE_TUNE_SHARES)
    journal.stage("audit")
    return journal


@dataclass(frozen=True)
class JobFolder:
    """A JOB_DIR and how to read it."""

    path: Path

    def lines(self) -> list[ProgressLine]:
        return [document.load(ProgressLine, line) for line in (self.path / jobdir.PROGRESS).read_text().splitlines()]

    def messages(self) -> list[str]:
        return [line.message for line in self.lines() if line.message]

    def stages(self) -> list[str]:
        return list(dict.fromkeys(line.progress.stage for line in self.lines() if line.progress))

    def manifest(self) -> Manifest:
        return read_manifest((self.path / jobdir.BUNDLE / MANIFEST).read_bytes())


def run(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the program in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "eyasd.training", str(folder)],
        capture_output=True, text=True, timeout=200, check=False, env={**os.environ, **environment},
    )  # fmt: skip


def error_of(folder: Path) -> JobError:
    return document.load(JobError, (folder / jobdir.ERROR).read_bytes())


def main_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Runs the program in this process."""
    monkeypatch.setattr(sys, "argv", ["eyasd.training", str(folder)])
    monkeypatch.setattr(program, "restart_tuned", lambda: None)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    return program.main()


@pytest.fixture
def job(tmp_path: Path) -> Callable[..., JobFolder]:
    """Builds the folder of a training job, or writes the task of another attempt into it."""

    def build(
        dataset: Path, spec: TrainSpec, name: str = "job", deadline: datetime | None = None, weights: Path | None = None
    ) -> JobFolder:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        task = TrainingTask(
            job="j1",
            attempt=1,
            model="squares",
            dataset=str(dataset),
            spec=spec,
            weights=str(weights) if weights else None,
            hub=False,
            deadline=deadline,
        )
        (folder / jobdir.TRAINING).write_text(document.dump(task))
        return JobFolder(folder)

    return build


@pytest.fixture
def folder(squares: Callable[..., Path], job: Callable[..., Any]) -> Callable[..., Path]:
    """Builds the folder of a job."""
    data = squares()
    save_file(timm.create_model("test_resnet", num_classes=0).state_dict(), data.parent / "test_resnet.safetensors")

    def build(name: str, **wishes: Any) -> Path:
        path: Path = job(data, TrainSpec(**{**TINY, **wishes}), name).path
        task = json.loads((path / jobdir.TRAINING).read_text())
        (path / jobdir.TRAINING).write_text(json.dumps({**task, "weights": str(data.parent)}))
        return path

    return build


@pytest.fixture
def finished(job: Callable[..., JobFolder], monkeypatch: pytest.MonkeyPatch) -> Callable[..., JobFolder]:
    """Runs a training job, built as `job` builds it, to its success."""

    def run(*task: Any, **options: Any) -> JobFolder:
        folder = job(*task, **options)
        assert main_on(folder.path, monkeypatch) == jobdir.OK
        return folder

    return run


@pytest.fixture
def job_dir(tmp_path: Path) -> Path:
    """JOB_DIR, in a folder where anything that leaves it would be seen."""
    (tmp_path / "house" / "job").mkdir(parents=True)
    return tmp_path / "house" / "job"


@pytest.fixture
def refusal(tmp_path: Path, job_dir: Path, journal: Journal) -> Iterator[Callable[[str, bytes], str]]:
    """Unpacks what must be refused; returns why. Nothing may be left of it."""

    def refused(name: str, content: bytes) -> str:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadDataset) as caught:
            unpack(tmp_path / name, job_dir, journal)
        return caught.value.message

    yield refused
    assert list(job_dir.iterdir()) == []
    assert list(job_dir.parent.iterdir()) == [job_dir]
    assert not (tmp_path / "evil").exists()
