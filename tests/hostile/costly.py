"""Pictures made to cost their decoder time or memory, and what each of them costs.

`python -m hostile.costly matrix` prints all of it. Each is made in a process of its own, and decoded in another one.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import zlib
from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any, Final

from PIL import Image

# 40 megapixels, the most that are decoded.
WIDE, HIGH = 8000, 5000
# What a file may be filled up with, so that it stays below the 20 MB that are read.
ROOM: Final = 19_000_000


def saved(form: str, mode: str, size: tuple[int, int] = (64, 64), **options: Any) -> bytes:
    buffer = BytesIO()
    Image.new(mode, size).save(buffer, form, **options)
    return buffer.getvalue()


def png(
    chunks: Iterable[tuple[bytes, bytes]], size: tuple[int, int] = (64, 64), bits: int = 8, kind: int = 2, woven: int = 0
) -> bytes:
    """Writes chunks, given as kind and content, between a header and an end."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", *size, bits, kind, 0, 0, woven)
    return b"".join((b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", header), *(chunk(*one) for one in chunks), chunk(b"IEND", b"")))


def zeros(count: int) -> bytes:
    """Returns so many zeros as PNG wants them, made without them."""
    packer = zlib.compressobj()
    whole, rest = divmod(count, 1 << 20)
    return b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(whole)), packer.compress(bytes(rest)), packer.flush()])


