"""Fine-tuning: the best weights are kept, and it ends where it should."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from eyasd.core.errors import TrainerFailed
from eyasd.core.jobdir import CHECKPOINT
from eyasd.core.spec import Loss
from eyasd.training.tuning.batches import Batch
from eyasd.training.tuning.loop import FineTuning
from eyasd.training.tuning.validate import logits_of, measure

from .colours import PERFECT, Tuning, equal, recipe_of, short_rounds


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


def test_it_stops_early_when_nothing_gets_better(tmp_path: Path) -> None:
    tuning = Tuning(tmp_path, recipe_of(epochs=8, early_stopping_patience=2))
    assert len(tuning.run(PERFECT)) == 1 + 4  # in the first half the learning rate is too high to tell
    assert "stopped early at epoch 4: 4 validations without a lower loss" in tuning.path.read_text()


def test_each_validation_is_told_with_its_step_and_the_learning_rate_that_falls(tmp_path: Path) -> None:
    tuning = Tuning(tmp_path, recipe_of(epochs=3))  # of 2 steps an epoch
    tuning.run()
    lines = [json.loads(line).get("progress") for line in tuning.path.read_text().splitlines()]
    told: dict[int, tuple[int, float]] = {}
    for one in lines:
        if one and one.get("validation"):  # later lines repeat what was measured last, and that of the weights that are kept
            told.setdefault(one["validation"]["epoch"], (one["step"], one["learning_rate"]))
    assert [step for step, _ in told.values()] == [2, 4, 6]
    first, second, third = (rate for _, rate in told.values())
    assert 3e-3 >= first > second > third


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


@pytest.mark.parametrize(("wishes", "kept"), [({"pretrained": True}, True), ({"batch_size": 8}, True), ({"batch_size": 16}, False)])
def test_statistics_of_pretrained_weights_and_small_batches_are_kept(tmp_path: Path, wishes: dict[str, object], kept: bool) -> None:
    tuning = Tuning(tmp_path, recipe_of(epochs=1, **wishes))
    before = tuning.state()
    tuning.run()
    after = tuning.state()
    assert torch.equal(before["body.1.bn1.running_mean"], after["body.1.bn1.running_mean"]) == kept
