"""Fine-tuning: the best weights are kept, time is kept, and an interruption changes nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from eyasd.core.errors import TrainerFailed
from eyasd.core.evaluation import EpochMetrics
from eyasd.core.spec import Loss, Optimizer, Schedule, TrainSpec
from eyasd.core.types import DatasetReport
from eyasd.training.budget import Budget
from eyasd.training.data.audit import Audit
from eyasd.training.journal import Interrupted, Journal
from eyasd.training.network import Network, input_format
from eyasd.training.recipe import Recipe, resolve
from eyasd.training.tuning import gradients, length, loop
from eyasd.training.tuning.average import copy_of
from eyasd.training.tuning.batches import Batch
from eyasd.training.tuning.checkpoint import CHECKPOINT
from eyasd.training.tuning.gradients import Gradients
from eyasd.training.tuning.loop import FineTuning
from eyasd.training.tuning.optimizer import build_optimizer
from eyasd.training.tuning.validate import logits_of, measure

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

    def __init__(self, folder: Path, recipe: Recipe, budget: Budget | None = None) -> None:
        folder.mkdir(exist_ok=True)
        self.images, self.data = colours()
        self.journal = Journal(folder / "progress.jsonl", {"fine-tune": 1})
        torch.manual_seed(0)
        self.network = Network(recipe, input_format(recipe.backbone), 3).eval()
        self.tuning = FineTuning(
            self.network, recipe, self.images, self.data, budget or Budget(), folder, f"key {recipe}", self.journal
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


def interrupt_after(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    step, done = FineTuning._step, 0

    def counting(self: FineTuning, batch: Batch) -> None:
        nonlocal done
        done += 1
        if done > steps:
            self._journal.stop()
        step(self, batch)

    monkeypatch.setattr(FineTuning, "_step", counting)


def interrupted(folder: Path, monkeypatch: pytest.MonkeyPatch, recipe: Recipe, steps: int) -> Tuning:
    """Returns a training that was interrupted after `steps` steps, taken up, and ended as an uninterrupted one."""
    whole = Tuning(folder / "whole", recipe)
    history = whole.run()
    with monkeypatch.context() as patch:
        interrupt_after(patch, steps)
        with pytest.raises(Interrupted):
            Tuning(folder / "cut", recipe).run()
    again = Tuning(folder / "cut", recipe)
    assert again.run() == history
    assert equal(whole.state(), again.state())
    return again


def test_it_learns(tmp_path: Path) -> None:
    history = Tuning(tmp_path, recipe_of(epochs=12)).run()
    assert [epoch.epoch for epoch in history] == list(range(13))
    assert max(epoch.accuracy for epoch in history) > 0.9
    assert history[-1].train_loss < history[1].train_loss


def test_it_ends_with_the_best_weights_of_all_epochs_or_with_better_ones(tmp_path: Path) -> None:
    tuning = Tuning(tmp_path, recipe_of(epochs=6, learning_rate=0.03))
    history = tuning.run()
    rows = tuning.data.rows["validation"]
    logits = logits_of(tuning.network, tuning.images, rows, tuning.journal)
    found = measure(0, 0.0, logits, tuning.data.targets[rows], Loss.CROSS_ENTROPY)
    assert found.loss <= min(epoch.loss for epoch in history)
    assert f"loss {found.loss:.3f}" in tuning.messages()[-1]
    assert tuning.tuning.logits == pytest.approx(logits, abs=1e-5)


def test_it_never_ends_worse_than_it_began(tmp_path: Path) -> None:
    tuning = Tuning(tmp_path, recipe_of())
    before = tuning.state()
    tuning.run(PERFECT)
    assert equal(before, tuning.state())
    assert "Kept the weights of the head on the frozen backbone" in tuning.path.read_text()
    assert tuning.tuning.logits is None


def test_the_answers_of_the_head_are_those_of_the_network_where_it_is_kept(tmp_path: Path) -> None:
    tuning, logits = Tuning(tmp_path, recipe_of()), np.ones((24, 3), np.float32)
    tuning.tuning.run(PERFECT, logits)
    assert tuning.tuning.logits is logits
    again = Tuning(tmp_path, recipe_of())
    again.tuning.run(PERFECT, logits)
    assert again.tuning.logits is logits


def test_what_an_earlier_attempt_saw_is_not_taken_from_the_head(tmp_path: Path) -> None:
    Tuning(tmp_path, recipe_of(epochs=1, max_gradient_norm=0.0)).run()
    again = Tuning(tmp_path, recipe_of(epochs=1, max_gradient_norm=0.0))
    again.tuning._score = lambda name, state: None  # type: ignore[method-assign] # as if no time were left
    again.tuning.run(HOPELESS, np.ones((24, 3), np.float32))
    assert again.tuning.logits is None


def test_it_stops_early_when_nothing_gets_better(tmp_path: Path) -> None:
    tuning = Tuning(tmp_path, recipe_of(epochs=8, early_stopping_patience=2))
    assert len(tuning.run(PERFECT)) == 1 + 4  # in the first half the learning rate is too high to tell
    assert "stopped early at epoch 4: 4 validations without a lower loss" in tuning.path.read_text()


@pytest.mark.parametrize(
    ("optimizer", "steps"), [*((Optimizer.ADAMW, steps) for steps in range(6)), *((optimizer, 3) for optimizer in Optimizer)]
)
def test_an_interrupted_training_ends_as_an_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: Optimizer, steps: int
) -> None:
    recipe = recipe_of(
        optimizer=optimizer, learning_rate=1e-3, dropout=0.5, drop_path_rate=0.5, schedule=Schedule.PLATEAU, **EVERY_CHANGE
    )
    again = interrupted(tmp_path, monkeypatch, recipe, steps)
    assert f"an earlier attempt, after epoch {steps // 2}, step {steps + 1}" in again.path.read_text()


def short_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Validates within an epoch: every 3 steps of the 8 that an epoch has with 4 pictures a step."""
    monkeypatch.setattr(length, "_VALIDATION_STEPS", 3)


