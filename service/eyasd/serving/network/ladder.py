"""The batch sizes of a device that pads: few enough to warm each, and to keep buffers for each."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence


def ladder(max_batch_size: int) -> list[int]:
    """Returns 1, 2, 4, ... up to and with `max_batch_size`."""
    return sorted({min(1 << power, max_batch_size) for power in range(max_batch_size.bit_length() + 1)})


def next_size(sizes: Sequence[int], count: int) -> int:
    """Returns the smallest of `sizes` that holds `count` pictures."""
    return sizes[bisect_left(sizes, count)]
