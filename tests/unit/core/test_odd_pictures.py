"""Pictures that are odd but right are seen as they are; every beginning of a file is a picture or a mistake that is told."""

from __future__ import annotations

import zlib
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from eyasd.core.errors import UndecodableImage
from eyasd.core.opening import open_picture
from eyasd.core.preprocess import Preprocess, Resize, load_image, whole_rgb
from hostile.costly import black, png, zeros

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


@pytest.mark.parametrize("bits", [1, 4, 8])
@pytest.mark.parametrize("used", [0, 2])
def test_a_bmp_of_two_colours_has_them_however_many_bits_a_pixel_has(bits: int, used: int) -> None:
    whole = bytearray(saved(quarters("L").point(lambda grey: 255 * (grey > 70)).convert("P"), "BMP"))
    palette = [0, 0xFFFFFF] + [0] * ((used or 1 << bits) - 2)
    rows = [[1] * 8 + [0] * 8] * 8 + [[0] * 8 + [1] * 8] * 8
    packed = [int("".join(f"{pixel:0{bits}b}" for pixel in row), 2).to_bytes(2 * bits) for row in rows]
    pixels = b"".join(row + bytes(-len(row) % 4) for row in packed)
    start = 54 + 4 * len(palette)
    whole[10:14], whole[28:30], whole[46:50] = start.to_bytes(4, "little"), bits.to_bytes(2, "little"), used.to_bytes(4, "little")
    encoded = bytes(whole[:54]) + np.array(palette, "<u4").tobytes() + pixels
    seen = load_image(encoded, Preprocess(SIDE, resize=Resize.MATRIX))[:, :, 0]
    assert np.array_equal(seen, 255 * np.array(rows[::-1], np.uint8))
    if used and bits > 1:  # a colour that there is none of is black, as in a browser
        other = bytearray(encoded)
        other[start] = 0xFF
        left = 0 if bits == 8 else slice(0, 2)
        seen[-1, left] = 0
        assert np.array_equal(load_image(bytes(other), Preprocess(SIDE, resize=Resize.MATRIX))[:, :, 0], seen)


@pytest.mark.parametrize(
    ("bits", "kind", "clear", "pixels"),
    [
        (1, 0, (1,), b"\x40"),
        (2, 0, (1,), b"\x18"),
        (4, 0, (0xFFF5,), b"\x05\xa0"),  # of whose bits the lowest four count
        (8, 0, (7,), b"\0\x07\x09"),
        (16, 0, (0x1234,), b"\0\0\x12\x34\x12\x35"),
        (16, 2, (0x1234, 0, 0xFFFF), b"\0\0\0\0\0\0" + b"\x12\x34\0\0\xff\xff" + b"\x34\x12\0\0\xff\xff"),
    ],
)
def test_the_colour_of_a_png_that_is_clear_is_white(bits: int, kind: int, clear: tuple[int, ...], pixels: bytes) -> None:
    """Of three pixels the second has it."""
    chunks = [(b"tRNS", b"".join(value.to_bytes(2) for value in clear)), (b"IDAT", zlib.compress(b"\0" + pixels))]
    encoded = png(chunks, (3, 1), bits, kind)
    wanted = [load_image(encoded, Preprocess(1, resize=resize)).tolist() for resize in Resize]
    assert wanted == [[[[255] * 3]]] * 2
    assert np.asarray(whole_rgb(open_picture(encoded)))[0, [0, 2]].min(axis=1).tolist() != [255, 255]


@pytest.mark.parametrize("place", [(0, 0), (7, 5), (16, 16)])
def test_where_the_first_picture_of_a_gif_draws_nothing_it_is_white(place: tuple[int, int]) -> None:
    encoded = bytearray(saved(quarters(), "GIF"))
    start = encoded.index(b",", 13 + 3 * 2 ** ((encoded[10] & 7) + 1))
    encoded[6:10] = np.array([2 * SIDE, 2 * SIDE], "<u2").tobytes()
    encoded[start + 1 : start + 5] = np.array(place, "<u2").tobytes()
    wanted = Image.new("RGB", (2 * SIDE, 2 * SIDE), "white")
    wanted.paste(quarters(), place)
    for resize in Resize:
        seen = load_image(bytes(encoded), Preprocess(2 * SIDE, resize=resize)).astype(int)
        assert np.abs(seen - np.asarray(wanted)).max() <= 3


@pytest.mark.parametrize(
    ("encoded", "says"),
    [
        (b"", "The file is empty: send a JPEG"),
        (b"II*\0" + bytes(100), "not a picture that is read: send a JPEG, PNG, WEBP, GIF or BMP file"),
        (saved(quarters(), "PNG")[:8] + bytes(20), "damaged, or of a kind that is not read: save it again"),
        (saved(quarters(), "JPEG").replace(b"\xff\xc0\0\x11\x08", b"\xff\xc1\0\x11\x0c"), "damaged, or of a kind that is not read"),
        (
            saved(quarters(), "BMP")[:30] + b"\x09" + saved(quarters(), "BMP")[31:],
            r"not read \(Unsupported BMP .*: save it as a PNG",
        ),
        (png([(b"zTXt", b"a\0\0" + zeros(2_000_000)), black(24)]), "has texts of more than a megabyte: save it without them"),
        (saved(quarters(), "PNG")[:-30], "is damaged or cut short .*: send a whole file"),
    ],
)
def test_what_is_refused_is_told_for_what_it_is(encoded: bytes, says: str) -> None:
    with pytest.raises(UndecodableImage, match=says):
        load_image(encoded, Preprocess(SIDE))


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