def test_a_training_ends_with_its_samples_within_an_epoch(tmp_path: Path) -> None:
    tuning = Tuning(tmp_path, recipe_of(samples=49, epochs=None, batch_size=4))
    assert [figures.epoch for figures in tuning.run()] == [0, 1, 2]
    assert tuning.tuning._standing.step == 14  # of 8 an epoch, 30 pictures; 13 would have been 48.75 of them


@pytest.mark.parametrize("samples", [1, 29])
def test_less_than_an_epoch_is_a_training_too(tmp_path: Path, samples: int) -> None:
    history = Tuning(tmp_path, recipe_of(samples=samples, epochs=None, batch_size=4)).run()
    assert [figures.epoch for figures in history] == [0, 1]


def test_a_long_epoch_is_measured_within(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short_rounds(monkeypatch)
    tuning = Tuning(tmp_path, recipe_of(epochs=2, batch_size=4))
    assert [figures.epoch for figures in tuning.run()] == [0, 1, 1, 1, 2, 2, 2]  # after 3, 6, 8, 11, 14 and 16 steps


@pytest.mark.parametrize("steps", [0, 2, 3, 7, 8, 13, 15])
def test_parts_of_epochs_are_interrupted_as_whole_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    short_rounds(monkeypatch)
    recipe = recipe_of(epochs=2, batch_size=4, dropout=0.5, drop_path_rate=0.5, **EVERY_CHANGE)
    interrupted(tmp_path, monkeypatch, recipe, steps)


def test_steps_between_two_places_are_those_of_their_epoch(tmp_path: Path) -> None:
    found = Tuning(tmp_path, recipe_of(batch_size=4)).tuning._batches
    epoch = [batch.pixels for batch in found.of_epoch(2)]
    assert len(epoch) == 8
    for first, last in ((8, 16), (10, 15), (15, 16)):
        between = [batch.pixels for batch in found.between(first, last)]
        assert all(torch.equal(one, other) for one, other in zip(between, epoch[first - 8 : last - 8], strict=True))
    assert list(found.between(8, 8)) == []


def test_a_killed_training_loses_what_came_after_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Tuning(tmp_path / "whole", recipe_of())
    history = whole.run()
    step = FineTuning._step

    def killed(self: FineTuning, batch: Batch) -> None:
        self._checkpoint_seconds = 0.0
        if self._standing.step == 3:
            raise KeyboardInterrupt  # nobody catches it, as nobody catches a signal 9
        step(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(FineTuning, "_step", killed)
        with pytest.raises(KeyboardInterrupt):
            Tuning(tmp_path / "cut", recipe_of()).run()
    again = Tuning(tmp_path / "cut", recipe_of())
    assert again.run() == history
    assert equal(whole.state(), again.state())
    assert "after epoch 1, step 3" in again.path.read_text()


def test_a_loss_that_is_no_number_ends_the_training_with_a_sentence(tmp_path: Path) -> None:
    tuning = Tuning(tmp_path, recipe_of())
    with torch.no_grad():
        tuning.network.head[-1].weight.fill_(float("nan"))
    with pytest.raises(
        TrainerFailed, match=r"The training diverged: its loss was nan by step 1\. Choose a learning_rate below 0.003\."
    ):
        tuning.run()
    assert not (tmp_path / CHECKPOINT).exists()


@pytest.mark.parametrize("interval", [2, 5, 16])
def test_a_loss_that_is_seldom_read_is_the_same(tmp_path: Path, interval: int) -> None:
    often, seldom = Tuning(tmp_path / "often", recipe_of()), Tuning(tmp_path / "seldom", recipe_of())
    seldom.tuning._read_interval = interval
    assert seldom.run() == often.run()
    assert equal(often.state(), seldom.state())


def test_what_comes_of_a_loss_that_is_no_number_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = FineTuning._step

    def stopped(self: FineTuning, batch: Batch) -> None:
        step(self, batch)
        with torch.no_grad():
            self._network.head[-1].weight.fill_(float("nan"))
        if self._standing.step:
            self._journal.stop()  # at a step after which the loss would not be read

    monkeypatch.setattr(FineTuning, "_step", stopped)
    tuning = Tuning(tmp_path, recipe_of(batch_size=2))
    tuning.tuning._read_interval = 16
    with pytest.raises(TrainerFailed, match="its loss was nan by step 2"):
        tuning.run()
    assert not (tmp_path / CHECKPOINT).exists()


def test_a_batch_that_does_not_fit_is_taken_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = recipe_of(batch_size=8, epochs=2, dropout=0.0)  # a small batch: normalised by the kept statistics
    whole = Tuning(tmp_path / "whole", recipe)
    history = whole.run()
    forward = Network.forward

    def small_memory(self: Network, pixels: torch.Tensor) -> torch.Tensor:
        if self.training and len(pixels) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, pixels)

    monkeypatch.setattr(Network, "forward", small_memory)
    parts = Tuning(tmp_path / "parts", recipe)
    found = parts.run()
    assert [epoch.train_loss for epoch in found] == pytest.approx([epoch.train_loss for epoch in history], rel=1e-3)
    assert [message for message in parts.messages() if "memory" in message] == [
        f"The memory was too small: each step now takes {pictures} pictures at a time." for pictures in (4, 2)
    ]


def test_a_compiled_network_learns_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = recipe_of(epochs=2, dropout=0.0)
    history = Tuning(tmp_path / "plain", recipe).run()
    monkeypatch.setattr(gradients, "pays_to_compile", lambda samples, device: True)
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))  # all but the machine code
    compiled = Tuning(tmp_path / "compiled", recipe)
    found = compiled.run()
    assert [epoch.train_loss for epoch in found] == pytest.approx([epoch.train_loss for epoch in history], rel=1e-4)
    assert [epoch.loss for epoch in found] == pytest.approx([epoch.loss for epoch in history], rel=1e-4)
    again = Tuning(tmp_path / "compiled", recipe)  # its checkpoint has the plain names
    assert again.run() == found


