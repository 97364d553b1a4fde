"""Time is kept: the learning rate has fallen when it is up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

import pytest

from eyasd.training.budget import Budget
from eyasd.training.tuning import loop
from eyasd.training.tuning.batches import Batch
from eyasd.training.tuning.loop import FineTuning

from .colours import HOPELESS, Tuning, equal, recipe_of


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
    assert (
        59 < Budget(datetime.now(UTC) + timedelta(seconds=60)).left_seconds() <= 60.01
    )  # the two clocks are read one after the other


def test_a_clock_that_jumps_takes_no_time_away_and_gives_none(monkeypatch: pytest.MonkeyPatch) -> None:
    budget = Budget(datetime.now(UTC) + timedelta(seconds=60))
    for hours in (1, -1):

        class Jumped(datetime):
            by = timedelta(hours=hours)

            @classmethod
            def now(cls, zone: tzinfo | None = None) -> datetime:
                return datetime.now(zone) + cls.by

        monkeypatch.setattr("eyasd.training.budget.datetime", Jumped)
        assert 0 < budget.left_seconds() < 61
