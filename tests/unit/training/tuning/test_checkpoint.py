"""An interruption changes nothing, and what is finished or damaged is told from what is not."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from eyasd.core.jobdir import CHECKPOINT
from eyasd.core.spec import Optimizer, Schedule
from eyasd.training.journal import Interrupted
from eyasd.training.recipe import Recipe
from eyasd.training.tuning.batches import Batch
from eyasd.training.tuning.loop import FineTuning

from .colours import EVERY_CHANGE, HOPELESS, PERFECT, Tuning, equal, recipe_of, short_rounds


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


@pytest.mark.parametrize("steps", [0, 2, 3, 7, 8, 13, 15])
def test_parts_of_epochs_are_interrupted_as_whole_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    short_rounds(monkeypatch)
    recipe = recipe_of(epochs=2, batch_size=4, dropout=0.5, drop_path_rate=0.5, **EVERY_CHANGE)
    interrupted(tmp_path, monkeypatch, recipe, steps)


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


def test_what_an_earlier_attempt_saw_is_not_taken_from_the_head(tmp_path: Path) -> None:
    Tuning(tmp_path, recipe_of(epochs=1, max_gradient_norm=0.0)).run()
    again = Tuning(tmp_path, recipe_of(epochs=1, max_gradient_norm=0.0))
    again.tuning._score = lambda name, state: None  # type: ignore[method-assign] # as if no time were left
    again.tuning.run(HOPELESS, np.ones((24, 3), np.float32))
    assert again.tuning.logits is None


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


def test_a_full_disk_leaves_the_checkpoint_before_and_the_training_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Tuning(tmp_path / "whole", recipe_of(epochs=3))
    history, fsync, tries = whole.run(), os.fsync, 0

    def full(descriptor: int) -> None:
        nonlocal tries
        tries += 1
        if tries in {3, 4}:  # of the second and the third checkpoint; each that is written has a file and a folder
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    tuning = Tuning(tmp_path / "full", recipe_of(epochs=3))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert tuning.run() == history
    assert equal(whole.state(), tuning.state())
    told = [message for message in tuning.messages() if "checkpoint" in message]
    assert told[0].startswith("The checkpoint could not be written: No space left on device (")
    assert len(told) == 1  # not at every try
    assert [path.name for path in (tmp_path / "full").iterdir() if "checkpoint" in path.name] == [CHECKPOINT]
    again = Tuning(tmp_path / "full", recipe_of(epochs=3))
    assert again.run() == history  # from the first one
    assert "after epoch 1" in again.path.read_text()
