"""Training pictures mixed in pairs: mixup (Zhang et al., 2018) blends two, CutMix (Yun et al., 2019) cuts one into another.

Both need many epochs before they help, so a recipe has them off unless there are many.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class Mixing:
    """How pictures are mixed.

    Attributes:
        mixup_alpha: both parameters of the beta distribution that the share of the first picture comes from; 0 is never.
        cutmix_alpha: the same of CutMix. Where neither is 0, each batch is mixed in one way or the other.
        labels: number of labels.
    """

    mixup_alpha: float
    cutmix_alpha: float
    labels: int

    def draw(self, count: int, seed: int) -> Mix | None:
        """Returns how the pictures of a batch are mixed, all in the same proportion; None where nothing is to be mixed."""
        random = np.random.default_rng(seed)
        cuts = random.random() < 0.5 if self.mixup_alpha and self.cutmix_alpha else bool(self.cutmix_alpha)
        alpha = self.cutmix_alpha if cuts else self.mixup_alpha
        if not alpha:
            return None
        share = random.beta(alpha, alpha)
        middle = (random.random(), random.random()) if cuts else None
        return Mix(random.permutation(count), share, middle, self.labels)


@dataclass(frozen=True, slots=True)
class Mix:
    """How the pictures of one batch are mixed.

    Attributes:
        partners: int64 [N], the picture that each picture is mixed with.
        share: of the picture itself, 0..1; of its partner is the rest.
        middle: of the rectangle that the partner fills, in shares of height and width; None blends the two.
        labels: number of labels.
    """

    partners: NDArray[np.int64]
    share: float
    middle: tuple[float, float] | None
    labels: int

    def apply(self, pixels: Tensor, targets: Tensor, other_pixels: Tensor, other_targets: Tensor) -> tuple[Tensor, Tensor]:
        """Mixes some pictures of the batch with their partners.

        Args:
            pixels: float32 [n, 3, H, W].
            targets: int64 [n], class indices; or float32 [n, C], 1 for each label that applies.
            other_pixels: float32 [n, 3, H, W], the partner of each.
            other_targets: those of the partners.

        Returns:
            The pixels, and float32 [n, C] how much of each label there is.
        """
        share = self.share
        if self.middle is None:
            mixed = torch.lerp(other_pixels, pixels, share)
        else:
            height, width = pixels.shape[2:]
            side = np.sqrt(1 - share)
            rows, columns = (_part(length, side, at) for length, at in zip((height, width), self.middle, strict=True))
            mixed = pixels.clone()
            mixed[:, :, rows, columns] = other_pixels[:, :, rows, columns]
            share = 1 - (rows.stop - rows.start) * (columns.stop - columns.start) / (height * width)
        if not targets.is_floating_point():
            targets, other_targets = (functional.one_hot(indices, self.labels).float() for indices in (targets, other_targets))
        return mixed, torch.lerp(other_targets, targets, share)


def _part(length: int, share: float, at: float) -> slice:
    """Returns a stretch about a place, 0..1; what lies beyond an end is cut off."""
    middle, half = int(length * at), round(length * share / 2)
    return slice(max(0, middle - half), min(length, middle + half))
