"""Pictures that are odd but right are seen as they are; every beginning of a file is a picture or a mistake that is told."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from eyasd.core.errors import UndecodableImage
from eyasd.core.preprocess import Preprocess, Resize, load_image

SIDE = 16
# Where nothing is near another colour, and what is there.
PLACES = {(3, 3): (255, 0, 0), (3, 12): (0, 255, 0), (12, 3): (0, 0, 255), (12, 12): (200, 200, 0)}
FORMS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "PNG": {},
    "WEBP": {"lossless": True},
    "GIF": {},
    "BMP": {},
}


def quarters(mode: str = "RGB") -> Image.Image:
    """A picture with another colour in each quarter."""
    pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
    for (row, column), colour in PLACES.items():
        pixels[row // 8 * 8 :, column // 8 * 8 :] = colour
    return Image.fromarray(pixels).convert(mode)


def saved(picture: Image.Image, form: str, **options: Any) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, form, **FORMS[form] | options)
    return buffer.getvalue()


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return exif


def is_seen(encoded: bytes, wanted: Image.Image) -> bool:
    """Returns whether either resize sees the colours of a picture."""
    right = np.asarray(wanted).astype(int)
    seen = [load_image(encoded, Preprocess(SIDE, resize=resize)) for resize in Resize]
    return all(np.abs(one[place].astype(int) - right[place]).max() <= 30 for one in seen for place in PLACES)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_every_form_is_turned_upright(form: str) -> None:
    for orientation in range(1, 9):
        exif = turned(orientation)
        upright = quarters()
        upright.info["exif"] = exif.tobytes()
        assert is_seen(saved(quarters(), form, exif=exif), ImageOps.exif_transpose(upright)), orientation


@pytest.mark.parametrize("form", FORMS)
def test_odd_ones_are_seen_as_they_are(form: str) -> None:
    if form not in {"GIF", "BMP"}:
        assert is_seen(saved(quarters(), form, icc_profile=b"no profile" * 100), quarters())
    if form in {"GIF", "PNG", "WEBP"}:  # what moves: its first picture
        moving = saved(quarters(), form, save_all=True, append_images=[Image.new("RGB", (SIDE, SIDE))])
        assert is_seen(moving, quarters())
    if form == "JPEG":
        assert is_seen(saved(quarters("CMYK"), form), quarters())
    # Something else behind its end, of which another program would make a page or an archive.
    assert is_seen(saved(quarters(), form) + b"<script>alert(1)</script>PK\x05\x06" + bytes(18), quarters())


def test_every_beginning_of_a_file_is_a_picture_or_a_mistake() -> None:
    files = [saved(quarters(), form) for form in FORMS]
    files += [saved(quarters(), form, exif=turned(6)) for form in ("JPEG", "PNG", "WEBP")]
    files += [saved(quarters(), "JPEG", progressive=True), saved(quarters("CMYK"), "JPEG"), saved(quarters("P"), "PNG")]
    decoded = []
    for encoded in files:
        for end in range(len(encoded)):
            try:
                load_image(encoded[:end], Preprocess(SIDE))
            except UndecodableImage:
                continue
            decoded.append(len(encoded) - end)
    # Only what is behind the pixels may be missing, such as a check sum and an end.
    assert max(decoded) <= 100
    assert sum(map(len, files)) > 4_000
