"""Pictures: their headers and bounds, their pixels, and what is taken out of their files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from eyasd.core import jpeg
from eyasd.core.errors import UndecodableImage
from eyasd.core.metadata import without_metadata
from eyasd.core.opening import FORMATS, check_parts, open_picture
from eyasd.core.preprocess import Preprocess, Resize, load_image, tiny_size
from fuzz.target import Target, sentence
from hostile.damage import damaged_png
from hostile.pictures import broken, sound

_CROP: Final = 16
# By the length of the file, so that each of these is tried: the limit of pixels is low mostly, as what it lets through takes long.
_SPECS: Final = (
    Preprocess(_CROP, max_pixels=1_000_000, resize=Resize.MATRIX),
    Preprocess(_CROP, max_pixels=1_000_000),
    Preprocess(_CROP, max_pixels=100_000, crop_fraction=0.875, oversampling=1),
    Preprocess(_CROP),
)
_MOST: Final = 8_192
_MEGABYTES: Final = 600
_UNTOUCHED: Final = 7
_WORDS: Final = (
    b"\xff\xd8\xff", b"\xff\xd9", b"\xff\xda", b"\xff\xc0", b"\xff\xc2", b"\xff\xc4", b"\xff\xdb", b"\xff\xdd", b"\xff\xe1",
    b"Exif\0\0",
    b"Adobe", b"JFIF\0", b"MPF\0", b"http://ns.adobe.com/xap/1.0/\0", b"II*\0", b"MM\0*", b"\x89PNG\r\n\x1a\n", b"IHDR", b"IDAT",
    b"IEND",
    b"PLTE", b"tRNS", b"eXIf", b"iCCP", b"zTXt", b"tEXt", b"iTXt", b"acTL", b"fcTL", b"fdAT", b"pHYs", b"GIF87a", b"GIF89a",
    b"!\xf9\4",
    b"!\xfe", b"!\xff\x0bNETSCAPE2.0", b"RIFF", b"WEBP", b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"BM", b"\x28\0\0\0",
)  # fmt: skip


def _seeds() -> Iterator[bytes]:
    yield from sound().values()
    yield from (content for _, content in broken() if len(content) <= _MOST)


def check_header(encoded: bytes) -> None:
    """A header says a size and a form that is read, or is refused; what is taken for a plain JPEG is what Pillow sees, too."""
    try:
        check_parts(encoded)
    except UndecodableImage as error:
        sentence(error.message)
        return
    plain, tiny = jpeg.plain_size(encoded), tiny_size(encoded)
    assert tiny is None or tiny == plain
    jpeg.sampling(encoded)
    try:
        picture = open_picture(encoded)
    except Exception:  # noqa: BLE001 - `load_image` makes a sentence of whatever Pillow raises
        return
    assert picture.format in {*FORMATS, "MPO"}, picture.format
    assert min(picture.size) >= 0


def check_pixels(encoded: bytes) -> None:
    """A picture is pixels of the size that is wanted, written where they are wanted; or it is refused, and nothing is written."""
    spec = _SPECS[len(encoded) % len(_SPECS)]
    out = np.full((_CROP, _CROP, 3), _UNTOUCHED, np.uint8)
    try:
        made = load_image(encoded, spec, out, tiny_size(encoded))
    except UndecodableImage as error:
        sentence(error.message)
        assert (out == _UNTOUCHED).all()
        return
    assert made.shape == out.shape
    assert made.dtype == np.uint8
    assert np.shares_memory(made, out)


def check_metadata(encoded: bytes) -> None:
    """What is left of a file that decodes has the same pixels, and nothing more is found in it; or the file is refused."""
    spec = _SPECS[2]
    try:
        before = load_image(encoded, spec)
        bare = without_metadata(encoded)
    except UndecodableImage as error:
        sentence(error.message)
        return
    assert (load_image(bare, spec) == before).all()
    assert without_metadata(bare) == bare


TARGETS: Final = (
    Target("headers", check_header, _seeds, _WORDS, damaged_png, _MOST, megabytes=_MEGABYTES),
    Target("pixels", check_pixels, _seeds, _WORDS, damaged_png, _MOST, megabytes=_MEGABYTES),
    Target("metadata", check_metadata, _seeds, _WORDS, damaged_png, _MOST, megabytes=_MEGABYTES),
)
