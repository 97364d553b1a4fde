"""JPEG bytes -> an array of pixels by libjpeg-turbo without a detour: what Pillow decodes, in two thirds of the time.

Pillow reads the header, and decodes whatever this refuses: what is odd in a file (CMYK, a warning of the decoder, bytes cut off) is
judged by one program, with one sentence for each kind of damage.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

# As Pillow names them; MPO is a JPEG with more pictures behind the first, as telephones write it.
FORMATS: Final = ("JPEG", "MPO")
# Libjpeg-turbo decodes at n/8 of the size for any n, but has vector code for these alone: 5/8 took 1.25 and 6/8 1.5 times as long
# as the whole (24 KB, 533 x 400 pixels, AVX2).
_DIVISORS: Final = (8, 4, 2)


def divisor(size: tuple[int, int], needed_px: int) -> int:
    """Returns by what the sides can be divided while it is decoded, 1, 2, 4 or 8, for at least `needed_px` to be left of each."""
    return next((number for number in _DIVISORS if min(size) >= number * needed_px), 1)


def decode(encoded: bytes, header: Image.Image, divided_by: int) -> NDArray[np.uint8] | None:
    """Decodes a JPEG.

    Args:
        encoded: the file.
        header: as Pillow opened it; no pixels are taken from it.
        divided_by: 1, 2, 4 or 8: what becomes of each side, rounded up. Costs less the larger it is.

    Returns:
        uint8 [H, W, 3], RGB, as stored; None where Pillow shall decode it.
    """
    if header.mode not in {"RGB", "L"}:
        return None
    width, height = (-(-px // divided_by) for px in header.size)
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(encoded, "RGB", min_height=height, min_width=width)
    except ValueError:  # also for what Pillow takes no notice of, such as stray bytes between two segments
        return None
    return pixels if pixels.shape == (height, width, 3) else None
