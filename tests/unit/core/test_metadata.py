"""Of a picture's file nothing stays but the picture: the same pixels, the same way up, and not a word more."""

from __future__ import annotations

import struct
import time
import zlib
from contextlib import suppress
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageOps, PngImagePlugin

from builders import scene
from eyasd.core import likeness
from eyasd.core.errors import UndecodableImage
from eyasd.core.metadata import without_metadata
from eyasd.core.preprocess import Preprocess, Resize, load_image
from eyasd.serving.capture.preparing import bare

SPEC = Preprocess(60, resize=Resize.MATRIX)
SECRET = b"52.5200N 13.4050E"


def exif(turn: int) -> Image.Exif:
    made = Image.Exif()
    made[ExifTags.Base.Orientation] = turn
    made[ExifTags.Base.ImageDescription] = SECRET.decode()
    made.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSMapDatum] = SECRET.decode()
    return made


def encoded(form: str, turn: int, **options: Any) -> bytes:
    buffer = BytesIO()
    scene(1, (90, 60)).save(buffer, form, exif=exif(turn), **options)
    return buffer.getvalue()


def shown(file: bytes) -> Any:
    return np.asarray(ImageOps.exif_transpose(Image.open(BytesIO(file))).convert("RGB"))


def text() -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", SECRET.decode(), zip=False)
    return info


FILES = {
    "JPEG": lambda turn: encoded("JPEG", turn, comment=SECRET, quality=90),
    "progressive JPEG": lambda turn: encoded("JPEG", turn, progressive=True, quality=90),
    "PNG": lambda turn: encoded("PNG", turn, pnginfo=text()),
    "WEBP": lambda turn: encoded("WEBP", turn, xmp=SECRET),
    "lossless WEBP": lambda turn: encoded("WEBP", turn, lossless=True),
}


@pytest.mark.parametrize("turn", [1, 2, 6, 8])
@pytest.mark.parametrize("form", FILES)
def test_the_picture_stays_pixel_by_pixel_and_the_right_way_up(form: str, turn: int) -> None:
    before = FILES[form](turn) + (SECRET if "JPEG" in form or form == "PNG" else b"")  # behind the end, as telephones do
    assert SECRET in before
    after = without_metadata(before)
    assert SECRET not in after
    assert len(after) < len(before)
    assert np.array_equal(shown(after), shown(before))
    tags = dict(Image.open(BytesIO(after)).getexif())
    assert tags == ({} if turn == 1 else {ExifTags.Base.Orientation: turn})
    assert without_metadata(after) == after


def test_a_jpeg_keeps_its_colours_and_loses_its_thumbnails_and_other_segments() -> None:
    buffer = BytesIO()
    scene(1).convert("CMYK").save(buffer, "JPEG", icc_profile=b"a profile")  # which has Adobe's word on colours
    plain = buffer.getvalue()
    segments = b"".join(b"\xff" + bytes([kind]) + struct.pack(">H", len(SECRET) + 2) + SECRET for kind in (0xE0, 0xE2, 0xED, 0xEF))
    dirty = plain[:2] + segments + plain[2:]
    after = without_metadata(dirty)
    assert SECRET not in after
    assert np.array_equal(shown(after), shown(plain))
    assert Image.open(BytesIO(after)).info["icc_profile"] == b"a profile"
    jfif = encoded("JPEG", 1)
    thumbnail = bytes([2, 2]) + SECRET[:12]
    place = jfif.index(b"JFIF\0")
    length = struct.pack(">H", 14 + 2 + 12)
    with_thumbnail = jfif[: place - 2] + length + jfif[place : place + 12] + thumbnail + jfif[place + 14 :]
    assert SECRET[:12] not in without_metadata(with_thumbnail)
    assert np.array_equal(shown(without_metadata(with_thumbnail)), shown(jfif))


def test_an_orientation_that_only_xmp_tells_stays() -> None:
    buffer = BytesIO()
    scene(1).save(buffer, "JPEG", xmp=b'<x tiff:Orientation="6" by="52.5200N 13.4050E"/>')
    after = without_metadata(buffer.getvalue())
    assert SECRET not in after
    assert np.array_equal(shown(after), shown(buffer.getvalue()))


def test_what_fills_up_a_scan_is_passed_over_once() -> None:
    """Each such byte was looked at from each before it: of 40 KB that took 10 s, so of these some minutes."""
    plain = FILES["JPEG"](1)
    began = time.process_time()
    filled = plain[:-2] + (b"\xff" * 4_000 + b"\0") * 500 + b"\xff" * 4_000 + plain[-2:]
    assert np.array_equal(shown(without_metadata(filled)), shown(plain))
    assert time.process_time() - began < 20
    with pytest.raises(UndecodableImage, match="more than 4,096 segments"):
        without_metadata(plain[:-2] + b"\xff\xfe\0\x02" * 4_100 + plain[-2:])


