"""Which hyper-parameters a training goes on with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import inf
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.unit.training.conftest import JobFolder

from eyasd.core import document, jobdir
from eyasd.core.bundle import REPORT
from eyasd.core.choices import Trial
from eyasd.core.errors import TrainerFailed
from eyasd.core.spec import Optimizer, Preset, TrainSpec
from eyasd.core.tasks import TrainingTask
from eyasd.training.budget import Budget
from eyasd.training.choice import search
from eyasd.training.choice.search import best_of, described, plan_trials
from eyasd.training.choice.study import Range, Study, search_space
from eyasd.training.data.listing import list_files
from eyasd.training.head.start import Start, prepare
from eyasd.training.journal import Interrupted, Journal, training_shares
from eyasd.training.recipe import resolve
from eyasd.training.tuning.loop import FineTuning
from eyasd.training.tuning.pace import Pace

Begin = Callable[..., tuple[Start, tuple[Trial, ...]]]
BEST = {
    "preset": Preset.BEST,
    "batch_size": 8,
    "epochs": 2,
    "trials": 3,
    "backbone": "test_resnet",
    "pretrained": False,
    "image_size_px": 32,
}
SPACE = {"learning_rate": Range(1e-4, 1e-2, log=True), "color_fraction": Range(0, 0.4)}


def trial(*losses: float, **values: Any) -> Trial:
    usual = {"backbone": "a", "values": {"learning_rate": 1e-3, "color_fraction": 0.1}, "steps": 9, "accuracy": 0.5}
    return Trial(losses=losses, **{**usual, **values})


class TestSpace:
    def space(self, **wishes: Any) -> dict[str, Range]:
        spec = TrainSpec(preset=Preset.BEST, **wishes)
        return search_space(spec, resolve(spec, 100, 224))

    def test_what_the_caller_fixed_is_not_searched(self) -> None:
        assert set(self.space()) == {"learning_rate", "backbone_learning_rate_ratio", "layer_decay", "weight_decay"} | {
            "min_crop_fraction",
            "color_fraction",
        }
        assert set(self.space(learning_rate=0.1, layer_decay=1.0, pretrained=True)) == {
            "backbone_learning_rate_ratio",
            "weight_decay",
            "min_crop_fraction",
            "color_fraction",
        }

    def test_random_weights_have_one_learning_rate(self) -> None:
        assert set(self.space(pretrained=False)) == {"learning_rate", "weight_decay", "min_crop_fraction", "color_fraction"}

    def test_rates_are_looked_for_around_the_optimizers_own(self) -> None:
        assert self.space(optimizer=Optimizer.SGD)["learning_rate"] == Range(2e-3, 5e-2, log=True)

    def test_the_usual_values_lie_inside(self) -> None:
        assert Range(0.3, 1.0).including(0.1) == Range(0.1, 1.0)
        assert Range(0.3, 1.0).including(0.5) == Range(0.3, 1.0)


class TestPlan:
    """Epochs of 10 steps of 1 s, and 20 s for the export."""

    def pace(self, step_seconds: float = 1.0) -> Pace:
        return Pace(Budget(), 10, step_seconds, validation_seconds=0.0, export_seconds=20.0)

    def test_without_a_budget_the_number_is_fixed(self) -> None:
        paces = {"a": Pace(Budget(), 10), "b": Pace(Budget(), 30)}
        plan = plan_trials(160, paces, inf, None)
        assert plan == search.Plan(10, {"a": 20, "b": 30})
        assert plan_trials(160, paces, inf, 4) == search.Plan(4, {"a": 20, "b": 30})

    def test_the_training_keeps_the_larger_part_of_the_time(self) -> None:
        plan = plan_trials(10_000, {"a": self.pace()}, 1020, None)
        assert plan is not None
        assert plan.steps == {"a": 75}  # an eighth of the 600 steps that are left to the training
        assert plan.trials * 75 <= 400
        assert plan.kept_seconds == 520

    def test_a_slower_backbone_takes_fewer_steps_in_the_same_time(self) -> None:
        plan = plan_trials(10_000, {"a": self.pace(), "b": self.pace(3.0)}, 1020, None)
        assert plan is not None
        assert plan.steps == {"a": 75, "b": 25}

    def test_one_that_would_not_see_every_picture_is_not_tried(self) -> None:
        plan = plan_trials(10_000, {"a": self.pace(), "b": self.pace(9.0)}, 1020, None)
        assert plan is not None
        assert plan.steps == {"a": 75}

    @pytest.mark.parametrize("left", [0.0, 20.0, 90.0])
    def test_too_short_for_any(self, left: float) -> None:
        assert plan_trials(10_000, {"a": self.pace()}, left, None) is None

    def test_enough_is_enough(self) -> None:
        plan = plan_trials(160, {"a": self.pace()}, 1e6, None)
        assert plan is not None
        assert (plan.trials, plan.steps) == (30, {"a": 20})
        assert plan_trials(160, {"a": self.pace()}, 1e6, 2) == replace(plan, trials=2)


class TestStudy:
    def test_the_first_trial_has_the_usual_values(self) -> None:
        usual = {"learning_rate": 1e-3, "color_fraction": 0.0}
        assert Study(SPACE, ["a"], [], 0).propose(usual) == ("a", usual)
        assert Study(SPACE, ["b", "a"], [], 0).propose(usual) == ("b", usual)

    def test_a_proposal_follows_from_the_seed_and_the_trials(self) -> None:
        trials = [trial(0.5), trial(0.4, values={"learning_rate": 2e-3, "color_fraction": 0.2})]
        backbone, values = Study(SPACE, ["a"], trials, 3).propose(None)
        assert Study(SPACE, ["a"], trials, 3).propose(None) == (backbone, values)
        assert Study(SPACE, ["a"], trials, 4).propose(None) != (backbone, values)
        assert all(SPACE[name].low <= value <= SPACE[name].high for name, value in values.items())

    def test_it_learns_where_to_look(self) -> None:
        trials: list[Trial] = []
        for number in range(25):
            _, values = Study(SPACE, ["a"], trials, number).propose(None)
            trials.append(trial((values["color_fraction"] - 0.3) ** 2, values=values))
        early, late = (sum(abs(t.values["color_fraction"] - 0.3) for t in part) for part in (trials[:8], trials[-8:]))
        assert late < 0.75 * early

    def test_what_falls_behind_the_median_ends(self) -> None:
        study = Study(SPACE, ["a"], [trial(0.5, 0.4), trial(0.6, 0.5)], 0)
        study.propose(None)
        assert not study.is_behind(1, 0.5)
        assert study.is_behind(2, 0.48)

    def test_two_to_compare_with_are_needed(self) -> None:
        study = Study(SPACE, ["a"], [trial(0.5), trial(pruned=True)], 0)
        study.propose(None)
        assert not study.is_behind(1, 9.0)


def test_the_best_trial_is_one_that_came_to_its_end() -> None:
    trials = [trial(0.5, 0.4), trial(0.1, pruned=True), trial(0.6, 0.3), trial(pruned=True)]
    assert best_of(trials) == 2
    assert best_of(trials[1:2]) is None
    assert described(trials) == (
        "Of 4 trials, 2 of which ended early, the training goes on with a and the values of number 3 "
        "(learning_rate 0.001, color_fraction 0.1), whose validation loss was 0.300, where the usual ones gave 0.400."
    )
    assert "None of the trials came to an end" in described(trials[1:2])


class TestProgram:
    def test_the_best_values_are_trained_with(self, squares: Callable[..., Path], finished: Callable[..., JobFolder]) -> None:
        job = finished(squares({"red": 10, "green": 10}), TrainSpec(**BEST, weight_decay=0.07))
        lineage = job.manifest().lineage
        assert len(lineage.trials) == 3
        chosen = next(one for one in lineage.trials if one.chosen)
        assert chosen.losses[-1] == min(one.losses[-1] for one in lineage.trials if not one.pruned)
        assert {name: lineage.recipe[name] for name in chosen.values} == {n: str(v) for n, v in chosen.values.items()}
        assert set(chosen.values) == {"learning_rate", "min_crop_fraction", "color_fraction"}
        assert lineage.recipe["weight_decay"] == "0.07"
        assert lineage.trials[0].values["learning_rate"] == 1e-3
        assert job.stages()[3:6] == ["head", "search", "fine-tune"]
        assert "Of 3 trials" in " ".join(job.messages())
        assert [epoch.epoch for epoch in job.manifest().history] == [0, 1, 2]
        assert "Which hyper-parameters" in (job.path / jobdir.BUNDLE / REPORT).read_text()
        assert not (job.path / "search").exists()


class TestSearch:
    """Of one backbone, with random weights; every epoch has 2 steps."""

    @pytest.fixture
    def begin(self, tmp_path: Path, squares: Callable[..., Path]) -> Begin:
        listing = list_files(squares({"red": 10, "green": 10}))

        def begin_in(name: str = "job", budget: Budget | None = None, **wishes: Any) -> tuple[Start, tuple[Trial, ...]]:
            folder = tmp_path / name
            folder.mkdir(exist_ok=True)
            spec = TrainSpec(**{**BEST, **wishes})
            journal = Journal(folder / "progress.jsonl", training_shares(spec))
            task = TrainingTask(job="j", attempt=1, model="m", dataset="", spec=spec, hub=False)
            start = prepare(task, "test_resnet", listing, folder, journal)
            return search.search(spec, [start], folder, budget or Budget(), journal)

        return begin_in

    def messages(self, tmp_path: Path) -> str:
        return (tmp_path / "job" / "progress.jsonl").read_text()

    def test_interrupted_it_ends_as_it_would_have_ended(
        self, begin: Begin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """In the middle of the second trial."""
        whole, trials = begin("whole")
        step, steps = FineTuning._step, 0

        def interrupted(self: FineTuning, *batch: Any) -> None:
            nonlocal steps
            steps += 1
            if steps == 4:
                raise Interrupted
            step(self, *batch)

        monkeypatch.setattr(FineTuning, "_step", interrupted)
        with pytest.raises(Interrupted):
            begin()
        assert len(document.load(search._Standing, (tmp_path / "job" / "trials.json").read_bytes()).trials) == 1
        resumed, same_trials = begin()
        assert same_trials == trials
        assert (resumed.recipe, resumed.key) == (whole.recipe, whole.key)
        state = whole.network.state_dict()
        assert all(torch.equal(value, state[name]) for name, value in resumed.network.state_dict().items())

    def test_the_network_is_given_back_as_it_was(self, begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
        searched, trials = begin()
        assert [one.losses for one in trials] != []
        monkeypatch.setattr(search, "best_of", lambda trials: None)
        untouched, _ = begin("again", trials=1)
        state = untouched.network.state_dict()
        assert all(torch.equal(value, state[name]) for name, value in searched.network.state_dict().items())

    def test_values_that_diverge_lose(self, begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
        step = FineTuning._step

        def diverging(self: FineTuning, *batch: Any) -> None:
            if self._recipe.learning_rate != 1e-3:
                message = "The training diverged."
                raise TrainerFailed(message)
            step(self, *batch)

        monkeypatch.setattr(FineTuning, "_step", diverging)
        _, trials = begin()
        assert [(one.pruned, one.chosen, bool(one.losses)) for one in trials] == [(False, True, True)] + 2 * [(True, False, False)]

    def test_a_short_budget_is_left_to_the_training(self, begin: Begin, tmp_path: Path) -> None:
        start, trials = begin(budget=Budget(datetime.now(UTC) + timedelta(seconds=10)))
        assert (trials, start.recipe.learning_rate) == ((), 1e-3)
        assert "too short to search hyper-parameters" in self.messages(tmp_path)

    def test_within_a_budget(self, begin: Begin) -> None:
        _, trials = begin(budget=Budget(datetime.now(UTC) + timedelta(hours=10)), trials=2)
        assert [one.steps for one in trials] == [2, 2]  # an epoch, which is more than an eighth of two

    def test_when_its_time_is_over_it_ends_with_what_it_has(
        self, begin: Begin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        kept = replace(search.Plan(3, {"test_resnet": 2}), kept_seconds=1e9)
        monkeypatch.setattr(search, "plan_trials", lambda *_: kept)
        _, trials = begin(budget=Budget(datetime.now(UTC) + timedelta(minutes=10)))
        assert trials == ()
        assert "None of the trials came to an end" in self.messages(tmp_path)

    def test_nothing_to_search(self, begin: Begin, tmp_path: Path) -> None:
        _, trials = begin(learning_rate=1e-3, weight_decay=0.0, min_crop_fraction=1.0, color_fraction=0.0)
        assert trials == ()
        assert "nothing to search" in self.messages(tmp_path)
