"""The memory that an acceptor and the engines of a version share: places for pictures, and for what the network says of them.

A slot is written by one side at a time: by the acceptor until it asks, by the engine until it answers. All slots of a kind lie one
after another, so that each is a batch of one as it stands. Knows layouts, not who waits for what.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from dataclasses import dataclass
from math import prod
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

from eyasd.core.bundle import Manifest

_PAGE: Final = mmap.PAGESIZE
# Memory that is never written to takes none, so this bounds what a burst may leave behind: 1,700 pictures of 224 pixels a side.
_MAX_PIXEL_BYTES: Final = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Shape:
    """How a version's slots are laid out.

    Attributes:
        slots: how many there are.
        side: of a picture, in pixels.
        labels: C.
        feature_map: F, h and w; None where the version has no such output.
    """

    slots: int
    side: int
    labels: int
    feature_map: tuple[int, int, int] | None = None

    @classmethod
    def of(cls, manifest: Manifest, slots: int) -> Shape:
        """Returns the shape of a version's slots, of which there are as many as asked for, or as many as memory is given to."""
        side = manifest.preprocess.crop_px
        most = max(1, _MAX_PIXEL_BYTES // (3 * side * side))
        return cls(min(slots, most), side, len(manifest.labels), manifest.feature_map)

    def parts(self) -> list[tuple[tuple[int, ...], DTypeLike]]:
        """Returns the form and the type of each array."""
        pixels: tuple[tuple[int, ...], DTypeLike] = ((self.slots, self.side, self.side, 3), np.uint8)
        probabilities: tuple[tuple[int, ...], DTypeLike] = ((self.slots, self.labels), np.float32)
        return [pixels, probabilities, ((self.slots,), np.float32), (self._maps(), np.float32), ((self.slots,), np.bool_)]

    def _maps(self) -> tuple[int, ...]:
        return (self.slots, *(self.feature_map or (0, 0, 0)))


class Arena:
    """The slots of one acceptor for one version.

    Attributes:
        descriptor: of the memory; closed with the arena.
        pixels: uint8 [S, H, W, 3], the pictures.
        probabilities: float32 [S, C].
        ood_scores: float32 [S]; NaN where the network has no such output.
        feature_maps: float32 [S, F, h, w], of the pictures that are to be explained.
        running: bool [S], whether the picture is in the batch that the engine runs, or ended with.
    """

    def __init__(self, shape: Shape, descriptor: int | None = None) -> None:
        """Makes the memory, or maps that of another process.

        Raises:
            ValueError: the memory has another size than the shape.
        """
        starts, end = [], 0
        for form, kind in shape.parts():
            starts.append(end)
            end += -(-prod(form) * np.dtype(kind).itemsize // _PAGE) * _PAGE
        if descriptor is None:
            descriptor = os.memfd_create("eyas-slots", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            os.ftruncate(descriptor, end)
            # Nobody can take the memory away from under the other.
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        elif os.fstat(descriptor).st_size != end:
            raise ValueError(f"the slots take {os.fstat(descriptor).st_size} bytes; {shape} takes {end}")
        self.descriptor = descriptor
        memory = mmap.mmap(descriptor, end)  # unmapped with the last array that looks into it
        arrays: list[NDArray[Any]] = [
            np.frombuffer(memory, kind, prod(form), start).reshape(form)
            for start, (form, kind) in zip(starts, shape.parts(), strict=True)
        ]
        self.pixels, self.probabilities, self.ood_scores, self.feature_maps, self.running = arrays

    def close(self) -> None:
        """Lets go of the memory, which goes with the last array that somebody still has; not with the next search for cycles."""
        os.close(self.descriptor)
        del self.pixels, self.probabilities, self.ood_scores, self.feature_maps, self.running