def black(bits_per_pixel: int, size: tuple[int, int] = (64, 64)) -> tuple[bytes, bytes]:
    """Returns the pixels of a PNG."""
    return b"IDAT", zeros(size[1] * (1 + size[0] * bits_per_pixel // 8))


def jpeg(*segments: bytes, picture: bytes | None = None) -> bytes:
    """Puts segments behind the first marker. An EXIF block among them has Pillow look at the file."""
    encoded = picture or saved("JPEG", "RGB")
    return b"".join((encoded[:2], *segments, encoded[2:]))


EXIF: Final = b"\xff\xe1\x00\x08Exif\0\0"


def scans(mode: str, again: int, *segments: bytes) -> bytes:
    """Returns a progressive JPEG of which a scan stands there again and again, 127 scans at most."""
    encoded = saved("JPEG", mode, (WIDE, HIGH), progressive=True)
    places = [place for place in range(len(encoded)) if encoded.startswith(b"\xff\xda", place)]
    place = places[again]
    scan = encoded[place : next((later for later in places if later > place), len(encoded) - 2)]
    more = min(127 - len(places), (ROOM - len(encoded)) // len(scan))
    return jpeg(*segments, picture=encoded[:-2] + scan * more + encoded[-2:])


def gif(*blocks: bytes) -> bytes:
    """Puts blocks before the picture."""
    encoded = saved("GIF", "P")
    start = 13 + (3 << (encoded[10] & 7) + 1 if encoded[10] & 0x80 else 0)
    return b"".join((encoded[:start], *blocks, encoded[start:]))


def leftover(size: tuple[int, int]) -> bytes:
    """Returns a GIF whose one frame, of that size, is to leave its background behind."""
    encoded = gif(b"!\xf9\x04\x08\0\0\0\0")
    place = encoded.index(b",", encoded.index(b"!\xf9")) + 5
    return encoded[:place] + struct.pack("<HH", *size) + encoded[place + 4 :]


def bmp(runs: bytes, side: int = 6000) -> bytes:
    start = 54 + 1024
    head = b"BM" + struct.pack("<IHHI", start + len(runs), 0, 0, start)
    return head + struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, len(runs), 0, 0, 256, 0) + bytes(1024) + runs


def webp(*chunks: bytes, flags: int = 0) -> bytes:
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes([flags, 0, 0, 0, 63, 0, 0, 63, 0, 0]) + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def frames() -> bytes:
    still = saved("WEBP", "RGB")[12:]
    frame = b"ANMF" + struct.pack("<I", 16 + len(still)) + bytes([0] * 6 + [63, 0, 0, 63, 0, 0, 1, 0, 0, 0]) + still
    return webp(b"ANIM" + struct.pack("<I", 6) + bytes(6), frame * (ROOM // len(frame)), flags=2)


def tags(count: int, kind: int, length: int, more: bytes = b"") -> bytes:
    """Returns an EXIF block that says of every tag that it has so many values of a kind."""
    entries = b"".join(struct.pack(">HHII", tag, kind, length, 8) for tag in range(count))
    return b"MM\0*" + struct.pack(">IH", 8, min(count, 65_535)) + entries + bytes(4) + more


def turned(form: str, mode: str, size: tuple[int, int]) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(form, mode, size, exif=exif)


_WHOLE: Final = (WIDE, HIGH)
# By name; those that a decoder of Pillow's walks in Python come to as many steps as there is room for.
PICTURES: Final[dict[str, Callable[[], bytes]]] = {
    "BMP of runs": lambda: bmp(b"\x01\x05" * (ROOM // 2)),
    "BMP of jumps": lambda: bmp(b"\x00\x02\xff\xff" * (ROOM // 4)),
    "BMP of ends of lines": lambda: bmp(b"\x00\x00" * (ROOM // 2)),
    "BMP of runs, as large as is read": lambda: bmp(b"\x00\x03\x01\x02\x03\x00" * 330_000),
    "BMP of 40 megapixels": lambda: saved("BMP", "1", _WHOLE),
    "PNG of pixels a byte a chunk": lambda: png([(b"IDAT", bytes([one])) for one in zeros(HIGH * (1 + 3 * WIDE))], _WHOLE),
    "PNG of empty chunks": lambda: png([(b"IDAT", b"")] * (ROOM // 12) + [black(24)]),
    "PNG of unknown chunks": lambda: png([(b"abCd", b"")] * (ROOM // 12) + [black(24)]),
    "PNG of texts that expand": lambda: png([(b"zTXt", b"a\0\0" + zeros(900_000))] * 16_000 + [black(24)]),
    "PNG of a colour profile that expands": lambda: png([(b"iCCP", b"a\0\0" + zeros(200_000_000)), black(24)]),
    "PNG of 65,535 lying tags": lambda: png([(b"eXIf", tags(65_535, 7, 0x7FFF_FFFF)), black(24)]),
    "PNG of 65,535 large tags": lambda: png([(b"eXIf", tags(65_535, 7, 1_000_000, bytes(1_000_000))), black(24)]),
    "PNG of 16-bit greys, 40 megapixels": lambda: png([black(16, _WHOLE)], _WHOLE, 16, 0),
    "PNG of 16-bit colours with alpha, 40 megapixels": lambda: png([black(64, _WHOLE)], _WHOLE, 16, 6),
    "PNG interlaced, with alpha, 40 megapixels": lambda: png([(b"IDAT", zeros(HIGH * (2 + 4 * WIDE)))], _WHOLE, 8, 6, 1),
    "PNG with alpha on its side, 40 megapixels": lambda: turned("PNG", "RGBA", _WHOLE),
    "PNG of a palette, 40 megapixels": lambda: saved("PNG", "P", _WHOLE, transparency=b"\0" * 256),
    "GIF of a comment, a byte a block": lambda: gif(b"!\xfe" + b"\x01a" * (ROOM // 2) + b"\0"),
    "GIF of a comment in the largest blocks": lambda: gif(b"!\xfe" + (b"\xff" + b"a" * 255) * 4_000 + b"\0"),
    "GIF of extensions": lambda: gif(b"!\xf9\x04\0\0\0\0\0" * (ROOM // 8)),
    "GIF of stray bytes": lambda: gif(bytes(ROOM)),
    "GIF that leaves 4,295 megapixels behind": lambda: leftover((65_535, 65_535)),
    "GIF of 40 megapixels": lambda: saved("GIF", "P", _WHOLE, transparency=0),
    "JPEG of empty comments": lambda: jpeg(b"\xff\xfe\x00\x02" * (ROOM // 4)),
    "JPEG of empty comments, with EXIF": lambda: jpeg(EXIF, b"\xff\xfe\x00\x02" * (ROOM // 4)),
    "JPEG of EXIF blocks": lambda: jpeg(EXIF * (ROOM // 10)),
    "JPEG of large EXIF blocks": lambda: jpeg((b"\xff\xe1\xff\xfdExif\0\0" + bytes(65_525)) * 280),
    "JPEG filled up with 255": lambda: jpeg(EXIF, b"\xff" * ROOM),
    "JPEG filled up with zeros": lambda: jpeg(EXIF, bytes(ROOM)),
    "JPEG of one scan again and again": lambda: scans("RGB", -1),
    "JPEG of one scan again and again, with EXIF": lambda: scans("RGB", 0, EXIF),
    "JPEG of CMYK, one scan again and again": lambda: scans("CMYK", 0),
    "JPEG of CMYK, 40 megapixels": lambda: saved("JPEG", "CMYK", _WHOLE, progressive=True),
    "JPEG on its side, 40 megapixels": lambda: turned("JPEG", "RGB", _WHOLE),
    "WebP of 40 megapixels": lambda: saved("WEBP", "RGB", _WHOLE),
    "WebP as large as is read, on its side": lambda: turned("WEBP", "RGBA", (6000, 4000)),
    "WebP of unknown chunks": lambda: webp(saved("WEBP", "RGB")[12:], b"abcd\0\0\0\0" * (ROOM // 8)),
    "WebP of frames": frames,
}


def _apart(act: Callable[[], Any]) -> tuple[Any, Any]:
    """Returns what comes of it in a process of its own, and what that cost; None where it crashed."""
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        with os.fdopen(writing, "wb") as end:
            end.write(act())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as end:
        told = end.read()
    _, status, usage = os.wait4(child, 0)
    return (None if status else told), usage


def _decoded(encoded: bytes, resize: str) -> bytes:
    from eyasd.core.errors import UndecodableImage
    from eyasd.core.preprocess import Preprocess, Resize, load_image

    try:
        load_image(encoded, Preprocess(crop_px=224, resize=Resize(resize)))
    except UndecodableImage as error:
        return error.message.encode()
    return b""


def main(resize: str, *names: str) -> None:
    """Prints a line of JSON for each: name, size, the sentence of its refusal, processor seconds, peak of memory in bytes.

    Args:
        resize: whose resize a bundle asks for.
        names: of the pictures; none are all.
    """
    import eyasd.core.preprocess  # noqa: F401 - before the forks, so that each does not read it again

    for name in names or PICTURES:
        encoded, _ = _apart(PICTURES[name])
        told, usage = _apart(lambda encoded=encoded: _decoded(encoded, resize))
        row = {
            "name": name,
            "bytes": len(encoded),
            "crashed": told is None,
            "refused": (told or b"").decode(),
            "seconds": usage.ru_utime + usage.ru_stime,
            "peak_bytes": usage.ru_maxrss * 1024,
        }
        print(json.dumps(row), flush=True)  # noqa: T201 - this is what it is run for


if __name__ == "__main__":
    main(*sys.argv[1:])
