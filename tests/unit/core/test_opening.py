import json
import subprocess
import sys
from pathlib import Path

import pytest

from eyasd.core.errors import ImageTooLarge
from eyasd.core.opening import check_parts, count_scans, open_picture
from eyasd.core.preprocess import Preprocess, Resize, load_image
from hostile.costly import EXIF, PICTURES, black, bmp, gif, jpeg, png, saved, zeros

# The others take a second and more each, to make or to decode.
SLOW = {"PNG of empty chunks", "JPEG of CMYK, one scan again and again", "WebP as large as is read, on its side"}
QUICK = [
    "PNG with alpha on its side, 40 megapixels",
    *(name for name in PICTURES if "40 megapixels" not in name and name not in SLOW),
]


@pytest.mark.parametrize(
    ("resize", "names"),
    [
        (Resize.MATRIX, QUICK),
        pytest.param(Resize.MATRIX, list(PICTURES), marks=pytest.mark.long),
        pytest.param(Resize.PILLOW, list(PICTURES), marks=pytest.mark.long),
    ],
)
def test_no_picture_costs_5_s_or_500_mb(resize: Resize, names: list[str]) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "hostile.costly", resize, *names],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        check=True,
    )
    rows = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [row["name"] for row in rows] == names
    assert [row for row in rows if row["crashed"] or row["seconds"] > 5 or row["peak_bytes"] > 500_000_000] == []
    assert ended.stderr == b""  # such as warnings of what their EXIF says


@pytest.mark.parametrize(
    ("encoded", "says"),
    [
        (png([(b"abCd", b"")] * 16_384 + [black(24)]), "16,384 chunks"),
        # Each of 16,000 took a millisecond to expand.
        (png([black(24), *[(b"iCCP", b"a\0\0" + zeros(900_000))] * 17]), "16 colour profiles"),
        (gif(b"!\xfe" + b"\x01a" * 4_096 + b"\0"), "4,096 blocks"),
        (gif(bytes(4_097)), "4,096 blocks or stray bytes"),
        (jpeg(b"\xff\xfe\x00\x02" * 4_097), "4,096 segments"),
        (jpeg(EXIF, bytes(4_097)), "4,096 segments or stray bytes"),
        (jpeg(EXIF, *[b"\xff\xdb\xff\xff" + (b"\0" + bytes([1]) * 64) * 1_008 + bytes(13)] * 5), "4,096 segments or stray bytes"),
        (jpeg(EXIF, b"\xff" * 4_097), "4,096 segments or stray bytes"),
        (saved("JPEG", "RGB")[:-2] + b"\xff" * 4_097 + b"\0\xff\xd9", "4,096 segments or stray bytes"),
        (b"\xff\xd8" + bytes(5_000), "4,096 segments or stray bytes"),
        (bmp(b"\x01\x05" * 1_000_000), "2,001,078 bytes"),
    ],
)
def test_a_file_of_too_many_parts_is_refused_before_it_is_opened(encoded: bytes, says: str) -> None:
    with pytest.raises(ImageTooLarge, match=says):
        load_image(encoded, Preprocess(crop_px=8))
    with pytest.raises(ImageTooLarge, match=says):
        open_picture(encoded)


@pytest.mark.parametrize(
    "encoded",
    [
        png([(b"abCd", b"")] * 16_000 + [black(24)]),
        png([(b"iCCP", b"a\0\0" + zeros(900_000))] * 16 + [black(24)]),
        gif(b"!\xfe" + b"\x01a" * 4_000 + b"\0"),
        jpeg(b"\xff\xfe\x00\x02" * 4_000),
        jpeg(b"\xff\xfe\xff\xff" + b"\xff\x00" * 32_766 + b"a"),
        jpeg(EXIF, b"\xff" * 4_000),
        # What is behind the first scan, or the picture, costs nothing.
        saved("JPEG", "RGB") + bytes(5_000_000),
        saved("JPEG", "RGB") + b"\xff" * 5_000_000,
        saved("GIF", "P") + bytes(5_000_000),
        bmp(b"\x01\x05\x00\x00" * 64 + b"\x00\x01", side=64),
    ],
)
def test_many_parts_are_read(encoded: bytes) -> None:
    check_parts(encoded)
    assert open_picture(encoded).size == (64, 64)


def test_scans_are_counted_where_a_decoder_sees_them() -> None:
    whole = saved("JPEG", "RGB", progressive=True)
    scans = whole.count(b"\xff\xda")
    assert count_scans(whole) == scans > 1
    thumbnails = b"\xff\xda" * 200
    # As telephones put a film of some megabytes behind a photograph.
    filmed = jpeg(b"\xff\xfe" + (2 + len(thumbnails)).to_bytes(2) + thumbnails, picture=whole) + thumbnails
    assert count_scans(filmed) == scans
    assert load_image(filmed, Preprocess(8)).shape == (8, 8, 3)
    # What a decoder passes over one by one hides nothing behind a length.
    for stray in (
        b"\xff\x02\xff\xff",
        b"\xff\xbf\xff\xff",
        b"\xff\xd0\xff\xff",
        b"\xff\x01\xff\xff",
        b"\xff\x00\xff\xff",
        b"\0\xff\xff",
    ):
        assert count_scans(whole[:-2] + stray + whole[2:]) == 2 * scans, stray
    again = whole[whole.index(b"\xff\xda") : -2] * (200 // scans)
    with pytest.raises(ImageTooLarge, match="scans; at most 128 are read"):
        load_image(whole[:-2] + again + whole[-2:], Preprocess(8))
    with pytest.raises(ImageTooLarge, match="4,096 segments"):
        count_scans(whole[:-2] + b"\xff\xfe\0\x02" * 4_097)
