"""The pictures of each training step, in an order and with changes that follow from the seed and the number of the step alone.

So a training can begin with any step, and sees what it would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eyasd.training.audit import Audit
from eyasd.training.augment import Augmentation
from eyasd.training.feed import Feed
from eyasd.training.listing import TRAIN
from eyasd.training.mixing import Mixing
from eyasd.training.network import to_pixels
from eyasd.training.recipe import Recipe
from eyasd.training.sampling import epoch_order


class Batches:
    """The training split, step by step.

    Attributes:
        epoch_steps: number of steps in which as many pictures are seen as there are.
    """

    def __init__(self, recipe: Recipe, images: NDArray[np.uint8], data: Audit, device: torch.device) -> None:
        """Prepares the first step.

        Args:
            recipe: of the job.
            images: uint8 [N, H, W, 3].
            data: which of them are for training, and what they show.
            device: where the batches are wanted.
        """
        self._recipe, self._images, self._data, self._device = recipe, images, data, device
        self._rows = data.rows[TRAIN]
        self._feed = Feed(images, device, self._rows)
        self._augmentation = Augmentation.of(recipe)
        self._mixing = Mixing(recipe.mixup_alpha, recipe.cutmix_alpha, len(data.labels))
        self.epoch_steps = ceil(len(self._rows) / recipe.batch_size)

    def of_epoch(self, epoch: int, first: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields the pixels float32 [n, 3, H, W] and what they show of an epoch's steps.

        The latter is int64 [n] class indices, or float32 [n, C] shares where pictures are mixed. Seeds torch before each step.

        Args:
            epoch: from 1.
            first: number of the epoch's steps to leave out.
        """
        recipe = self._recipe
        generator = torch.Generator()
        order = epoch_order(self._data.class_indices[self._rows], recipe.sampling_power, seed_of(recipe.seed, epoch))
        # A picture is mirrored in every other epoch, not by chance: in any two it is seen both ways (Jordan, airbench, 2024).
        sides = torch.randint(2, (len(self._images),), generator=torch.Generator().manual_seed(seed_of(recipe.seed, 0)))
        # Of nearly equal size, so that no last batch of one picture upsets the batch normalisation.
        steps = np.array_split(self._rows[order], self.epoch_steps)[first:]
        for index, (chosen, images) in enumerate(zip(steps, self._feed.batches(steps), strict=True), first):
            generator.manual_seed(seed_of(recipe.seed, epoch, index + 1))
            torch.manual_seed(seed_of(recipe.seed, epoch, index + 1))  # of the dropout
            targets = torch.from_numpy(self._data.class_indices[chosen]).to(self._device)
            flipped = (sides[chosen] + epoch) % 2 == 1 if recipe.horizontal_flip else torch.zeros(len(chosen), dtype=torch.bool)
            pixels = self._augmentation.apply(to_pixels(images), flipped, generator)
            yield self._mixing.apply(pixels, targets, generator)


def seed_of(*numbers: int) -> int:
    """Returns the seed that belongs to some numbers, such as the job's seed, the epoch and the step; others have another."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))
