"""JPEG bytes -> an array of pixels by libjpeg-turbo without a detour: what Pillow decodes, in two thirds of the time.

Pillow reads the header, and decodes whatever this refuses: what is odd in a file (CMYK, a warning of the decoder, bytes cut off) is
judged by one program, with one sentence for each kind of damage.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import simplejpeg
from numpy.typing import NDArray

# As Pillow names them; MPO is a JPEG with more pictures behind the first, as telephones write it.
FORMATS: Final = ("JPEG", "MPO")
# Libjpeg-turbo decodes at n/8 of the size for any n, but has vector code for these alone: 5/8 took 1.25 and 6/8 1.5 times as long
# as the whole (24 KB, 533 x 400 pixels, AVX2).
_DIVISORS: Final = (8, 4, 2)
_START: Final = b"\xff\xd8\xff"
# What simplejpeg raises where it cannot read a file, or has no name for how its chroma is sampled (4:4:1).
_REFUSED: Final = (ValueError, KeyError)

# What `decode` is; another may take its place.
Decode = Callable[[bytes, tuple[int, int], int], NDArray[np.uint8] | None]


def divisor(size: tuple[int, int], needed_px: int) -> int:
    """Returns by what the sides can be divided while it is decoded, 1, 2, 4 or 8, for at least `needed_px` to be left of each."""
    return next((number for number in _DIVISORS if min(size) >= number * needed_px), 1)


def plain_size(encoded: bytes) -> tuple[int, int] | None:
    """Returns the width and height of a JPEG of which nothing else need be known before it is decoded.

    Returns:
        None where Pillow, which takes 45 us to open a file, has to look: the colours are not YCbCr or grey, or some segment may say
        which way is up, how the colours are meant, or that more pictures follow.
    """
    if not encoded.startswith(_START):
        return None
    # EXIF and XMP may turn a picture, MPF says that more follow, Adobe how the colours are meant.
    if b"Exif\0\0" in encoded or b"http://ns.adobe.com/x" in encoded or b"MPF\0" in encoded or b"Adobe" in encoded:
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(encoded)
    except _REFUSED:
        return None
    return (width, height) if colours in {"YCbCr", "Gray"} else None


def sampling(encoded: bytes) -> str | None:
    """Returns how a JPEG's chroma is sampled, such as 420, or Gray; None where its colours are neither YCbCr nor grey."""
    try:
        _, _, colours, sampled = simplejpeg.decode_jpeg_header(encoded)
    except _REFUSED:
        return None
    return str(sampled) if colours in {"YCbCr", "Gray"} else None


def decode(encoded: bytes, size: tuple[int, int], divided_by: int) -> NDArray[np.uint8] | None:
    """Decodes a JPEG of colours or greys.

    Args:
        encoded: the file.
        size: its width and height.
        divided_by: 1, 2, 4 or 8: what becomes of each side, rounded up. Costs less the larger it is.

    Returns:
        uint8 [H, W, 3], RGB, as stored; None where Pillow shall decode it.
    """
    width, height = (-(-px // divided_by) for px in size)
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(encoded, "RGB", min_height=height, min_width=width)
    except _REFUSED:  # also for what Pillow takes no notice of, such as stray bytes between two segments
        return None
    return pixels if pixels.shape == (height, width, 3) else None
