"""Part of a picture -> a square of any size, antialiased, as two products with banded matrices and one rounding at the end.

The weights are those of Pillow's resize: a kernel as wide as a pixel of the output, normalised at the borders. Pillow rounds to 8
bits between its two passes as well, and changed their order in version 13; here nothing depends on a library's version. As rows of
weights lie in blocks, a product of matrices wastes little on zeros and leaves the rest to BLAS: 533 x 400 to 224 pixels takes half
of Pillow's time. Knows arrays, not pictures.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

# Outputs that are made by one product, of which the most suitable number is taken.
_BLOCKS: Final = range(8, 17)
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
        start: the first input of the first block; where it is none, as before 0 and behind the last, there are zeros.
        length: how many inputs there are from there to the last of the last block.
        step: from the first input of a block of outputs to the first of the next.
        span: inputs of a block.
        weights: float32 [blocks, outputs, inputs].
    """

    start: int
    length: int
    step: int
    span: int
    weights: NDArray[np.float32]

    @property
    def blocks(self) -> int:
        """How many there are."""
        return len(self.weights)

    @property
    def block(self) -> int:
        """Outputs of each, some of which may be beyond the last."""
        return int(self.weights.shape[1])


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
    down = _bands(rows, top - y, bottom - y, side, kernel)
    across = _bands(columns, left - x, right - x, side, kernel)
    inputs, outputs = 3 * across.length, 3 * across.block
    per_strip = max(1, min(down.blocks, (_STRIP_FLOATS // inputs - down.span) // down.step + 1 if down.step else down.blocks))
    strip, middle, result = _scratch.floats(
        ((per_strip - 1) * down.step + down.span, inputs), (down.blocks * down.block, inputs), (across.blocks * side, outputs)
    )
    left_end, right_end = max(across.start, 0), min(across.start + across.length, columns)
    for block in range(0, down.blocks, per_strip):
        count = min(per_strip, down.blocks - block)
        first = down.start + block * down.step
        begin, end = max(first, 0), min(first + (count - 1) * down.step + down.span, rows)
        pixels = region((x + left_end, y + begin, x + right_end, y + end))
        whole = strip.reshape(-1, across.length, 3)
        if pixels.shape != whole.shape:
            strip[:] = 0.0
        np.copyto(whole[begin - first : end - first, left_end - across.start : right_end - across.start], pixels)
        windows = as_strided(strip, (count, down.span, inputs), (down.step * strip.strides[0], *strip.strides))
        part = middle[block * down.block : (block + count) * down.block]
        np.matmul(down.weights[block : block + count], windows, out=part.reshape(count, down.block, inputs))
    shape = across.blocks, side, 3 * across.span
    windows = as_strided(middle, shape, (3 * across.step * middle.itemsize, *middle.strides))
    squares = result.reshape(across.blocks, side, outputs)
    np.matmul(windows, _interleaved(across), out=squares)
    result += 0.5
    np.clip(result, 0, 255, out=result)
    rounded = np.empty((side, across.blocks, outputs), np.uint8)
    np.copyto(rounded, squares.transpose(1, 0, 2), casting="unsafe")
    np.copyto(out, rounded.reshape(side, -1, 3)[:, :side])


def _reach(length: int, start: float, stop: float, side: int, kernel: Kernel) -> tuple[int, int]:
    """Returns the first and the number of the inputs that an axis of the output may need.

    Counted from there, pictures of all sizes with a cut of one size have the same weights, so that these are found in the cache.
    """
    reach = math.ceil(kernel.reach * max((stop - start) / side, 1.0)) + 1
    first = max(math.floor(start) - reach, 0)
    return first, min(math.ceil(stop) + reach, length) - first


@lru_cache(maxsize=32)  # of 20 KB for photographs
def _bands(length: int, start: float, stop: float, side: int, kernel: Kernel) -> _Bands:
    scale = (stop - start) / side
    spread = max(scale, 1.0)
    centres = start + (np.arange(side) + 0.5) * scale
    first = np.maximum((centres - kernel.reach * spread + 0.5).astype(np.intp), 0)
    last = np.minimum((centres + kernel.reach * spread + 0.5).astype(np.intp), length)
    inputs = first[:, None] + np.arange((last - first).max())
    used = inputs < last[:, None]
    weights = np.where(used, kernel.weight((inputs + 0.5 - centres[:, None]) / spread), 0.0)
    weights /= weights.sum(axis=1, keepdims=True)
    # Blocks that lie a whole number of inputs apart are one call for all of them: with a call for each, threads let go of the GIL
    # and waited for it 50 times. Where no block is quite a whole number, blocks drift, and each is given as many inputs more.
    block = min(_BLOCKS, key=lambda number: abs(number * scale - round(number * scale)) / number * side + number * scale)
    blocks, step = -(-side // block), round(block * scale)
    begins = np.arange(blocks) * step
    start = int((first[::block] - begins).min())
    span = int((last[np.minimum(np.arange(1, blocks + 1) * block, side) - 1] - begins).max()) - start
    outputs, _ = np.nonzero(used)
    bands = np.zeros((blocks * block, span), np.float32)
    bands[outputs, inputs[used] - start - begins[outputs // block]] = weights[used]
    return _Bands(start, (blocks - 1) * step + span, step, span, bands.reshape(blocks, block, span))


@lru_cache(maxsize=32)  # of 200 KB for photographs
def _interleaved(bands: _Bands) -> NDArray[np.float32]:
    """Returns the weights for three interleaved channels, transposed: float32 [blocks, 3 inputs, 3 outputs]."""
    spaced = np.zeros((bands.blocks, bands.span, 3, bands.block, 3), np.float32)
    for channel in range(3):
        spaced[:, :, channel, :, channel] = bands.weights.transpose(0, 2, 1)
    return spaced.reshape(bands.blocks, 3 * bands.span, 3 * bands.block)
