"""Where hyper-parameters are looked for, and what Optuna makes of the trials so far. Knows values and losses, not networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from eyasd.core.choices import Trial
from eyasd.core.spec import TrainSpec
from eyasd.training.recipe import Recipe

_RANDOM_TRIALS: Final = 4  # before the estimator has something to go by
_TRIALS_BEFORE_PRUNING: Final = 2


@dataclass(frozen=True, slots=True)
class Range:
    """Where a value is looked for; `log` where its order of magnitude counts."""

    low: float
    high: float
    log: bool = False

    def including(self, value: float) -> Range:
        """Returns the range widened, so that a value lies in it."""
        return replace(self, low=min(self.low, value), high=max(self.high, value))


# Around what fine-tuning is usually done with; those of the learning rate are factors of the recipe's.
_RATE_FACTORS: Final = Range(0.2, 5.0, log=True)
_RANGES: Final = {
    "weight_decay": Range(1e-3, 0.2, log=True),
    "min_crop_fraction": Range(0.3, 1.0),
    "color_fraction": Range(0.0, 0.4),
}
_BACKBONE_RANGES: Final = {
    "backbone_learning_rate_ratio": Range(0.03, 1.0, log=True),
    "layer_decay": Range(0.7, 1.0),
}


def search_space(spec: TrainSpec, recipe: Recipe) -> dict[str, Range]:
    """Returns what is searched, and where: what the caller did not fix, around the recipe's values."""
    rate = recipe.learning_rate
    ranges = {"learning_rate": replace(_RATE_FACTORS, low=rate * _RATE_FACTORS.low, high=rate * _RATE_FACTORS.high), **_RANGES}
    if spec.pretrained:  # weights that know nothing yet learn at the head's rate
        ranges |= _BACKBONE_RANGES
    return {name: found.including(getattr(recipe, name)) for name, found in ranges.items() if getattr(spec, name) is None}


class Study:
    """What Optuna makes of the trials so far: the next trial's values, and whether to end it."""

    def __init__(self, space: Mapping[str, Range], backbones: Sequence[str], trials: Sequence[Trial], seed: int) -> None:
        """Rebuilds the study.

        Args:
            space: what is searched.
            backbones: those allowed.
            trials: that are over.
            seed: of the next proposal.
        """
        # Taken by `best` alone.
        import optuna  # noqa: PLC0415

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._space = {
            **{name: optuna.distributions.FloatDistribution(one.low, one.high, log=one.log) for name, one in space.items()},
            **({"backbone": optuna.distributions.CategoricalDistribution(tuple(backbones))} if len(backbones) > 1 else {}),
        }
        self._backbones = backbones
        self._study = optuna.create_study(
            sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=_RANDOM_TRIALS),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=_TRIALS_BEFORE_PRUNING),
        )
        states = optuna.trial.TrialState
        for trial in trials:
            self._study.add_trial(
                optuna.trial.create_trial(
                    params={**trial.values, **({"backbone": trial.backbone} if len(backbones) > 1 else {})},
                    distributions=self._space,
                    intermediate_values=dict(enumerate(trial.losses, 1)),
                    value=None if trial.pruned else trial.losses[-1],
                    state=states.PRUNED if trial.pruned else states.COMPLETE,
                )
            )
        self._trial: Any = None

    def propose(self, usual: Mapping[str, float] | None) -> tuple[str, dict[str, float]]:
        """Returns the backbone and the values of the next trial; those that are usual, of the favourite, where they are given."""
        if usual is not None:
            self._study.enqueue_trial({**usual, **({"backbone": self._backbones[0]} if "backbone" in self._space else {})})
        self._trial = self._study.ask(self._space)
        values = dict(self._trial.params)
        return values.pop("backbone", self._backbones[0]), values

    def is_behind(self, epoch: int, loss: float) -> bool:
        """Returns whether the trial proposed last is to end after an epoch with such a validation loss."""
        self._trial.report(loss, epoch)
        return bool(self._trial.should_prune())
