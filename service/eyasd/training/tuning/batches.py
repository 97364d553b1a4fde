"""The pictures of each training step, in an order and with changes that follow from the seed and the number of the step alone.

So a training can begin with any step, and sees what it would have seen; and any number of processes see it together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eyasd.training.data.audit import Audit
from eyasd.training.data.listing import TRAIN
from eyasd.training.data.targets import groups_of
from eyasd.training.feed import Feed
from eyasd.training.network import to_pixels
from eyasd.training.ranks import ALONE, Ranks
from eyasd.training.recipe import Recipe
from eyasd.training.tuning.augment import Augmentation
from eyasd.training.tuning.length import Length
from eyasd.training.tuning.mixing import Mix, Mixing
from eyasd.training.tuning.sampling import epoch_order


class Batch(NamedTuple):
    """What this process has of the batch of a step.

    Attributes:
        pixels: float32 [n, 3, H, W] of 0..255; perhaps of no picture.
        targets: int64 [n] class indices, or float32 [n, C] shares where pictures are mixed or have several labels.
        size: number of pictures of the batch, in all processes.
    """

    pixels: Tensor
    targets: Tensor
    size: int


class Batches:
    """The training split, step by step.

    Attributes:
        length: of the recipe with these pictures.
    """

    def __init__(self, recipe: Recipe, images: NDArray[np.uint8], data: Audit, device: torch.device, ranks: Ranks = ALONE) -> None:
        """Prepares the first step.

        Args:
            recipe: of the job.
            images: uint8 [N, H, W, 3].
            data: which of them are for training, and what they show.
            device: where the batches are wanted.
            ranks: the processes that share each batch.
        """
        self._ranks = ranks
        self._recipe, self._images, self._data, self._device = recipe, images, data, device
        self._rows = data.rows[TRAIN]
        self._feed = Feed(images, device, self._rows)
        self._augmentation = Augmentation.of(recipe)
        # Captured pictures are few, and what they show is what the model does not know yet.
        captured = None if data.captured is None else data.captured[self._rows]
        self._weights = None if captured is None else np.where(captured, recipe.captured_weight, 1.0)
        self._mixing = Mixing(recipe.mixup_alpha, recipe.cutmix_alpha, len(data.labels))
        self.length = Length.of(recipe, len(self._rows))

    def between(self, first: int, last: int) -> Iterator[Batch]:
        """Yields what this process has of each step from `first` to before `last` of the training; all are of one epoch."""
        epoch, begun = divmod(first, self.length.epoch_steps)
        yield from islice(self.of_epoch(epoch + 1, begun), last - first)

    def of_epoch(self, epoch: int, first: int = 0) -> Iterator[Batch]:
        """Yields what this process has of each step of an epoch; seeds torch before.

        Args:
            epoch: from 1.
            first: number of the epoch's steps to leave out.
        """
        recipe, ranks = self._recipe, self._ranks
        generator = torch.Generator()
        groups = groups_of(self._data.targets[self._rows])
        order = epoch_order(groups, recipe.sampling_power, seed_of(recipe.seed, epoch), self._weights)
        # A picture is mirrored in every other epoch, not by chance: in any two it is seen both ways (Jordan, airbench, 2024).
        sides = torch.randint(2, (len(self._images),), generator=torch.Generator().manual_seed(seed_of(recipe.seed, 0)))
        # Of nearly equal size, so that no last batch of one picture upsets the batch normalisation.
        steps = np.array_split(self._rows[order], self.length.epoch_steps)
        parts = [self._part(len(chosen), seed_of(recipe.seed, epoch, index, 1)) for index, chosen in enumerate(steps, 1)][first:]
        rows = [chosen[part.here] for chosen, part in zip(steps[first:], parts, strict=True)]
        for index, (images, part) in enumerate(zip(self._feed.batches(rows), parts, strict=True), first):
            chosen = steps[index]
            generator.manual_seed(seed_of(recipe.seed, epoch, index + 1))
            # Of the dropout, in which no two processes shall be alike.
            torch.manual_seed(seed_of(recipe.seed, epoch, index + 1, *([ranks.rank + 1] if ranks.rank else [])))
            targets = torch.from_numpy(self._data.targets[chosen[part.here]]).to(self._device)
            flipped = (sides[chosen] + epoch) % 2 == 1 if recipe.horizontal_flip else torch.zeros(len(chosen), dtype=torch.bool)
            pixels = to_pixels(images)
            if len(part.here):
                pixels = self._augmentation.apply(pixels, flipped, generator, torch.from_numpy(part.here))
            if part.mix is not None:
                own, others = (torch.from_numpy(places).to(self._device) for places in (part.own, part.others))
                pixels, targets = part.mix.apply(pixels[own], targets[own], pixels[others], targets[others])
            yield Batch(pixels, targets, len(chosen))

    def _part(self, size: int, seed: int) -> _Part:
        """Returns what this process sees of a batch of that size."""
        mine, mix = self._ranks.share(np.arange(size)), self._mixing.draw(size, seed)
        if mix is None:
            return _Part(mine, mix, mine, mine)
        here = np.union1d(mine, mix.partners[mine])
        return _Part(here, mix, np.searchsorted(here, mine), np.searchsorted(here, mix.partners[mine]))


@dataclass(frozen=True, slots=True)
class _Part:
    """What a process sees of a batch.

    Attributes:
        here: int64 [n], the places in the batch of the pictures that it needs: its share and their partners in the mixing.
        mix: how they are mixed; None where they are not.
        own: int64 [m], where in `here` its share is.
        others: int64 [m], where in `here` the partners of its share are.
    """

    here: NDArray[np.int64]
    mix: Mix | None
    own: NDArray[np.int64]
    others: NDArray[np.int64]


def seed_of(*numbers: int) -> int:
    """Returns the seed that belongs to some numbers, such as the job's seed, the epoch and the step; others have another."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))
