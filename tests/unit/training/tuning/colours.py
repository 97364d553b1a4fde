"""A small fine-tuning, of noisy pictures that are mostly red, green or blue, for the tests of its parts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from eyasd.core.evaluation import EpochMetrics
from eyasd.core.findings import DatasetReport
from eyasd.core.spec import TrainSpec
from eyasd.training.budget import Budget
from eyasd.training.data.audit import Audit
from eyasd.training.journal import Journal
from eyasd.training.network import Network, input_format
from eyasd.training.recipe import Recipe, resolve
from eyasd.training.tuning import length
from eyasd.training.tuning.loop import FineTuning

HOPELESS = EpochMetrics(0, 9.0, 9.0, 0.0, 0.0, 0.0, 0.0)
PERFECT = EpochMetrics(0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0)


def colours(count: int = 60) -> tuple[np.ndarray, Audit]:
    """Noisy pictures that are mostly red, green or blue."""
    random = np.random.default_rng(0)
    classes = np.arange(count) % 3
    images = random.integers(0, 120, (count, 32, 32, 3), np.uint8)
    images[np.arange(count), :, :, classes] += 80
    rows = np.arange(count)
    splits = {"train": rows[: count // 2], "validation": rows[count // 2 : -6], "test": rows[-6:]}
    return images, Audit(("r", "g", "b"), splits, classes, rows, np.zeros(count, np.bool_), DatasetReport((), (), (), ""))


def recipe_of(**wishes: object) -> Recipe:
    usual = {
        "backbone": "test_resnet",
        "pretrained": False,
        "image_size_px": 32,
        "batch_size": 16,
        "epochs": 3,
        "learning_rate": 3e-3,
    }
    return resolve(TrainSpec(**{**usual, **wishes}), 30, 160)


UNMOVED = {"rotation_degrees": 0.0, "shift_fraction": 0.0, "shear_degrees": 0.0, "zoom_fraction": 0.0, "min_crop_fraction": 1.0} | {
    "color_fraction": 0.0,
    "erasing_probability": 0.0,
}
EVERY_CHANGE = {"min_crop_fraction": 0.5, "color_fraction": 0.3, "erasing_probability": 0.5, "layer_decay": 0.8} | {
    "sampling_power": 0.5,
}


class Tuning:
    """A fine-tuning that can be begun again in the same folder."""

    def __init__(self, folder: Path, recipe: Recipe, budget: Budget | None = None, *, micro_batches: int = 1) -> None:
        folder.mkdir(exist_ok=True)
        self.images, self.data = colours()
        self.journal = Journal(folder / "progress.jsonl", {"fine-tune": 1})
        torch.manual_seed(0)
        self.network = Network(recipe, input_format(recipe.backbone), 3).eval()
        self.tuning = FineTuning(
            self.network,
            recipe,
            self.images,
            self.data,
            budget or Budget(),
            folder,
            f"key {recipe}",
            self.journal,
            micro_batches=micro_batches,
        )
        self.path = folder / "progress.jsonl"

    def run(self, head: EpochMetrics = HOPELESS) -> tuple[EpochMetrics, ...]:
        return self.tuning.run(head)

    def messages(self) -> list[str]:
        return [line["message"] for line in map(json.loads, self.path.read_text().splitlines()) if line.get("message")]

    def state(self) -> dict[str, torch.Tensor]:
        return {name: value.clone() for name, value in self.network.state_dict().items()}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


def short_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Validates within an epoch: every 3 steps of the 8 that an epoch has with 4 pictures a step."""
    monkeypatch.setattr(length, "_VALIDATION_STEPS", 3)