def test_memory_for_not_even_one_picture_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(self: Network, pixels: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    tuning = Tuning(tmp_path, recipe_of())
    monkeypatch.setattr(Gradients, "_of_part", lambda self, pixels, targets, size: no_memory(self._network, pixels))
    with pytest.raises(torch.OutOfMemoryError):
        tuning.run()


def test_in_any_two_epochs_a_picture_is_seen_from_both_sides(tmp_path: Path) -> None:
    recipe = replace(recipe_of(), **UNMOVED)
    tuning = Tuning(tmp_path, recipe)
    seen = [
        {
            tuple(image.flatten().round().int().tolist())
            for batch in tuning.tuning._batches.of_epoch(epoch)
            for image in batch.pixels
        }
        for epoch in (1, 2)
    ]
    pictures = torch.from_numpy(tuning.images[tuning.data.rows["train"]]).permute(0, 3, 1, 2).int()
    for picture in pictures:
        sides = {tuple(picture.flatten().tolist()), tuple(picture.flip(2).flatten().tolist())}
        assert [len(sides & epoch) for epoch in seen] == [1, 1]
        assert sides <= seen[0] | seen[1]


def test_a_finished_training_is_not_trained_again(tmp_path: Path) -> None:
    first = Tuning(tmp_path, recipe_of())
    first.run()
    again = Tuning(tmp_path, recipe_of())
    again.tuning._step = None  # type: ignore[assignment, method-assign]
    again.run()
    assert equal(first.state(), again.state())


def test_a_stopped_training_stays_stopped(tmp_path: Path) -> None:
    recipe = recipe_of(epochs=8, early_stopping_patience=2)
    history = Tuning(tmp_path, recipe).run(PERFECT)
    assert Tuning(tmp_path, recipe).run(PERFECT) == history


def test_another_seed_or_recipe_begins_anew(tmp_path: Path) -> None:
    first = Tuning(tmp_path, recipe_of())
    first.run()
    other = Tuning(tmp_path, recipe_of(seed=1))
    other.run()
    assert not equal(first.state(), other.state())
    assert "Went on" not in other.path.read_text()


@pytest.mark.parametrize("damage", [lambda content: content[: len(content) // 2], lambda content: b"\0" * 100, lambda content: b""])
def test_a_damaged_checkpoint_is_ignored_and_said(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    first = Tuning(tmp_path, recipe_of())
    history = first.run()
    (tmp_path / CHECKPOINT).write_bytes(damage((tmp_path / CHECKPOINT).read_bytes()))
    again = Tuning(tmp_path, recipe_of())
    assert again.run() == history
    assert "checkpoint of an earlier attempt was not used" in again.path.read_text()


class TestBudget:
    """Time is made of fake steps: the clocks that the loop reads are replaced."""

    @pytest.fixture
    def seconds(self, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        """The time now; every training step takes 10 s, everything else no time."""
        now = [0.0]
        step = FineTuning._step

        def slow(self: FineTuning, batch: Batch) -> None:
            now[0] += 10
            step(self, batch)

        monkeypatch.setattr(FineTuning, "_step", slow)
        monkeypatch.setattr(loop.time, "monotonic", lambda: now[0])
        monkeypatch.setattr(Budget, "left_seconds", lambda self: self.deadline.timestamp() - now[0])
        return now

    def budget(self, left: float) -> Budget:
        return Budget(datetime.fromtimestamp(left, UTC))

    def test_the_learning_rate_has_fallen_when_time_is_up(self, tmp_path: Path, seconds: list[float]) -> None:
        # 2 steps an epoch, 40 planned; 12.5 s are kept for the export, so that (250 - 12.5) / 10 = 23 steps fit.
        tuning = Tuning(tmp_path, recipe_of(epochs=20, early_stopping_patience=100), self.budget(250))
        history = tuning.run()
        assert seconds[0] == 230
        assert len(history) == 1 + 12
        assert tuning.tuning._optimizer.param_groups[-1]["lr"] < 0.01 * 3e-3
        assert "room for 23 of 40 steps" in tuning.path.read_text()

    def test_without_time_the_head_is_kept(self, tmp_path: Path, seconds: list[float]) -> None:
        tuning = Tuning(tmp_path, recipe_of(), self.budget(5))
        before = tuning.state()
        assert tuning.run() == (HOPELESS,)
        assert equal(before, tuning.state())
        assert "room for 0 of 6 steps" in tuning.path.read_text()

    def test_a_machine_that_slows_down_is_stopped_in_time(self, tmp_path: Path, seconds: list[float], monkeypatch) -> None:
        slow = FineTuning._step

        def slower(self: FineTuning, batch: Batch) -> None:
            seconds[0] += 300 if seconds[0] > 40 else 0
            slow(self, batch)

        monkeypatch.setattr(FineTuning, "_step", slower)
        Tuning(tmp_path, recipe_of(epochs=20, early_stopping_patience=100), self.budget(300)).run()
        assert seconds[0] == 360

    def test_enough_time_changes_nothing(self, tmp_path: Path, seconds: list[float]) -> None:
        timed, free = Tuning(tmp_path / "timed", recipe_of(), self.budget(10_000)), Tuning(tmp_path / "free", recipe_of())
        timed.run()
        free.tuning.pace.budget = self.budget(1e9)
        free.run()
        assert equal(timed.state(), free.state())


def test_a_deadline_is_counted_down() -> None:
    assert Budget().left_seconds() == float("inf")
    assert 59 < Budget(datetime.now(UTC) + timedelta(seconds=60)).left_seconds() <= 60


@pytest.mark.parametrize("optimizer", list(Optimizer))
def test_each_optimizer_learns_at_its_own_learning_rate(tmp_path: Path, optimizer: Optimizer) -> None:
    history = Tuning(tmp_path, recipe_of(optimizer=optimizer, learning_rate=None, epochs=6)).run()
    assert history[-1].train_loss < history[1].train_loss


# SGD's steps follow the size of the gradients, LAMB's that of the weights.
@pytest.mark.parametrize("optimizer", sorted({*Optimizer} - {Optimizer.SGD, Optimizer.SGDW, Optimizer.LAMB}))
def test_the_default_learning_rates_make_steps_of_about_the_size_of_adamw_s(optimizer: Optimizer) -> None:
    recipe = recipe_of(optimizer=optimizer, learning_rate=None, weight_decay=0.0)
    network = Network(recipe, input_format("test_resnet"), 3)
    noise, stepping = torch.Generator().manual_seed(0), build_optimizer(network, recipe)
    for _ in range(30):
        for parameter in network.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=noise)
        before = copy_of(network.state_dict())
        stepping.step()
    moved = network.backbone.layer4[0].conv1.weight.detach() - before["body.1.layer4.0.conv1.weight"]
    assert 0.23e-3 / 3 < float(moved.square().mean().sqrt()) < 0.23e-3 * 3


@pytest.mark.parametrize(("largest", "clipped"), [(0.0, False), (1e3, False), (1e-3, True)])
def test_gradients_are_scaled_down_to_the_largest_norm(tmp_path: Path, largest: float, clipped: bool) -> None:
    tuning = Tuning(tmp_path, recipe_of(epochs=1, max_gradient_norm=largest))
    tuning.run()
    norm = torch.stack([p.grad.norm() for p in tuning.network.parameters() if p.grad is not None]).norm()
    assert float(norm) == pytest.approx(1e-3, rel=1e-2) if clipped else float(norm) > 1e-2


def test_biases_and_normalisation_do_not_decay() -> None:
    recipe = recipe_of(weight_decay=0.1, backbone_learning_rate_ratio=0.25, learning_rate=0.008)
    network = Network(recipe, input_format("test_resnet"), 3)
    groups = build_optimizer(network, recipe).param_groups
    assert sum(len(group["params"]) for group in groups) == len(list(network.parameters()))
    assert all((p.ndim > 1) == (group["weight_decay"] == 0.1) for group in groups for p in group["params"])
    head = {id(p) for p in network.head.parameters()}
    assert all(group["lr"] == (0.008 if id(p) in head else 0.002) for group in groups for p in group["params"])


def test_each_layer_is_slower_than_the_next() -> None:
    recipe = recipe_of(layer_decay=0.5, backbone_learning_rate_ratio=1.0, learning_rate=0.008)
    network = Network(recipe, input_format("test_resnet"), 3)
    groups = build_optimizer(network, recipe).param_groups
    rate = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    backbone = network.backbone
    stem, first, last = (rate[id(next(part.parameters()))] for part in (backbone.conv1, backbone.layer1, backbone.layer4))
    assert stem < first < last <= 0.008
    assert {rate[id(parameter)] for parameter in network.head.parameters()} == {0.008}
    assert last / stem == pytest.approx(2 ** round(math.log2(last / stem)))


def test_a_ratio_of_zero_freezes_the_backbone(tmp_path: Path) -> None:
    tuning = Tuning(tmp_path, recipe_of(backbone_learning_rate_ratio=0.0))
    before = tuning.state()
    tuning.run()
    after = tuning.state()
    assert all(torch.equal(value, after[name]) for name, value in before.items() if name.startswith("body"))
    assert not equal(before, after)


@pytest.mark.parametrize(("wishes", "kept"), [({"pretrained": True}, True), ({"batch_size": 8}, True), ({"batch_size": 16}, False)])
def test_statistics_of_pretrained_weights_and_small_batches_are_kept(tmp_path: Path, wishes: dict[str, object], kept: bool) -> None:
    tuning = Tuning(tmp_path, recipe_of(epochs=1, **wishes))
    before = tuning.state()
    tuning.run()
    after = tuning.state()
    assert torch.equal(before["body.1.bn1.running_mean"], after["body.1.bn1.running_mean"]) == kept


def test_labels_stay_with_their_pictures(tmp_path: Path) -> None:
    tuning = Tuning(tmp_path, replace(recipe_of(horizontal_flip=False), **UNMOVED))
    for batch in tuning.tuning._batches.of_epoch(1):
        assert torch.equal(batch.pixels.mean((2, 3)).argmax(1), batch.targets)
