"""The contact sheet: what the augmentation makes of a few pictures, for a person who wants to see what the network saw."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from eyasd.training.network import to_pixels
from eyasd.training.tuning.augment import Augmentation

_PX: Final = 96
_COLUMNS: Final = 8


def contact_sheet(images: NDArray[np.uint8], augmentation: Augmentation, flips: bool, seed: int) -> Image.Image:
    """Returns a picture: a row for each image, itself first, then as training sees it.

    Args:
        images: uint8 [N, H, W, 3].
        augmentation: of the recipe.
        flips: whether training mirrors pictures; then every other one is.
        seed: another one shows other changes.
    """
    generator = torch.Generator().manual_seed(seed)
    pixels = functional.interpolate(to_pixels(torch.from_numpy(images)), (_PX, _PX), mode="bilinear", antialias=True)
    unchanged = torch.zeros(len(images), dtype=torch.bool)
    columns = [Augmentation().apply(pixels, unchanged, generator)]
    for column in range(1, _COLUMNS):
        mirrored = torch.full_like(unchanged, flips and column % 2 == 0)
        columns.append(augmentation.apply(pixels, mirrored, generator))
    return Image.fromarray(_tiled(torch.stack(columns, 1)))


def _tiled(pixels: Tensor) -> NDArray[np.uint8]:
    """Returns uint8 [rows * H, columns * W, 3] of float32 [rows, columns, 3, H, W]."""
    rows, columns, channels, height, width = pixels.shape
    tiled = pixels.permute(0, 3, 1, 4, 2).reshape(rows * height, columns * width, channels)
    return tiled.round().to(torch.uint8).contiguous().numpy()
