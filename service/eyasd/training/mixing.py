"""Training pictures mixed in pairs: mixup (Zhang et al., 2018) blends two, CutMix (Yun et al., 2019) cuts one into another.

Both need many epochs before they help, so a recipe has them off unless there are many.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
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

    def apply(self, pixels: Tensor, targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Mixes each picture of a batch with another one, all in the same proportion.

        Args:
            pixels: float32 [N, 3, H, W].
            targets: int64 [N], class indices.
            generator: on the CPU.

        Returns:
            The pixels, and float32 [N, C] how much of each label there is; or both as they are where nothing is to be mixed.
        """
        random = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
        cuts = random.random() < 0.5 if self.mixup_alpha and self.cutmix_alpha else bool(self.cutmix_alpha)
        alpha = self.cutmix_alpha if cuts else self.mixup_alpha
        if not alpha:
            return pixels, targets
        share = random.beta(alpha, alpha)
        partners = torch.from_numpy(random.permutation(len(pixels))).to(pixels.device)
        if cuts:
            height, width = pixels.shape[2:]
            rows, columns = (_part(length, np.sqrt(1 - share), random) for length in (height, width))
            mixed = pixels.clone()
            mixed[:, :, rows, columns] = pixels[partners, :, rows, columns]
            share = 1 - (rows.stop - rows.start) * (columns.stop - columns.start) / (height * width)
        else:
            mixed = torch.lerp(pixels[partners], pixels, float(share))
        shares = functional.one_hot(targets, self.labels).float()
        return mixed, torch.lerp(shares[partners], shares, float(share))


def _part(length: int, share: float, random: np.random.Generator) -> slice:
    """Returns a stretch about a place at random; what lies beyond an end is cut off."""
    middle, half = random.integers(length), round(length * share / 2)
    return slice(max(0, middle - half), min(length, middle + half))
