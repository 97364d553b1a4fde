"""Opens the file of a picture, once it is known to have no more parts than encoders make.

Pillow walks the parts of a file (segments, chunks, blocks, bytes between them, runs of a BMP) in Python at a microsecond or more,
and 20 MB have room for ten million. Real files have some hundred. What pixels and scans may be decoded is said in `preprocess`.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any, Final

from PIL import GifImagePlugin, Image

from eyasd.core.errors import ImageTooLarge

FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
STARTS: Final = (b"\xff\xd8", b"\x89PNG", b"RIFF", b"GIF8", b"BM")
# Pillow's own limit on pixels would warn below ours and speak of an attack above it.
Image.MAX_IMAGE_PIXELS = None
# A file can make it say 65,535 different things of its EXIF, which Python writes down, and remembers for good.
warnings.filterwarnings("ignore", module=r"PIL\.")

# Many blocks of a comment are joined one by one, so that twice as many cost four times as much: 0.2 s for so many of a GIF.
_MOST: Final = 4_096
# Encoders that write 4 KB at a time make 4,900 chunks of the largest file that is read.
_MOST_CHUNKS: Final = 16_384
# Each is expanded to a megabyte at most: 16,000 of them took 14 s. There is one, if any.
_MOST_PROFILES: Final = 16
# Runs of a BMP are bounded by bytes: 20 MB of them took 7 s.
_MOST_RUN_BYTES: Final = 2_000_000

# Bytes that belong to nothing, and a marker with the bytes that fill up before it (ITU-T T.81, B.1.1.2).
_NEXT_MARKER: Final = re.compile(rb"[^\xff]*\xff+[^\xff]", re.DOTALL)
# A marker that a segment follows, or the end, wherever a decoder would look for one: in the data of a scan, and between segments.
_SEGMENT: Final = re.compile(rb"\xff[\xc0-\xcf\xd9-\xfe]")
_FILLED: Final = b"\xff" * (_MOST + 1)
_FILLING: Final = b"\xff" * 99  # which Python finds in a quarter of the time
_SCAN: Final = 0xDA
_END: Final = 0xD9
# What says how coarse colours are is made of tables: 300,000 of them took 1.7 s (section B.2.4.1).
_TABLES: Final = 0xDB
_TABLE_BYTES: Final = 65
# Markers that no segment follows (table B.1), and the byte 255 itself where it is data.
_ALONE: Final = frozenset((0x00, 0x01, *range(0xD0, 0xDA)))
_GIF_EXTENSION, _GIF_IMAGE, _GIF_END = b"!,;"
_BMP_RUNS: Final = (1, 2)
_BMP_HEADER: Final = 40
# How many a pixel can name, by its bits; those of one bit are read rightly.
_BMP_COLOURS: Final = {b"\x04\0": 16, b"\x08\0": 256}
# Bits of a pixel, by the modes in which Pillow takes no notice of them.
_BMP_BITS: Final = {"1": 1, "L": 8}


class _FirstFrame(GifImagePlugin.GifImageFile):
    """A GIF of which no frame but the first is wanted.

    Pillow makes what a frame leaves behind itself while it opens the file, before anybody can know its size: 4.3 GB, and 10 s, for
    one of 146 bytes that says 65,535 x 65,535; 43 bytes are enough.
    """

    @property
    def disposal_method(self) -> int:
        """Nothing is to be left behind, whatever the file says."""
        return 0

    @disposal_method.setter
    def disposal_method(self, _: int) -> None: ...

    def load_end(self) -> None:
        """Has nothing where the frame draws nothing; Pillow has the first colour of the palette there."""
        (left, top, right, bottom), (width, height) = self.dispose_extent or (0, 0, *self.size), self.size
        if (left, top, right, bottom) == (0, 0, width, height) or "transparency" in self.info:
            return
        self.im, self._mode = self.im.convert("RGBA", Image.Dither.NONE), "RGBA"
        for box in ((0, 0, width, top), (0, bottom, width, height), (0, top, left, bottom), (right, top, width, bottom)):
            self.im.paste((0, 0, 0, 0), box)


Image.register_open(_FirstFrame.format, _FirstFrame, Image.OPEN[_FirstFrame.format][1])


def open_picture(encoded: bytes) -> Image.Image:
    """Opens a picture's file; reads no pixels.

    Args:
        encoded: a file of one of FORMATS. What MPO adds to JPEG is not in the list, as Pillow opens it as a JPEG.

    Raises:
        ImageTooLarge: it has more parts than are read.
        Exception: it is damaged; Pillow raises OSError, ValueError, SyntaxError, TypeError and more.
    """
    check_parts(encoded)
    picture = Image.open(BytesIO(_with_all_colours(encoded)), formats=FORMATS)
    bits = int.from_bytes(encoded[28:30], "little")
    if picture.format == "BMP" and _BMP_BITS.get(picture.mode, bits) != bits and picture.info["compression"] not in _BMP_RUNS:
        raise OSError("Unsupported BMP palette")
    if picture.format == "PNG" and "transparency" in picture.info:
        picture.info["transparency"] = _in_8_bits(picture.info["transparency"], picture.mode, encoded[24])
    return picture


def _with_all_colours(encoded: bytes) -> bytes:
    """Returns a file of a BMP that has no fewer colours than its pixels can name; those that it did not have are black.

    Of black and white alone Pillow takes each bit for a pixel, however many a pixel has.
    """
    header, colours = int.from_bytes(encoded[14:18], "little"), int.from_bytes(encoded[46:50], "little")
    more = _BMP_COLOURS.get(encoded[28:30], 0) - colours
    if not encoded.startswith(b"BM") or header < _BMP_HEADER or not 0 < colours <= 2 or more < 0:
        return encoded
    pixels, palette_end = int.from_bytes(encoded[10:14], "little"), 14 + header + 4 * colours
    start = ((pixels + 4 * more) % (1 << 32)).to_bytes(4, "little")
    return b"".join(
        (encoded[:10], start, encoded[14:46], bytes(4), encoded[50:palette_end], bytes(4 * more), encoded[palette_end:])
    )


def _in_8_bits(clear: Any, mode: str, bits: int) -> Any:
    """Returns which grey or colour of a PNG is clear, as its pixels are once they are opened; Pillow has it as it was written."""
    if mode == "L" and bits <= 8:
        return (clear & (1 << bits) - 1) * (255 // ((1 << bits) - 1))
    return tuple(value >> 8 for value in clear) if mode == "RGB" and bits == 16 else clear


def count_scans(encoded: bytes) -> int:
    """Returns how many scans of a JPEG a decoder may see; none of a thumbnail, or of a film that a telephone put behind it."""
    return sum(marker == _SCAN for marker, _ in _walk(encoded))


def _walk(encoded: bytes) -> Iterator[tuple[int, int]]:
    """Yields the marker of each segment of a JPEG that a decoder may see, and its place; the end is the last."""
    parts = place = marker = 0
    while marker != _END and (match := _SEGMENT.search(encoded, place)):
        parts, marker, place = parts + 1, encoded[match.end() - 1], match.end()
        _check("JPEG", "segments", parts, _MOST)
        yield marker, place
        place += int.from_bytes(encoded[place : place + 2])


def check_parts(encoded: bytes) -> None:
    """Raises ImageTooLarge for a picture's file of more parts than any encoder makes; other damage is left to the decoder."""
    if len(encoded) <= _MOST:
        return
    for start, check in _CHECKS.items():
        if encoded.startswith(start):
            check(encoded)


