"""What near copies of a picture share: 64 bits that are alike where the pictures are, so that a burst of a scene is kept once."""

from __future__ import annotations

from typing import Final

import numpy as np
from PIL import Image, ImageOps

_SIDE: Final = 8
# Grey levels of the small picture's standard deviation. What is flatter has no shape that could be told.
_LEAST_CONTRAST: Final = 4.0
NEAR_BITS: Final = 3


def digest(picture: Image.Image) -> str:
    """Returns of each of 8 x 8 neighbours whether the right one is brighter, 16 hexadecimal digits; "" where there is no contrast.

    Taken from the picture upright, in grey, and small, so that neither its size nor its compression counts.
    """
    upright = ImageOps.exif_transpose(picture).convert("L")
    small = np.asarray(upright.resize((_SIDE + 1, _SIDE), Image.Resampling.BOX), np.int16)
    if small.std() < _LEAST_CONTRAST:
        return ""
    return np.packbits(small[:, 1:] > small[:, :-1]).tobytes().hex()


def near(one: str, other: str) -> bool:
    """Returns whether two digests are of near copies."""
    return bool(one and other) and (int(one, 16) ^ int(other, 16)).bit_count() <= NEAR_BITS
