"""Named arrays in a file of a bundle (.npz)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyasd.core.errors import BrokenBundle


@contextmanager
def arrays_of(content: bytes, name: str) -> Iterator[Mapping[str, NDArray[Any]]]:
    """Opens the content of the file `name`; never unpickles.

    Raises:
        BrokenBundle: it is damaged, or lacks an array that was asked for.
    """
    try:
        with np.load(BytesIO(content), allow_pickle=False) as arrays:
            yield arrays
    except Exception as error:  # numpy and zipfile raise many kinds on damaged files
        raise BrokenBundle(f"{name} is damaged: {error}.") from error
