"""Named arrays in a file of a bundle (.npz)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from eyasd.core.errors import BrokenBundle

# Probabilities hardly shrink, and pictures to a half or a tenth; a file of nothing but zeros does to a thousandth.
_MOST_TIMES: Final = 100
_LEAST_BYTES: Final = 64 * 1024 * 1024


@contextmanager
def arrays_of(content: bytes, name: str) -> Iterator[Mapping[str, NDArray[Any]]]:
    """Opens the content of the file `name`; never unpickles.

    Raises:
        BrokenBundle: it is damaged, lacks an array that was asked for, or is far larger than its file.
    """
    try:
        with np.load(BytesIO(content), allow_pickle=False) as arrays:
            _check_size(arrays, len(content))
            yield arrays
    except Exception as error:  # numpy and zipfile raise many kinds on damaged files
        raise BrokenBundle(f"{name} is damaged: {error}.") from error


def _check_size(arrays: Any, file_bytes: int) -> None:
    """Refuses what would fill the memory once it is expanded. Raises ValueError."""
    size = sum(entry.file_size for entry in arrays.zip.infolist())
    if size > max(_LEAST_BYTES, _MOST_TIMES * file_bytes):
        raise ValueError(f"{file_bytes:,} bytes would become {size:,}")
