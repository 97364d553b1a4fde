"""A batch that does not fit the device's memory is run in parts.

How much a batch takes is known only when it is run, and others may fill a card meanwhile. So the largest batch is lowered for good
as soon as one does not fit, and what was in it is answered all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from eyasd.core.errors import OutOfMemory
from eyasd.serving.network.session import Outputs

# What ONNX Runtime says where memory ends. Its exceptions are Fail, RuntimeException or RuntimeError, with and without an arena or
# bound buffers (seen with 1.32 on the CPU under RLIMIT_AS), so only the text tells them from others: the arena's two sentences; the
# C++ library's, without an arena; CUDA's, cuBLAS's and cuDNN's own names.
_SIGNS: Final = (
    "Failed to allocate memory for requested buffer",
    "is smaller than requested bytes",
    "std::bad_alloc",
    "out of memory",
    "cudaErrorMemoryAllocation",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
)


def is_out_of_memory(error: Exception) -> bool:
    """Returns whether a run failed for want of memory."""
    return isinstance(error, MemoryError) or any(sign in str(error) for sign in _SIGNS)


@dataclass(frozen=True, slots=True)
class Part:
    """Pictures of a batch that were run together: from `first`, as many as `count`, and what came of it."""

    first: int
    count: int
    outcome: Outputs | OutOfMemory


def run_in_parts(
    run: Callable[[NDArray[np.uint8], bool], Outputs], images: NDArray[np.uint8], maps: bool, lower: Callable[[int], int]
) -> list[Part]:
    """Runs a batch, in parts if it must be.

    Args:
        run: the network, see `Session.run`.
        images: uint8 [N, H, W, 3], N at least 1.
        maps: whether the feature maps are wanted.
        lower: told how many pictures did not fit, more than one; returns the most that may be run together from now on, fewer
            than these.

    Returns:
        The parts, in the order of the pictures: one, where nothing is amiss. A picture that does not fit alone is one by itself.

    Raises:
        Exception: what `run` raises for another reason than memory.
    """
    parts: list[Part] = []
    first, most = 0, len(images)
    while first < len(images):
        count = min(most, len(images) - first)
        outcome: Outputs | OutOfMemory
        try:
            outcome = run(images[first : first + count], maps)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            if count > 1:
                most = lower(count)
                continue
            outcome = OutOfMemory()
        parts.append(Part(first, count, outcome))
        first += count
    return parts
