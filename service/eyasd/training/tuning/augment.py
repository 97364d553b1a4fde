"""Random changes to training pictures, on the whole batch and on its device.

Rotation, shift, shear, zoom, crop, stretch and flip are one affine warp a picture: composing first and sampling once blurs once,
where one operation after another would blur each time. Brightness, contrast and saturation are one matrix a picture. How strong
each is, every picture draws evenly from zero to the recipe's limit. Validation and test pictures never come here: only the
training loop and the report's contact sheet call it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import log, radians
from typing import Final, Self

import torch
from torch import Tensor
from torch.nn import functional

from eyasd.training.recipe import Recipe

# Share of the red, green and blue in what the eye takes for brightness (ITU-R BT.601).
_LUMA: Final = (0.299, 0.587, 0.114)
_STRETCH: Final = log(4 / 3)  # a crop is at most so much wider than high, or higher than wide (Szegedy et al., 2015)
_ERASED: Final = (0.02, 0.25)  # share of the picture's area (Zhong et al., 2020; there up to 0.4)
_ERASED_STRETCH: Final = log(3.3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """How far training pictures are changed; the fields mean what those of `eyas.v1.TrainingSpec` mean."""

    rotation_degrees: float = 0.0
    shift_fraction: float = 0.0
    shear_degrees: float = 0.0
    zoom_fraction: float = 0.0
    min_crop_fraction: float = 1.0
    color_fraction: float = 0.0
    erasing_probability: float = 0.0

    @classmethod
    def of(cls, recipe: Recipe) -> Self:
        """Returns the recipe's."""
        return cls(**{field.name: getattr(recipe, field.name) for field in fields(cls)})

    def apply(self, pixels: Tensor, flipped: Tensor, generator: torch.Generator, chosen: Tensor | None = None) -> Tensor:
        """Changes every picture of a batch in its own way.

        Args:
            pixels: float32 [n, 3, H, W] of 0..255.
            flipped: bool [N], the pictures to mirror left to right.
            generator: on the CPU, so that the same seed changes pictures the same way on every device.
            chosen: int64 [n], which of the batch's N pictures the pixels are; the others draw their changes, too, so that a picture
                is changed the same way whoever is here. None is all.

        Returns:
            float32 [n, 3, H, W] of 0..255; what lies beyond the edge is the picture's reflection.
        """
        here: Tensor | slice = slice(None) if chosen is None else chosen
        matrices = self._warps(flipped, generator)[here].to(pixels.device)
        grid = functional.affine_grid(matrices, list(pixels.shape), align_corners=False)
        pixels = functional.grid_sample(pixels, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
        if self.color_fraction:
            pixels = self._coloured(pixels, len(flipped), generator, here)
        if self.erasing_probability:
            pixels = self._erased(pixels, len(flipped), generator, here)
        return pixels.contiguous(memory_format=torch.channels_last)

    def _warps(self, flipped: Tensor, generator: torch.Generator) -> Tensor:
        """Returns float32 [N, 2, 3]: from a place in the result, in -1..1, to the place in the picture it is taken from."""
        count = len(flipped)
        angle = _between(radians(self.rotation_degrees), count, generator)
        shear = _between(radians(self.shear_degrees), count, generator).tan()
        # Symmetric in the logarithm: a picture is as often half as twice its size, and a zoom of 0.9 never reaches zero.
        zoom = torch.exp(_between(1.0, count, generator) * torch.log1p(torch.tensor(self.zoom_fraction)))
        area = 1 - torch.rand(count, generator=generator) * (1 - self.min_crop_fraction)
        stretch = torch.exp(_between(_STRETCH / 2, count, generator)) if self.min_crop_fraction < 1 else torch.ones(count)
        width, height = ((area.sqrt() * ratio).clamp_max(1.0) for ratio in (stretch, 1 / stretch))
        # A crop lies within the picture; a shift may leave it.
        x = _between(1.0, count, generator) * (1 - width) + _between(2 * self.shift_fraction, count, generator)
        y = _between(1.0, count, generator) * (1 - height) + _between(2 * self.shift_fraction, count, generator)
        cosine, sine = angle.cos() * zoom, angle.sin() * zoom
        mirrored = 1 - 2 * flipped.float().cpu()
        return torch.stack(
            [
                torch.stack([cosine * width * mirrored, (shear * cosine - sine) * height, x], -1),
                torch.stack([sine * width * mirrored, (shear * sine + cosine) * height, y], -1),
            ],
            1,
        )

    def _coloured(self, pixels: Tensor, count: int, generator: torch.Generator, here: Tensor | slice) -> Tensor:
        """Varies brightness, then contrast about the mean luma, then saturation, in one product with a 3 x 3 matrix."""
        limit = self.color_fraction
        brightness, contrast, saturation = (
            (1 + _between(limit, count, generator))[here].to(pixels.device).view(-1, 1, 1) for _ in range(3)
        )
        luma = torch.tensor(_LUMA, device=pixels.device)
        grey = luma.expand(3, 3)
        matrices = brightness * contrast * (saturation * torch.eye(3, device=pixels.device) + (1 - saturation) * grey)
        mean = (pixels.mean((2, 3)) @ luma).view(-1, 1, 1) * brightness
        offsets = mean * (1 - contrast)
        flat = torch.baddbmm(offsets, matrices, pixels.flatten(2))
        return flat.view_as(pixels).clamp(0, 255)

    def _erased(self, pixels: Tensor, count: int, generator: torch.Generator, here: Tensor | slice) -> Tensor:
        """Fills a rectangle of some pictures with a colour, so that no single part of a picture is all there is to learn."""
        height, width = pixels.shape[2:]

        def drawn(low: float, high: float) -> Tensor:
            return low + (high - low) * torch.rand(count, generator=generator)[here]

        chosen = drawn(0, 1) < self.erasing_probability
        side = drawn(*_ERASED).sqrt()
        stretch = torch.exp(drawn(-_ERASED_STRETCH, _ERASED_STRETCH) / 2)
        inside = chosen.view(-1, 1, 1).to(pixels.device)
        for length, share, shape in ((height, side * stretch, (-1, 1)), (width, side / stretch, (1, -1))):
            size = (share * length).clamp_max(length)
            first = drawn(0, 1) * (length - size)
            places = torch.arange(length) + 0.5
            within = (places >= first[:, None]) & (places < (first + size)[:, None])
            inside = inside & within.view(len(within), *shape).to(pixels.device)
        colour = (255 * torch.rand(count, 3, 1, 1, generator=generator))[here].to(pixels.device)
        return torch.where(inside[:, None], colour, pixels)


def _between(limit: float, count: int, generator: torch.Generator) -> Tensor:
    """Returns float32 [count] of -limit..limit."""
    return (2 * torch.rand(count, generator=generator) - 1) * limit
