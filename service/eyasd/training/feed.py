"""Brings the decoded pictures of each step to the device, so that it never waits for the disk, the processors or the bus.

Knows rows and devices, not what the pictures show.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Of the GPU's free memory; the rest is for gradients, the optimizer's state and activations.
_RESIDENT_SHARE: Final = 0.5
_CHUNK: Final = 1024

Rows = NDArray[np.int64]


class Feed:
    """Decoded pictures as tensors on a device.

    On a GPU, those rows that are asked for again and again lie there from the start if they fit; others cross the bus from pinned
    memory, on a stream of their own.
    """

    def __init__(self, images: NDArray[np.uint8], device: torch.device, repeated: Rows | None = None) -> None:
        """Loads the repeated rows, if there is room.

        Args:
            images: uint8 [N, H, W, 3], as a rule mapped from a file.
            device: where the batches are wanted.
            repeated: int64 [n], the rows that every epoch asks for; if given, it asks for no others.
        """
        self._images, self._device = images, device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        self._resident: Tensor | None = None
        if repeated is not None and len(repeated) * images[:1].nbytes <= _room_bytes(device):
            self._resident = torch.empty((len(repeated), *images.shape[1:]), dtype=torch.uint8, device=device)
            for start in range(0, len(repeated), _CHUNK):
                self._resident[start : start + _CHUNK] = torch.from_numpy(images[repeated[start : start + _CHUNK]])
            self._positions = np.full(len(images), len(repeated), np.int64)  # beyond the end: an error, not another picture
            self._positions[repeated] = np.arange(len(repeated))

    def batch(self, rows: Rows) -> Tensor:
        """Returns uint8 [n, H, W, 3] of int64 [n] rows, on the device."""
        if self._resident is not None:
            return self._resident[torch.from_numpy(self._positions[rows]).to(self._device)]
        return self._arrived(*self._sent(rows))

    def batches(self, steps: Sequence[Rows]) -> Iterator[Tensor]:
        """Yields `batch` of each step; unless all lie on the device, the next one is on its way meanwhile."""
        if self._resident is not None:
            yield from map(self.batch, steps)
            return
        with ThreadPoolExecutor(1) as pool:
            coming = [pool.submit(self._sent, rows) for rows in steps[:1]]
            for following in range(1, len(steps) + 1):
                batch = coming.pop().result()
                coming += [pool.submit(self._sent, rows) for rows in steps[following : following + 1]]
                yield self._arrived(*batch)

    def _sent(self, rows: Rows) -> tuple[Tensor, torch.cuda.Event | None]:
        """Returns the pictures, and what happens when they have crossed the bus; None where there is none to cross."""
        if self._stream is None:
            return torch.from_numpy(self._images[rows]), None
        with torch.cuda.stream(self._stream):  # of the right GPU, also in a thread that has not chosen one
            pictures = torch.from_numpy(self._images[rows]).pin_memory().to(self._device, non_blocking=True)
            return pictures, self._stream.record_event()

    def _arrived(self, pictures: Tensor, arrival: torch.cuda.Event | None) -> Tensor:
        """Makes the work that this thread gives to the device from now on wait for the pictures."""
        if arrival is not None:
            current = torch.cuda.current_stream(self._device)
            current.wait_event(arrival)
            pictures.record_stream(current)  # their memory is not given away before that work is done
        return pictures


def _room_bytes(device: torch.device) -> float:
    """Returns how much of the device pictures may take; on the CPU they lie in its memory anyway."""
    return _RESIDENT_SHARE * torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0
