"""Part of a picture -> a square of any size, antialiased, as two products with banded matrices and one rounding at the end.

The weights are those of Pillow's resize: a kernel as wide as a pixel of the output, normalised at the borders. Pillow rounds to 8
bits between its two passes as well, and changed their order in version 13; here nothing depends on a library's version. Where rows
of weights lie in blocks of eight, a product of matrices wastes little on zeros and leaves the rest to BLAS: 533 x 400 to 224 pixels
takes half of Pillow's time. Knows arrays, not pictures.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

# Outputs in a block, downwards and across, where the weights of three interleaved channels are two thirds zeros. Twice as many are
# fewer calls, but take no less time; and OpenBLAS leaves products of this size to the calling thread. There are enough of those.
_DOWN: Final = 16
_ACROSS: Final = 8
# Every new page that a thread touches costs a fault, so that fresh arrays tripled the time; what a thread keeps is bounded by this.
_KEPT_FLOATS: Final = 2_000_000
_STRIP_FLOATS: Final = 1 << 19  # of the input at a time; photographs to 224 pixels need 1 << 18 and a little


@dataclass(frozen=True, slots=True)
class Kernel:
    """A resampling kernel.

    Attributes:
        reach: half of its width, in pixels of the output where it is the smaller picture, else of the input.
        weight: of distances in those pixels; need not be normalised.
    """

    reach: float
    weight: Callable[[NDArray[np.float64]], NDArray[np.float64]]


def _bilinear(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.abs(x) < 1, 1 - np.abs(x), 0)


def _bicubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    x = np.abs(x)  # Keys 1981, equation 4, a = -0.5
    return np.where(x < 1, (1.5 * x - 2.5) * x * x + 1, np.where(x < 2, ((-0.5 * x + 2.5) * x - 4) * x + 2, 0))


def _lanczos(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)


BILINEAR: Final = Kernel(1.0, _bilinear)
BICUBIC: Final = Kernel(2.0, _bicubic)
LANCZOS: Final = Kernel(3.0, _lanczos)


@dataclass(frozen=True, slots=True, eq=False)
class _Bands:
    """What one axis of the output is made of.

    Attributes:
        starts: of each block of outputs, the first input that it needs.
        span: how many inputs from there each block is given.
        weights: float32; [blocks, outputs, inputs] for one channel, or, transposed for interleaved channels,
            [blocks, inputs x channels, outputs x channels].
    """

    starts: Sequence[int]
    span: int
    weights: NDArray[np.float32]


class _Scratch(threading.local):
    """Memory that a thread uses again for the next picture."""

    def __init__(self) -> None:
        self._kept = np.empty(0, np.float32)

    def floats(self, *shapes: tuple[int, int]) -> list[NDArray[np.float32]]:
        """Returns uninitialised arrays of these shapes, valid until the thread's next call."""
        total = sum(map(math.prod, shapes))
        room = self._kept
        if room.size < total:
            room = np.empty(total, np.float32)
            if total <= _KEPT_FLOATS:
                self._kept = room
        arrays, begin = [], 0
        for shape in shapes:
            end = begin + math.prod(shape)
            arrays.append(room[begin:end].reshape(shape))
            begin = end
        return arrays


_scratch: Final = _Scratch()


def resample(
    region: Callable[[tuple[int, int, int, int]], NDArray[np.uint8]],
    size: tuple[int, int],
    box: tuple[float, float, float, float],
    kernel: Kernel,
    out: NDArray[np.uint8],
) -> None:
    """Resizes part of a picture.

    Args:
        region: gives uint8 [bottom - top, right - left, 3] of the (left, top, right, bottom) in pixels that it is asked for.
        size: width and height of the picture, in pixels.
        box: left, top, right and bottom of the part, in pixels; need not be whole.
        kernel: of the resize.
        out: uint8 [H, W, 3], H = W, takes the result.
    """
    side, (left, top, right, bottom) = len(out), box
    (x, columns), (y, rows) = _reach(size[0], left, right, side, kernel), _reach(size[1], top, bottom, side, kernel)
    down = _bands(rows, top - y, bottom - y, side, kernel, _DOWN, 1)
    across = _bands(columns, left - x, right - x, side, kernel, _ACROSS, 3)
    inputs, blocks, width = 3 * columns, len(across.starts), 3 * _ACROSS
    most = max(down.span, min(rows, _STRIP_FLOATS // inputs))
    strip, middle, result = _scratch.floats((most, inputs), (len(down.starts) * _DOWN, inputs), (blocks * side, width))
    after = 0  # the first row after those in the strip
    for index, start in enumerate(down.starts):
        if start + down.span > after:
            first, after = start, min(start + most, rows)
            pixels = region((x, y + first, x + columns, y + after))
            np.copyto(strip[: after - first].reshape(-1, columns, 3), pixels)
        needed = strip[start - first : start - first + down.span]
        np.dot(down.weights[index], needed, out=middle[index * _DOWN : (index + 1) * _DOWN])
    squares = result.reshape(blocks, side, width)
    for index, start in enumerate(across.starts):
        np.dot(middle[:side, 3 * start : 3 * (start + across.span)], across.weights[index], out=squares[index])
    result += 0.5
    np.clip(result, 0, 255, out=result)
    rounded = np.empty((side, blocks, width), np.uint8)
    np.copyto(rounded, squares.transpose(1, 0, 2), casting="unsafe")
    np.copyto(out, rounded.reshape(side, -1, 3)[:, :side])


def _reach(length: int, start: float, stop: float, side: int, kernel: Kernel) -> tuple[int, int]:
    """Returns the first and the number of the inputs that an axis of the output may need.

    Counted from there, pictures of all sizes with a cut of one size have the same weights, so that these are found in the cache.
    """
    reach = math.ceil(kernel.reach * max((stop - start) / side, 1.0)) + 1
    first = max(math.floor(start) - reach, 0)
    return first, min(math.ceil(stop) + reach, length) - first


@lru_cache(maxsize=32)  # of 20 and 140 KB for photographs, 3 MB at the most
def _bands(length: int, start: float, stop: float, side: int, kernel: Kernel, block: int, channels: int) -> _Bands:
    scale = (stop - start) / side
    spread = max(scale, 1.0)
    centres = start + (np.arange(side) + 0.5) * scale
    first = np.maximum((centres - kernel.reach * spread + 0.5).astype(np.intp), 0)
    last = np.minimum((centres + kernel.reach * spread + 0.5).astype(np.intp), length)
    inputs = first[:, None] + np.arange((last - first).max())
    used = inputs < last[:, None]
    weights = np.where(used, kernel.weight((inputs + 0.5 - centres[:, None]) / spread), 0.0)
    weights /= weights.sum(axis=1, keepdims=True)
    blocks = -(-side // block)
    starts = first[::block]
    span = int((last[np.minimum(np.arange(1, blocks + 1) * block, side) - 1] - starts).max())
    starts = np.minimum(starts, length - span)
    outputs, _ = np.nonzero(used)
    bands = np.zeros((blocks * block, span), np.float32)
    bands[outputs, inputs[used] - starts[outputs // block]] = weights[used]
    each = bands.reshape(blocks, block, span)
    if channels == 1:
        return _Bands(starts.tolist(), span, each)
    spaced = np.zeros((blocks, span, channels, block, channels), np.float32)
    for channel in range(channels):
        spaced[:, :, channel, :, channel] = each.transpose(0, 2, 1)
    return _Bands(starts.tolist(), span, spaced.reshape(blocks, span * channels, block * channels))
