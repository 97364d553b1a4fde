"""What travels between a daemon and a decoder: a file and what came of it in shared memory, and a record of each on a socket.

Each decoder has a memory of its own, of one picture at a time: one that was taken over sees the pictures that it is given, and
neither those of others nor what a network says of any. The price is a copy of the pixels, 15 us for 224 x 224.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from eyasd.core.preprocess import MAX_ENCODED_BYTES

# What is to be done, and bytes of the file; then the `Preprocess`, where it is to be loaded.
ASK: Final = struct.Struct("<BI")
# What came of it, and a number: bytes of the result, or pixels of a side; then what there is to say.
ANSWER: Final = struct.Struct("<BI")
MOST_RECORD_BYTES: Final = 16_384
_FILE_BYTES: Final = -(-MAX_ENCODED_BYTES // mmap.PAGESIZE) * mmap.PAGESIZE
MOST_RESULT_BYTES: Final = 3 * 4096 * 4096  # the largest picture that a network sees
_KEPT_BYTES: Final = 1 << 20  # of a file; whoever sends a larger one pays for new pages


class Do(IntEnum):
    """What a decoder is asked for, see `Decoding`."""

    LOAD = 0
    SHORTER_SIDE = 1
    BARE = 2


class Came(IntEnum):
    """What came of it."""

    DONE = 0
    UNDECODABLE = 1
    TOO_LARGE = 2
    NOT_KEPT = 3
    FAILED = 4


@dataclass(frozen=True, slots=True)
class Refusal:
    """What is wrong with a picture, see `core.errors`."""

    message: str
    width_px: int | None = None
    height_px: int | None = None


class Tray:
    """The memory of one decoder.

    Attributes:
        descriptor: of the memory.
        file: uint8 [FILE], what is to be decoded.
        result: uint8 [RESULT], what came of it.
        begun: bool [1], whether the decoder has begun; what it ended before is another's.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        """Makes the memory, or maps that of another process."""
        size = _FILE_BYTES + MOST_RESULT_BYTES + mmap.PAGESIZE
        if descriptor is None:
            descriptor = os.memfd_create("eyas-picture", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            os.ftruncate(descriptor, size)
            # Nobody can take the memory away from under the other.
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        self.descriptor = descriptor
        self._memory = mmap.mmap(descriptor, size)
        whole = np.frombuffer(self._memory, np.uint8)
        self.file: NDArray[np.uint8] = whole[:_FILE_BYTES]
        self.result: NDArray[np.uint8] = whole[_FILE_BYTES : _FILE_BYTES + MOST_RESULT_BYTES]
        self.begun: NDArray[np.bool_] = whole[-1:].view(np.bool_)

    def close(self) -> None:
        """Lets go of the memory, which goes with the last array that somebody still has."""
        os.close(self.descriptor)

    def shrink(self, file_bytes: int) -> None:
        """Gives back what a large picture has taken, which would stay taken."""
        if file_bytes > _KEPT_BYTES:
            self._memory.madvise(mmap.MADV_REMOVE, _KEPT_BYTES)