def _check_jpeg(encoded: bytes) -> None:
    """Counts segments, and bytes outside of them, up to the first scan."""
    parts, place, marker = 0, 2, 0
    while marker != _SCAN and (match := _NEXT_MARKER.match(encoded, place)):
        parts += match.end() - place - 1
        marker, place = encoded[match.end() - 1], match.end()
        _check("JPEG", "segments or stray bytes", parts, _MOST)
        if marker not in _ALONE:
            length = int.from_bytes(encoded[place : place + 2])
            place += length
            parts += length // _TABLE_BYTES if marker == _TABLES else 0
    if marker != _SCAN:
        _check("JPEG", "segments or stray bytes", parts + len(encoded) - place, _MOST)
    filled = encoded.find(_FILLED, place) if _FILLING in encoded else -1  # 19 MB of them took a decoder 3 s
    if filled >= 0 and filled < next((end for marker, end in _walk(encoded) if marker == _END), len(encoded)):
        _check("JPEG", "segments or stray bytes", parts + len(_FILLED), _MOST)


def _check_png(encoded: bytes) -> None:
    parts, profiles, place = 0, 0, 8
    while place < len(encoded):
        parts += 1
        profiles += encoded.startswith(b"iCCP", place + 4)
        place += 12 + int.from_bytes(encoded[place : place + 4])
        _check("PNG", "chunks", parts, _MOST_CHUNKS)
        _check("PNG", "colour profiles", profiles, _MOST_PROFILES)


def _check_gif(encoded: bytes) -> None:
    """Counts blocks, and bytes outside of them, up to the first picture."""
    parts, place = 0, 13
    if len(encoded) >= place and encoded[10] & 0x80:  # a table of colours follows the header (GIF89a, section 18)
        place += 3 << (encoded[10] & 7) + 1
    while place < len(encoded) and encoded[place] not in {_GIF_IMAGE, _GIF_END}:
        parts += 1
        place += 1
        if encoded[place - 1] == _GIF_EXTENSION:
            place += 1  # its label
            while place < len(encoded) and encoded[place]:
                parts += 1
                place += 1 + encoded[place]
                _check("GIF", "blocks or stray bytes", parts, _MOST)
            place += 1
        _check("GIF", "blocks or stray bytes", parts, _MOST)


def _check_bmp(encoded: bytes) -> None:
    if int.from_bytes(encoded[30:34], "little") in _BMP_RUNS and len(encoded) > _MOST_RUN_BYTES:
        raise ImageTooLarge(
            f"The BMP is run-length encoded and has {len(encoded):,} bytes; at most {_MOST_RUN_BYTES:,} are read. Save it as a PNG."
        )


def _check(form: str, parts: str, count: int, most: int) -> None:
    if count > most:
        raise ImageTooLarge(f"The {form} has more than {most:,} {parts} before or between its pixels. Save it again.")


_CHECKS: Final[dict[bytes, Callable[[bytes], None]]] = {
    b"\xff\xd8": _check_jpeg,
    b"\x89PNG": _check_png,
    b"GIF8": _check_gif,
    b"BM": _check_bmp,
}