def test_a_private_chunk_goes() -> None:
    plain = encoded("PNG", 1)
    body = b"prVt" + SECRET
    chunk = struct.pack(">I", len(SECRET)) + body + struct.pack(">I", zlib.crc32(body))
    dirty = plain[:33] + chunk + plain[33:]
    assert SECRET not in without_metadata(dirty)
    assert np.array_equal(shown(without_metadata(dirty)), shown(plain))


@pytest.mark.parametrize("form", ["GIF", "BMP", "moving WEBP", "moving PNG", "transparent GIF"])
def test_what_cannot_be_copied_in_parts_becomes_a_png_of_its_first_picture(form: str) -> None:
    buffer = BytesIO()
    frames = [scene(seed) for seed in (1, 2)]
    match form:
        case "moving WEBP":
            frames[0].save(buffer, "WEBP", save_all=True, append_images=frames[1:], exif=exif(1), lossless=True)
        case "moving PNG":
            frames[0].save(buffer, "PNG", save_all=True, append_images=frames[1:], exif=exif(1))
        case "transparent GIF":
            frames[0].convert("P").save(buffer, "GIF", transparency=3, comment=SECRET)
        case "GIF":
            frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], comment=SECRET)
        case _:
            frames[0].save(buffer, form)
    after = without_metadata(buffer.getvalue())
    opened = Image.open(BytesIO(after))
    assert (opened.format, SECRET in after) == ("PNG", False)
    before = Image.open(BytesIO(buffer.getvalue()))
    assert np.array_equal(np.asarray(opened.convert("RGBA")), np.asarray(before.convert("RGBA")))


def test_what_becomes_a_png_is_seen_as_before() -> None:
    grey = scene(1).convert("L")
    deep = [Image.fromarray(np.asarray(one.convert("L")).astype(np.uint16) * 257) for one in (scene(1), scene(2))]
    clear, small, moving = BytesIO(), BytesIO(), BytesIO()
    grey.save(clear, "GIF", transparency=int(np.bincount(np.asarray(grey).ravel()).argmax()))
    grey.save(small, "GIF")
    deep[0].save(moving, "PNG", save_all=True, append_images=deep[1:])
    larger = small.getvalue()[:6] + struct.pack("<HH", 200, 200) + small.getvalue()[10:]  # of which the picture draws a part
    for before in (clear.getvalue(), larger, moving.getvalue()):
        stripped, _ = bare(before)
        assert stripped.startswith(b"\x89PNG")
        assert np.array_equal(load_image(stripped, SPEC), load_image(before, SPEC))


def test_pixels_become_a_png() -> None:
    pixels = np.asarray(scene(1))
    assert np.array_equal(shown(without_metadata(pixels)), pixels)


@pytest.mark.parametrize("form", FILES)
def test_what_is_cut_short_is_refused(form: str) -> None:
    whole = FILES[form](6)
    for share in (0.0, 0.01, 0.3, 0.6):
        with pytest.raises(UndecodableImage):
            without_metadata(whole[: int(len(whole) * share)])
    with pytest.raises(UndecodableImage):
        without_metadata(b"no picture")


@given(st.data())
@settings(max_examples=60)
def test_any_damage_gives_a_file_or_is_refused(data: st.DataObject) -> None:
    damaged = bytearray(FILES[data.draw(st.sampled_from(sorted(FILES)))](6))
    for place in data.draw(st.lists(st.integers(0, len(damaged) - 1), min_size=1, max_size=20)):
        damaged[place] = data.draw(st.integers(0, 255))
    with suppress(UndecodableImage):
        assert isinstance(without_metadata(bytes(damaged)), bytes)


def test_near_copies_are_alike_and_others_are_not() -> None:
    one = scene(1, (320, 240))
    buffer = BytesIO()
    one.resize((160, 120)).save(buffer, "JPEG", quality=40)
    copy = likeness.digest(Image.open(BytesIO(buffer.getvalue())))
    assert likeness.near(likeness.digest(one), copy)
    assert not any(likeness.near(likeness.digest(one), likeness.digest(scene(seed))) for seed in range(2, 40))
    assert likeness.digest(Image.new("RGB", (50, 50), "red")) == ""
    assert not likeness.near("", "")
