"""Takes out of a picture's file all that is no picture: EXIF, XMP, IPTC, comments, thumbnails, and what lies behind its end.

Nothing is encoded again: of a JPEG, PNG or WebP file those segments or chunks are copied that a decoder needs, by a list of what
stays, so that what nobody has thought of goes, too. Which way is up stays, as the one tag of an EXIF block made for it. What has no
such form (GIF, BMP, what moves, bare pixels) becomes a PNG of its first picture.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from eyasd.core.errors import UndecodableImage
from eyasd.core.opening import open_picture
from eyasd.core.preprocess import whole_rgb

_PNG: Final = b"\x89PNG\r\n\x1a\n"
# ISO/IEC 15948: what says which colours are meant; text, times and what is private are not among them.
_PNG_CHUNKS: Final = frozenset((b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"sBIT", b"cICP"))
_WEBP_CHUNKS: Final = frozenset((b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ICCP"))
_WEBP_EXIF, _WEBP_XMP, _WEBP_ANIMATION = 0x08, 0x04, 0x02
# ITU-T T.81, table B.1: frames, tables and scans; of the application segments JFIF, colour profiles, and Adobe's word on colours.
_JPEG_KEPT: Final = frozenset(range(0xC0, 0xE0)) - {0xC8}
_JPEG_PREFIXES: Final = {0xE0: b"JFIF\0", 0xE2: b"ICC_PROFILE\0", 0xEE: b"Adobe"}
_MARKER, _END, _SCAN, _JFIF = 0xFF, 0xD9, 0xDA, 0xE0
_ALONE: Final = frozenset((0x01, *range(0xD0, 0xD8)))
# What ends the data of a scan: a marker that is neither a stuffed byte nor a restart. Were the bytes that fill up before it a part
# of it, each of them would be a start from which to look: 40 KB of them took 10 s, and four times that for twice as many.
_AFTER_SCAN: Final = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_MOST_SEGMENTS: Final = 4_096
_JFIF_BYTES: Final = 14  # of the segment's content, without a thumbnail


def without_metadata(picture: bytes | NDArray[np.uint8]) -> bytes:
    """Returns a file of the same picture, pixel by pixel, and of nothing else.

    Args:
        picture: a file as `preprocess.load_image` takes it, or pixels, uint8 [H, W, 3], RGB.

    Raises:
        UndecodableImage: it is no whole picture.
    """
    if isinstance(picture, np.ndarray):
        return _as_png(Image.fromarray(picture))
    try:
        opened = open_picture(picture)
        turn = int(opened.getexif().get(ExifTags.Base.Orientation, 1))
        exif = _exif(turn) if 1 < turn <= 8 else b""
        if opened.format in {"JPEG", "MPO"}:
            return b"\xff\xd8" + b"".join(_jpeg(picture, exif))
        if opened.format in {"PNG", "WEBP"} and not getattr(opened, "is_animated", False):
            return _PNG + b"".join(_png(picture, exif)) if opened.format == "PNG" else _webp(picture, exif)
        return _as_png(opened)
    except UndecodableImage:
        raise
    except Exception as error:  # whatever a decoder raises on a damaged file
        raise UndecodableImage(f"The picture is damaged or cut short ({error}): send a whole file.") from error


def _exif(turn: int) -> bytes:
    """Returns a TIFF block with the orientation alone: one directory of one short (TIFF 6.0, section 2)."""
    return b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, ExifTags.Base.Orientation, 3, 1, turn, 0, 0)


def _jpeg(encoded: bytes, exif: bytes) -> Iterator[bytes]:
    """Yields what stays of a JPEG behind its first marker."""
    block = b"\xff\xe1" + struct.pack(">H", len(exif) + 8) + b"Exif\0\0" + exif if exif else b""
    for marker, segment in _segments(encoded):
        content = segment[4:]
        if marker == _JFIF and content.startswith(_JPEG_PREFIXES[marker]):  # comes first, and without its thumbnail
            yield segment[:2] + struct.pack(">H", _JFIF_BYTES + 2) + content[: _JFIF_BYTES - 2] + b"\0\0"
            continue
        yield block
        block = b""
        if marker in _JPEG_KEPT or (marker in _JPEG_PREFIXES and content.startswith(_JPEG_PREFIXES[marker])):
            yield segment


def _segments(encoded: bytes) -> Iterator[tuple[int, bytes]]:
    """Yields the marker of each segment of a JPEG, and the segment: of a scan with its data, and last the end."""
    place = 2
    for _ in range(_MOST_SEGMENTS):
        if encoded[place] != _MARKER:
            raise UndecodableImage("The JPEG has stray bytes between two segments: save it again.")
        while encoded[place + 1] == _MARKER:  # filling
            place += 1
        marker = encoded[place + 1]
        if marker == _END:
            yield marker, encoded[place : place + 2]
            return
        end = place + 2 if marker in _ALONE else place + 2 + int.from_bytes(encoded[place + 2 : place + 4])
        if marker == _SCAN:
            match = _AFTER_SCAN.search(encoded, end)
            if match is None:
                raise UndecodableImage("The JPEG has no end: send a whole file.")
            yield marker, encoded[place : match.start()].rstrip(b"\xff")
            place = match.start()
            continue
        yield marker, encoded[place:end]
        place = end
    raise UndecodableImage(f"The JPEG has more than {_MOST_SEGMENTS:,} segments: save it again.")


def _png(encoded: bytes, exif: bytes) -> Iterator[bytes]:
    """Yields what stays of a PNG's chunks."""
    place = len(_PNG)
    while True:
        length, kind = struct.unpack_from(">I4s", encoded, place)
        end = place + 12 + length
        if end > len(encoded):
            raise UndecodableImage("The PNG is cut short: send a whole file.")
        if kind in {b"IDAT", b"IEND"} and exif:
            body = b"eXIf" + exif
            yield struct.pack(">I", len(exif)) + body + struct.pack(">I", zlib.crc32(body))
            exif = b""
        if kind in _PNG_CHUNKS:
            yield encoded[place:end]
        if kind == b"IEND":
            return
        place = end


def _webp(encoded: bytes, exif: bytes) -> bytes:
    """Returns what stays of a WebP file that does not move."""
    chunks = []
    place, whole = 12, 8 + int.from_bytes(encoded[4:8], "little")
    if whole > len(encoded):
        raise UndecodableImage("The WebP is cut short: send a whole file.")
    while place + 8 <= whole:
        kind, length = struct.unpack_from("<4sI", encoded, place)
        end = place + 8 + length + length % 2
        chunk = encoded[place:end]
        if kind == b"VP8X":
            flags = chunk[8] & ~(_WEBP_EXIF | _WEBP_XMP | _WEBP_ANIMATION) | (_WEBP_EXIF if exif else 0)
            chunk = chunk[:8] + bytes([flags]) + chunk[9:]
        if kind in _WEBP_CHUNKS:
            chunks.append(chunk)
        place = end
    if exif:
        chunks.append(b"EXIF" + struct.pack("<I", len(exif)) + exif)
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _as_png(picture: Image.Image) -> bytes:
    """Returns a PNG of a picture's first frame, with nothing else that its file said."""
    picture.load()  # now it is known what is clear
    if picture.mode.startswith("I"):
        picture = whole_rgb(picture)  # Pillow's own conversion would make all that is not black white
    mode = "RGBA" if picture.has_transparency_data else picture.mode if picture.mode in {"1", "L"} else "RGB"
    bare = picture.convert(mode)
    bare.info.clear()
    buffer = BytesIO()
    bare.save(buffer, "PNG")
    return buffer.getvalue()
