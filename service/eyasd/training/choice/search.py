"""Which hyper-parameters to train with: several short trainings, each with values that those before it suggest, find out.

A trial is a fine-tuning from the same head on the same pictures, with a schedule of its own. The first has the recipe's own values,
so the winner is not behind them. The trials that are over lie in one file, from which the study is rebuilt for each that follows: a
search that was interrupted goes on where it was, and without a time budget it ends as it would have ended.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, inf
from pathlib import Path
from typing import Any, Final

from eyasd.core import document
from eyasd.core.choices import Trial
from eyasd.core.errors import TrainerFailed
from eyasd.core.spec import TrainSpec
from eyasd.training import durable
from eyasd.training.budget import Budget
from eyasd.training.choice.part import Part
from eyasd.training.choice.study import Range, Study, search_space
from eyasd.training.data.listing import TRAIN
from eyasd.training.head.start import Start
from eyasd.training.journal import Journal
from eyasd.training.recipe import Recipe
from eyasd.training.tuning.average import copy_of
from eyasd.training.tuning.batches import seed_of
from eyasd.training.tuning.length import Length
from eyasd.training.tuning.loop import FineTuning
from eyasd.training.tuning.pace import Pace

_TRIALS: Final = "trials.json"
_FOLDER: Final = "search"
_USUAL_TRIALS: Final = 10
_MOST_TRIALS: Final = 30
# With fewer there is nothing to choose from: the recipe's values and two others.
_FEWEST_TRIALS: Final = 3
# What is best after a few steps need not be best after many, so a trial is no shorter than this share of the training, nor over
# before its first validation; docs/benchmarks.md has a case where one epoch misleads.
_SHORTER: Final = 8
_SHARE: Final = 0.4  # of the time that is left for fine-tuning; at least half of it is kept for the training in any case
_KEPT_SHARE: Final = 0.5
_MEASURED_STEPS: Final = 5
_VALIDATIONS: Final = 3  # as `Pace` leaves time for: the last one, and two averages


@dataclass(frozen=True, slots=True)
class Plan:
    """How a search is done.

    Attributes:
        trials: at most so many.
        steps: of a trial, by backbone: a slower one takes fewer in the same time.
        kept_seconds: of the budget, where the search has to end.
    """

    trials: int
    steps: Mapping[str, int]
    kept_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class _Standing:
    """What lies in the file."""

    key: str
    plan: Plan
    trials: tuple[Trial, ...]


def plan_trials(wanted: int, paces: Mapping[str, Pace], left_seconds: float, asked: int | None) -> Plan | None:
    """Decides how many trials there are, and how long they are.

    Args:
        wanted: number of steps that the training would take.
        paces: of each backbone, the favourite first; unmeasured where there is no budget.
        left_seconds: of the budget.
        asked: number of trials that the caller wants at most; None is as many as are useful.

    Returns:
        None where the time is too short for any.
    """
    favourite = next(iter(paces))
    pace = paces[favourite]
    if left_seconds == inf:
        return Plan(
            asked or _USUAL_TRIALS, {name: max(one.validation_steps, ceil(wanted / _SHORTER)) for name, one in paces.items()}
        )
    end = pace.export_seconds + _VALIDATIONS * pace.validation_seconds
    free = max(left_seconds - end, 0.0)
    steps = max(pace.validation_steps, ceil(min(wanted, (1 - _SHARE) * free / pace.seconds_of_step()) / _SHORTER))
    seconds = steps * pace.seconds_of_step()
    trials = min(asked or _MOST_TRIALS, int(_SHARE * free / seconds))
    if trials < min(_FEWEST_TRIALS, asked or _FEWEST_TRIALS):
        return None
    possible = {name: int(seconds / one.seconds_of_step()) for name, one in paces.items()}
    lasting = {name: count for name, count in possible.items() if count >= paces[name].validation_steps}
    return Plan(trials, {**lasting, favourite: steps}, end + _KEPT_SHARE * free)


def best_of(trials: Sequence[Trial]) -> int | None:
    """Returns the index of the trial with the least loss after its last step; None where none got there."""
    ended = [(trial.losses[-1], index) for index, trial in enumerate(trials) if not trial.pruned]
    return min(ended)[1] if ended else None


def described(trials: Sequence[Trial]) -> str:
    """Returns the outcome in sentences."""
    index = best_of(trials)
    if index is None:
        return "None of the trials came to an end, so the training goes on with the usual hyper-parameters."
    best, pruned = trials[index], sum(trial.pruned for trial in trials)
    values = ", ".join(f"{name} {value:.3g}" for name, value in best.values.items())
    usual = f", where the usual ones gave {trials[0].losses[-1]:.3f}" if index and not trials[0].pruned else ""
    return (
        f"Of {len(trials)} trials, {pruned} of which ended early, the training goes on with {best.backbone} and the values "
        f"of number {index + 1} ({values}), whose validation loss was {best.losses[-1]:.3f}{usual}."
    )


def search(
    spec: TrainSpec, starts: Sequence[Start], folder: Path, budget: Budget, journal: Journal
) -> tuple[Start, tuple[Trial, ...]]:
    """Does the stage `search`.

    Args:
        spec: what the caller asked for.
        starts: what a training may start from, the favourite first.
        folder: JOB_DIR; what an earlier attempt left there is used again.
        budget: when the job has to end.
        journal: hears of the progress.

    Returns:
        The start with the recipe of the best trial, its network as it was given, and all trials.
    """
    space = search_space(spec, starts[0].recipe)
    if not space and len(starts) == 1:
        journal.message("Every hyper-parameter that is searched was given, so there is nothing to search.")
        return starts[0], ()
    journal.stage("search")
    (folder / _FOLDER).mkdir(exist_ok=True)
    by_name = {start.recipe.backbone: start for start in starts}
    favourite = starts[0]
    key = f"{' '.join(start.key for start in starts)} {space}"
    standing = _recalled(folder, key)
    if standing is None:
        paces = {name: _pace(start, folder / _FOLDER, budget, journal) for name, start in by_name.items()}
        wanted = _length(favourite).steps
        plan = plan_trials(wanted, paces, budget.left_seconds(), spec.trials)
        if plan is None:
            journal.message("The time budget is too short to search hyper-parameters; the training goes on with the usual ones.")
            return favourite, ()
        standing = _Standing(key, plan, ())
    while len(standing.trials) < standing.plan.trials and budget.left_seconds() > standing.plan.kept_seconds:
        trial = _trial(standing, space, by_name, folder / _FOLDER, journal)
        standing = replace(standing, trials=(*standing.trials, trial))
        durable.write(folder / _TRIALS, document.dump(standing).encode())
    shutil.rmtree(folder / _FOLDER)
    journal.message(described(standing.trials))
    index = best_of(standing.trials)
    if index is None:
        return favourite, standing.trials
    best = replace(standing.trials[index], chosen=True)
    start = by_name[best.backbone]
    chosen = replace(start, recipe=_with_values(start.recipe, best.values), key=f"{start.key} {dict(best.values)}")
    return chosen, (*standing.trials[:index], best, *standing.trials[index + 1 :])


def _recalled(folder: Path, key: str) -> _Standing | None:
    try:
        standing = document.load(_Standing, (folder / _TRIALS).read_bytes())
    except (OSError, ValueError):
        return None
    return standing if standing.key == key else None


def _length(start: Start) -> Length:
    return Length.of(start.recipe, len(start.data.rows[TRAIN]))


def _pace(start: Start, folder: Path, budget: Budget, journal: Journal) -> Pace:
    """Returns how long steps take; takes a few, where there is a budget."""
    if budget.left_seconds() == inf:
        return Pace(budget, _length(start).validation_steps)
    state = copy_of(start.network.state_dict())
    tuning = _tuning(start, start.recipe, folder, f"pace {start.key}", Part(journal, 0, 0), _MEASURED_STEPS)
    for _ in tuning.epochs(start.head):
        pass
    start.network.load_state_dict(state)
    return tuning.pace


def _trial(standing: _Standing, space: Mapping[str, Range], starts: Mapping[str, Start], folder: Path, journal: Journal) -> Trial:
    """Trains shortly with the values that come next."""
    trials, plan = standing.trials, standing.plan
    favourite = next(iter(starts.values())).recipe
    study = Study(space, [name for name in starts if name in plan.steps], trials, seed_of(favourite.seed, len(trials)) % 2**32)
    backbone, values = study.propose(None if trials else {name: getattr(favourite, name) for name in space})
    start, losses, accuracy, pruned = starts[backbone], [], 0.0, False
    state = copy_of(start.network.state_dict())
    tuning = _tuning(
        start,
        _with_values(start.recipe, values),
        folder,
        f"{standing.key} {len(trials)} {plan.steps[backbone]}",
        Part(journal, len(trials) / plan.trials, (len(trials) + 1) / plan.trials),
        plan.steps[backbone],
    )
    try:
        for figures in tuning.epochs(start.head):
            losses.append(figures.loss)
            accuracy = figures.accuracy
            if pruned := study.is_behind(len(losses), figures.loss):
                break
    except TrainerFailed:  # its loss is no number any more: the worst that values can do
        pruned = True
    start.network.load_state_dict(state)
    return Trial(
        backbone=backbone, values=values, steps=plan.steps[backbone], losses=tuple(losses), accuracy=accuracy, pruned=pruned
    )


def _with_values(recipe: Recipe, values: Mapping[str, float]) -> Recipe:
    changes: dict[str, Any] = dict(values)
    return replace(recipe, **changes)


def _tuning(start: Start, recipe: Recipe, folder: Path, key: str, part: Part, steps: int) -> FineTuning:
    return FineTuning(
        start.network,
        recipe,
        start.images,
        start.data,
        Budget(),
        folder,
        key,
        part,
        steps=steps,
        micro_batches=start.micro_batches,
    )
