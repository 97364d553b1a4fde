"""Random geometry for training pictures, on the batch and on its device: one affine resampling for all four wishes, then a flip.

Composing first and sampling once blurs once; four operations one after another would blur four times. Validation and test
pictures never come here: only the training loop calls it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import radians
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

from eyasd.training.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """How far training pictures are moved; the fields mean what those of `eyas.v1.TrainingSpec` mean."""

    rotation_degrees: float = 0.0
    shift_fraction: float = 0.0
    shear_degrees: float = 0.0
    zoom_fraction: float = 0.0
    horizontal_flip: bool = False

    @classmethod
    def of(cls, recipe: Recipe) -> Self:
        """Returns the recipe's."""
        return cls(
            rotation_degrees=recipe.rotation_degrees,
            shift_fraction=recipe.shift_fraction,
            shear_degrees=recipe.shear_degrees,
            zoom_fraction=recipe.zoom_fraction,
            horizontal_flip=recipe.horizontal_flip,
        )

    def apply(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        """Moves every picture of a batch in its own way.

        Args:
            pixels: float32 [N, 3, H, W].
            generator: on the CPU, so that the same seed moves pictures the same way on every device.

        Returns:
            float32 [N, 3, H, W]; what lies beyond the edge is the picture's reflection.
        """
        if self.rotation_degrees or self.shift_fraction or self.shear_degrees or self.zoom_fraction:
            matrices = self._matrices(len(pixels), generator).to(pixels.device)
            grid = functional.affine_grid(matrices, list(pixels.shape), align_corners=False)
            pixels = functional.grid_sample(pixels, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
        if self.horizontal_flip:
            flipped = (torch.rand(len(pixels), generator=generator) < 0.5).to(pixels.device)
            pixels = torch.where(flipped.view(-1, 1, 1, 1), pixels.flip(3), pixels)
        return pixels.contiguous(memory_format=torch.channels_last)

    def _matrices(self, count: int, generator: torch.Generator) -> Tensor:
        """Returns float32 [N, 2, 3]: from a place in the result, in -1..1, to the place in the picture it is taken from."""

        def between(limit: float) -> Tensor:
            return (2 * torch.rand(count, generator=generator) - 1) * limit

        angle = between(radians(self.rotation_degrees))
        shear = between(radians(self.shear_degrees)).tan()
        # Symmetric in the logarithm: a picture is as often half as twice its size, and a zoom of 0.9 never reaches zero.
        scale = torch.exp(between(1.0) * torch.log1p(torch.tensor(self.zoom_fraction)))
        shift_x, shift_y = between(2 * self.shift_fraction), between(2 * self.shift_fraction)
        cosine, sine = angle.cos() * scale, angle.sin() * scale
        return torch.stack(
            [
                torch.stack([cosine, shear * cosine - sine, shift_x], -1),
                torch.stack([sine, shear * sine + cosine, shift_y], -1),
            ],
            1,
        )
