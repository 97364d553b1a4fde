"""JPEG bytes -> an array of pixels by nvJPEG on an NVIDIA GPU: what libjpeg-turbo decodes, give or take some levels.

The card sees files of the commonest kind, of one scan, after every limit and at their full size. What is odd, progressive, cut off,
large, or refused there is for `core.jpeg`, and then for Pillow, so that what is broken has one judge. So is a file that is decoded
at a part of its size, which costs the processor less than to resize the whole of it.
"""

from __future__ import annotations

import importlib
import os
import re
import threading
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eyasd.core import jpeg
from eyasd.core.errors import StartupFailed

# Of 255 levels: what nvImageCodec's own tests allow between nvJPEG and libjpeg-turbo where chroma is interpolated, and 44 where it
# is not.
TOLERANCE: Final = 4
# Others, such as 4:1:1, libjpeg-turbo does not interpolate.
_SAMPLINGS: Final = {"444", "422", "420", "Gray"}
# Bounds what a thread has on the card: 12.6 MB of pixels and twice that of coefficients.
_MOST_PIXELS: Final = 1 << 22
_START_OF_SCAN: Final = 0xDA
_BASELINE: Final = 0xC0
_TABLES: Final = {0xC4, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)}  # and the interval of restarts, comments, what applications add
# Anything within a scan but data and restarts. Of other markers there libjpeg-turbo refuses some, where another decoder may take
# the rest of the picture to be grey.
_MARKER: Final = re.compile(rb"\xff[^\x00\xd0-\xd7]")
_END: Final = b"\xff\xd9"
# Chroma is interpolated, as libjpeg-turbo does; 4 is NVJPEG_FLAGS_BITSTREAM_STRICT, which refuses what is against the standard.
_OPTIONS: Final = ":fancy_upsampling=1 :extra_flags=4"
_HOW: Final = {"4:2:0": {"subsampling": 2}, "4:2:2": {"subsampling": 1}, "4:4:4": {"subsampling": 0}}
_ADVICE: Final = "or set serving.decoder to cpu."


class GpuDecoder:
    """Decodes on one GPU, in any thread: each has a decoder of nvImageCodec to itself, which are not made for two."""

    def __init__(self, observe: Callable[[bool], object], device: int = 0) -> None:
        """Decodes some made-up pictures, and compares them.

        Args:
            observe: hears of each file that was given to the card whether it was decoded there.
            device: number of the GPU among those that the process may see. nvImageCodec's NVIMGCODEC_DEVICE_CPU_ONLY takes its own
                libjpeg-turbo instead, which shows a picture's way where there is no GPU.

        Raises:
            StartupFailed: the package, the driver or the GPU is missing, or the pixels are beyond `TOLERANCE`.
        """
        self._observe = observe
        self._device = device
        self._own = threading.local()
        os.environ.setdefault("PYNVIMGCODEC_VERBOSITY", "0")  # else every file that it refuses is a line on standard error
        try:
            self._library: Any = importlib.import_module("nvidia.nvimgcodec")
        except ImportError as error:
            raise StartupFailed(
                f"serving.decoder is gpu, but nvImageCodec cannot be imported ({error}): install 'eyas[gpu-decode]', {_ADVICE}"
            ) from error
        try:
            self._make()
        except RuntimeError as error:
            raise StartupFailed(
                f"serving.decoder is gpu, but nvImageCodec finds no GPU, driver or nvJPEG that it can use ({error}): see to "
                f"that, {_ADVICE}"
            ) from error
        for name, encoded, size in _pictures():
            self._compare(name, self._decode(encoded, size), jpeg.decode(encoded, size, 1))

    def decode(self, encoded: bytes, size: tuple[int, int], divided_by: int) -> NDArray[np.uint8] | None:
        """As `jpeg.decode`, but that the pixels may be gone with the thread's next call."""
        pixels = None
        small = divided_by == 1 and size[0] * size[1] <= _MOST_PIXELS
        if small and _is_one_scan(encoded) and jpeg.sampling(encoded) in _SAMPLINGS:
            pixels = self._decode(encoded, size)
            self._observe(pixels is not None)
        return jpeg.decode(encoded, size, divided_by) if pixels is None else pixels

    def _decode(self, encoded: bytes, size: tuple[int, int]) -> NDArray[np.uint8] | None:
        """Returns uint8 [H, W, 3], RGB, as stored; None where the card does not decode it."""
        own = self._own
        try:
            if not hasattr(own, "decoder"):
                self._make()
            image = own.decoder.decode(self._library.CodeStream(encoded), image=own.image, params=own.params)
            if image is None:
                return None
            own.image = image  # its memory is used again for the next
            pixels: NDArray[np.uint8] = np.asarray(image.cpu())
        except Exception:  # noqa: BLE001 - whatever a card has against a file, or lacks for it, the processor can tell and has
            return None
        return pixels if pixels.shape == (size[1], size[0], 3) else None

    def _make(self) -> None:
        """Makes this thread's decoder."""
        library, own = self._library, self._own
        on_gpu = self._device != library.NVIMGCODEC_DEVICE_CPU_ONLY
        kinds = (library.HW_GPU_ONLY, library.GPU_ONLY, library.HYBRID_CPU_GPU) if on_gpu else (library.CPU_ONLY,)
        backends = [library.Backend(kind) for kind in kinds]
        own.params = library.DecodeParams(apply_exif_orientation=False, color_spec=library.SRGB)
        own.image = None
        own.decoder = library.Decoder(device_id=self._device, max_num_cpu_threads=1, backends=backends, options=_OPTIONS)

    @staticmethod
    def _compare(name: str, pixels: NDArray[np.uint8] | None, expected: NDArray[np.uint8] | None) -> None:
        """Raises StartupFailed."""
        if pixels is None or expected is None:
            raise StartupFailed(
                f"serving.decoder is gpu, but nvJPEG does not decode a {name} JPEG: install 'eyas[gpu-decode]', {_ADVICE}"
            )
        levels = int(np.abs(pixels.astype(np.int16) - expected).max())
        if levels > TOLERANCE:
            raise StartupFailed(
                f"serving.decoder is gpu, but nvJPEG and libjpeg-turbo differ by {levels} of 255 levels in a {name} JPEG, and at "
                f"most {TOLERANCE} are allowed: install another version of nvidia-nvjpeg, {_ADVICE}"
            )


def _is_one_scan(encoded: bytes) -> bool:
    """Returns whether a JPEG is baseline, and after its headers nothing but one scan that ends with the file."""
    place, baseline = 2, False  # behind the start of the image
    while encoded[place : place + 1] == b"\xff" and place + 4 <= len(encoded):
        kind, length = encoded[place + 1], int.from_bytes(encoded[place + 2 : place + 4])
        place += 2 + length
        if kind == _START_OF_SCAN:
            marker = _MARKER.search(encoded, place)
            return baseline and marker is not None and marker.group() == _END and marker.end() == len(encoded)
        if kind == _BASELINE:
            baseline = True
        elif kind not in _TABLES:
            return False
    return False


def _pictures() -> Iterator[tuple[str, bytes, tuple[int, int]]]:
    """Yields the name, the file and the size of a soft picture of each kind that a card is given."""
    size = 191, 131  # no whole number of blocks
    blotches = np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)
    picture = Image.fromarray(blotches).resize(size, Image.Resampling.BICUBIC)
    for name, options in _HOW.items():
        yield name, _encoded(picture, **options), size
    yield "grey", _encoded(picture.convert("L")), size


def _encoded(picture: Image.Image, **options: int) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=90, **options)
    return buffer.getvalue()
