"""What decodes the files that callers send, as those see it who need pictures; and the way without processes of their own."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from eyasd.core import preprocess, reference
from eyasd.core.jpeg import Decode
from eyasd.core.preprocess import Preprocess, load_image
from eyasd.serving.capture import preparing


class Decoding(Protocol):
    """Opens callers' files. But for `tiny_size` every call may take long, and is made in a thread."""

    def tiny_size(self, encoded: bytes) -> tuple[int, int] | None:
        """Returns the size of a picture that is to be loaded at once, without a thread; None of another."""
        ...

    def load(
        self, encoded: bytes, spec: Preprocess, out: NDArray[np.uint8], deadline: float, size: tuple[int, int] | None = None
    ) -> None:
        """Decodes a picture into `out`.

        Args:
            encoded: its file.
            spec: of the model that will see it.
            out: uint8 [H, W, 3].
            deadline: on the clock of `time.monotonic`, until when a decoder is waited for.
            size: what `tiny_size` says of it, where it has been asked.

        Raises:
            UndecodableImage: it is no picture, over a limit, or has ended its decoder.
            DeadlineExceeded: no decoder was free in time.
            Unavailable: there are no decoders any more.
        """
        ...

    def shorter_side(self, encoded: bytes) -> int | None:
        """Returns the shorter side of a file's picture, in pixels; None where the file is none. Raises as `load` does."""
        ...

    def bare(self, encoded: bytes) -> tuple[bytes, str]:
        """Returns what `preparing.bare` does. Raises NotKept, and as `load` does."""
        ...

    def close(self) -> None:
        """Ends whatever decodes. Safe to call twice."""


class Here:
    """Decodes in the thread that asks."""

    def __init__(self, decode: Decode | None = None) -> None:
        """Remembers what decodes JPEGs in threads; None is libjpeg-turbo."""
        self._decode = decode

    def tiny_size(self, encoded: bytes) -> tuple[int, int] | None:
        """See `Decoding`."""
        return preprocess.tiny_size(encoded)

    def load(
        self, encoded: bytes, spec: Preprocess, out: NDArray[np.uint8], deadline: float, size: tuple[int, int] | None = None
    ) -> None:
        """See `Decoding`; nobody is waited for."""
        del deadline
        load_image(encoded, spec, out, size, self._decode if size is None else None)

    def shorter_side(self, encoded: bytes) -> int | None:
        """See `Decoding`."""
        return reference.shorter_side(encoded)

    def bare(self, encoded: bytes) -> tuple[bytes, str]:
        """See `Decoding`."""
        return preparing.bare(encoded)

    def close(self) -> None:
        """See `Decoding`; there is nothing to end."""
