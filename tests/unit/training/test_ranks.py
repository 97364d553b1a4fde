"""Several processes train together as one would, stop together, and fail with one voice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from eyasd.core import document, jobdir
from eyasd.core.bundle import MANIFEST, read_manifest
from eyasd.core.evaluation import EpochMetrics
from eyasd.core.jobdir import CHECKPOINT
from eyasd.core.jobs import JobError
from eyasd.training.ranks import ALONE, Ranks
from eyasd.training.tuning.augment import Augmentation
from eyasd.training.tuning.batches import Batches
from waits import wait_until

from .tuning.colours import EVERY_CHANGE, colours, recipe_of

# In a process of its own, too: another number of threads fits another head, in the last digits.
ONE = (sys.executable, "-m", "eyasd.training")
TWO = (sys.executable, "-m", "eyasd.training.launch", "2")
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "eyasd.training")


def run(command: tuple[str, ...], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*command, str(folder)], capture_output=True, text=True, timeout=200, check=False)


def run_each(*runs: tuple[tuple[str, ...], Path]) -> list[subprocess.CompletedProcess[str]]:
    """Runs several at the same time: they mostly import."""
    with ThreadPoolExecutor(len(runs)) as threads:
        return list(threads.map(lambda one: run(*one), runs))


def history_of(folder: Path) -> tuple[EpochMetrics, ...]:
    return read_manifest((folder / jobdir.BUNDLE / MANIFEST).read_bytes()).history


def assert_alike(one: Path, other: Path) -> None:
    """The figures of every epoch, and the weights, their best and their average at the end, but for the order of additions."""
    for expected, found in zip(history_of(one), history_of(other), strict=True):
        assert (found.epoch, found.accuracy) == (expected.epoch, expected.accuracy)
        assert (found.train_loss, found.loss) == pytest.approx((expected.train_loss, expected.loss), rel=1e-4, abs=1e-6)
    states = [load_file(folder / CHECKPOINT) for folder in (one, other)]
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, rtol=1e-3, atol=1e-4, msg=lambda text, name=name: f"{name}: {text}")


class Part(Ranks):
    """One of several processes, as far as sharing goes."""

    def __init__(self, rank: int, world: int) -> None:
        self.rank, self.world = rank, world

    def share(self, rows: np.ndarray) -> np.ndarray:
        return np.array_split(rows, self.world)[self.rank]


@pytest.mark.parametrize("mixing", [{}, {"mixup_alpha": 0.4, "cutmix_alpha": 1.0}])
@pytest.mark.parametrize("world", [2, 3, 20])
def test_the_batches_of_all_processes_are_those_of_one(world: int, mixing: dict[str, float]) -> None:
    images, data = colours()
    recipe = recipe_of(**EVERY_CHANGE, **mixing)
    whole, *parts = (
        list(Batches(recipe, images, data, torch.device("cpu"), ranks).of_epoch(2, 1))
        for ranks in (ALONE, *(Part(rank, world) for rank in range(world)))
    )
    for expected, *found in zip(whole, *parts, strict=True):
        assert torch.allclose(torch.cat([batch.pixels for batch in found]), expected.pixels, atol=1e-3)
        assert torch.equal(torch.cat([batch.targets for batch in found]), expected.targets)
        assert {batch.size for batch in found} == {expected.size} == {15}


def test_a_picture_is_changed_the_same_way_whoever_is_here() -> None:
    augmentation = Augmentation(rotation_degrees=20, min_crop_fraction=0.5, color_fraction=0.3, erasing_probability=0.5)
    pixels = torch.rand(6, 3, 16, 16) * 255
    flipped = torch.arange(6) % 2 == 0
    whole = augmentation.apply(pixels, flipped, torch.Generator().manual_seed(0))
    chosen = torch.tensor([4, 1])
    assert torch.allclose(augmentation.apply(pixels[chosen], flipped, torch.Generator().manual_seed(0), chosen), whole[chosen])


@pytest.mark.parametrize(
    "wishes", [{}, {"mixup_alpha": 0.4, "cutmix_alpha": 1.0, "pretrained": True, "optimizer": "sgd", "learning_rate": 1e-4}]
)
def test_two_processes_train_as_one(folder: Callable[..., Path], wishes: dict[str, Any]) -> None:
    one, two = folder("one", epochs=3, **wishes), folder("two", epochs=3, **wishes)
    alone, done = run_each((ONE, one), (TWO, two))
    assert alone.returncode == jobdir.OK
    assert (done.returncode, done.stderr) == (jobdir.OK, "")
    assert_alike(one, two)
    told = [json.loads(line).get("message") or "" for line in (two / jobdir.PROGRESS).read_text().splitlines()]
    assert sum(message.startswith("Kept the weights of") for message in told) == 1  # one process writes


def children(pid: int) -> Iterator[int]:
    """Returns the processes that a process has started, oldest first."""
    return map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def test_one_process_that_is_told_to_stop_stops_all_at_the_same_step(folder: Callable[..., Path]) -> None:
    cut, whole = folder("cut", epochs=12), folder("whole", epochs=12)
    process = subprocess.Popen([*TWO, str(cut)])
    wait_until((cut / CHECKPOINT).exists)
    os.kill(list(children(process.pid))[1], signal.SIGTERM)
    assert process.wait(100) == jobdir.TERMINATED
    assert not (cut / jobdir.RESULT).exists()
    assert not (cut / jobdir.ERROR).exists()
    assert [done.returncode for done in run_each((ONE, cut), (ONE, whole))] == [jobdir.OK] * 2
    assert "Went on from the checkpoint of an earlier attempt, after epoch" in (cut / jobdir.PROGRESS).read_text()
    assert_alike(whole, cut)


def test_under_torchrun_it_is_the_same(folder: Callable[..., Path]) -> None:
    """And a job that has nothing to fine-tune does not keep the other processes."""
    path = folder("head", epochs=0)
    done = run(TORCHRUN, path)
    assert done.returncode == jobdir.OK, done.stderr
    assert [epoch.epoch for epoch in history_of(path)] == [0]


def test_a_failure_of_the_first_ends_those_that_wait(folder: Callable[..., Path]) -> None:
    path = folder("failed", epochs=1)
    task = json.loads((path / jobdir.TRAINING).read_text())
    (path / jobdir.TRAINING).write_text(json.dumps({**task, "dataset": "/nowhere"}))
    done = run(TWO, path)
    assert (done.returncode, done.stderr) == (jobdir.USER_ERROR, "")
    assert document.load(JobError, (path / jobdir.ERROR).read_bytes()).reason == "DATASET_NOT_FOUND"
