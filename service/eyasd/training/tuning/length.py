"""How long a training is, in steps: arithmetic on the recipe and the number of training pictures, nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Final

from eyasd.training.recipe import Recipe

# An epoch that is a large part of a long training is measured within, too, so that there is more than its end to choose from; none
# of 1,000 steps or fewer is, as with small datasets ten looks at the validation split would cost much of it.
_VALIDATIONS: Final = 10
_VALIDATION_STEPS: Final = 1000


@dataclass(frozen=True, slots=True)
class Length:
    """Numbers of steps.

    Attributes:
        epoch_steps: in which as many pictures are seen as there are.
        steps: in which the recipe's samples are seen.
        validation_steps: between two validations, of which each epoch ends with one.
    """

    epoch_steps: int
    steps: int
    validation_steps: int

    @classmethod
    def of(cls, recipe: Recipe, pictures: int) -> Length:
        """Returns the length of a training on so many pictures."""
        epoch_steps = ceil(pictures / recipe.batch_size)
        # Not by the batch size: an epoch's batches are of nearly equal size, and together as many as they are.
        steps = ceil(recipe.samples * epoch_steps / pictures)
        parts = ceil(epoch_steps / max(ceil(steps / _VALIDATIONS), _VALIDATION_STEPS))
        return cls(epoch_steps, steps, ceil(epoch_steps / parts))
