"""Pictures of every form that the formats have, small, and broken variants of each; the same ones each time.

`sound` are read by every decoder. Of these `broken` makes what none should be harmed by: sides of nothing or millions of pixels,
parts that are gone, twice, elsewhere or of another length, numbers at the edge of their range, files in files, and files cut short.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from functools import cache
from io import BytesIO
from random import Random
from typing import Any, Final

import numpy as np
from PIL import Image, ImageCms, PngImagePlugin

from hostile.damage import damaged, summed_png

_SIZE: Final = (24, 17)  # no side is a multiple of a block's
_SIDES: Final = (0, 1, 2, 0x7FFF, 0xFFFF)
_LONG_SIDES: Final = (*_SIDES, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_PNG_START: Final = 8
_ORIENTATION: Final = 0x0112


def _encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


@cache
def sound() -> dict[str, bytes]:
    """Returns pictures by what they are; each decodes."""
    pixels = np.random.default_rng(0).integers(0, 256, (_SIZE[1], _SIZE[0], 4), np.uint8)
    colours = Image.fromarray(pixels[:, :, :3])
    clear = Image.fromarray(pixels)
    grey, deep = colours.convert("L"), Image.fromarray(pixels[:, :, 0].astype(np.uint16) * 257)
    few, black = colours.quantize(7), colours.convert("1")
    frames = [colours.transpose(Image.Transpose.ROTATE_180), grey.convert("RGB")]
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "x" * 100, zip=True)
    text.add_itxt("Title", "\u00fc", "de", "Titel")
    made = {
        "jpeg": _encoded(colours, "JPEG"),
        "jpeg grey": _encoded(grey, "JPEG"),
        "jpeg cmyk": _encoded(colours.convert("CMYK"), "JPEG"),
        "jpeg progressive": _encoded(colours, "JPEG", progressive=True, quality=60),
        "jpeg whole chroma": _encoded(colours, "JPEG", subsampling=0, quality=95),
        "jpeg narrow chroma": _encoded(colours, "JPEG", subsampling=2, optimize=True),
        "jpeg restarts": _encoded(colours, "JPEG", restart_marker_blocks=1),
        "jpeg comment": _encoded(colours, "JPEG", comment=b"c" * 300, dpi=(72, 72)),
        "jpeg profile": _encoded(colours, "JPEG", icc_profile=profile[:200]),
        "mpo": _encoded(colours, "MPO", save_all=True, append_images=frames[:1]),
        "png": _encoded(colours, "PNG"),
        "png clear": _encoded(clear, "PNG"),
        "png grey and clear": _encoded(clear.convert("LA"), "PNG"),
        "png deep": _encoded(deep, "PNG"),
        "png black": _encoded(black, "PNG"),
        "png few": _encoded(few, "PNG", transparency=b"\x80\0\xff"),
        "png 2 bits": _encoded(colours.quantize(4), "PNG", bits=2),
        "png text": _encoded(grey, "PNG", pnginfo=text, icc_profile=profile, dpi=(72, 72)),
        "png moves": _encoded(colours, "PNG", save_all=True, append_images=frames, duration=50, loop=2),
        "png adam7": _adam7(),
        "gif": _encoded(few, "GIF"),
        "gif clear": _encoded(few, "GIF", transparency=1, comment=b"c" * 300),
        "gif moves": _encoded(colours, "GIF", save_all=True, append_images=frames, duration=50, loop=0, disposal=2),
        "gif straight": _encoded(grey, "GIF", interlace=0),
        "webp": _encoded(colours, "WEBP"),
        "webp lossless": _encoded(clear, "WEBP", lossless=True),
        "webp clear": _encoded(clear, "WEBP", quality=40),
        "webp moves": _encoded(colours, "WEBP", save_all=True, append_images=frames, duration=50),
        "webp profile": _encoded(colours, "WEBP", icc_profile=profile, xmp=b"<x/>"),
        "bmp": _encoded(colours, "BMP"),
        "bmp clear": _encoded(clear, "BMP"),
        "bmp few": _encoded(few, "BMP"),
        "bmp black": _encoded(black, "BMP"),
        "bmp runs": _bmp_runs(8, 1),
        "bmp runs of 4 bits": _bmp_runs(4, 2),
        "bmp old header": _bmp_old(),
        "bmp fields": _bmp_fields(),
    }
    for turn in range(10):
        exif = Image.Exif()
        exif[_ORIENTATION] = turn
        for form in ("JPEG", "PNG", "WEBP"):
            made[f"{form.lower()} turned {turn}"] = _encoded(colours, form, exif=exif)
    return made


def broken() -> Iterator[tuple[str, bytes]]:
    """Yields broken pictures, and what is wrong with each."""
    yield from (("nothing", b""), ("a zero", b"\0"), ("text", b"not a picture"), ("a script", b"#!/bin/sh\n"), ("svg", b"<svg/>"))
    every = sound()
    for form in ("TIFF", "PPM", "ICO", "TGA", "PCX", "SGI", "DDS", "ICNS", "JPEG2000", "AVIF", "PDF", "EPS"):
        try:
            yield f"a {form}", _encoded(Image.new("RGB", (16, 16), "red"), form)
        except (KeyError, OSError):  # this Pillow was built without it
            continue
    for name, whole in every.items():
        for length in (1, 2, 3, 8, 16, 24, 33, len(whole) // 2, len(whole) - 13, len(whole) - 2, len(whole) - 1):
            yield f"{name}, cut at {length}", whole[:length]
        yield f"{name}, with another behind it", whole + every["gif"]
        yield f"{name}, behind a page", b"<html>" + whole
        yield f"{name}, twice", whole * 2
    yield from _broken_jpegs(every)
    yield from _broken_pngs(every)
    yield from _broken_gifs(every)
    yield from _broken_webps(every)
    yield from _broken_bmps(every)
    for name, whole in every.items():
        random = Random(name)
        for number in range(10):
            yield f"{name}, damaged {number}", damaged(whole, random)


def _broken_jpegs(every: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    for name in ("jpeg", "jpeg progressive", "jpeg cmyk"):
        whole = every[name]
        frame = next(at for at, _, _ in _segments(whole) if whole[at + 1] in {0xC0, 0xC2})
        for offset, what in ((5, "height"), (7, "width")):
            for side in _SIDES:
                yield f"{name}, {what} {side}", _put(whole, frame + offset, struct.pack(">H", side))
        yield f"{name}, 65,535 each way", _put(whole, frame + 5, b"\xff" * 4)
        for bits in (0, 1, 2, 12, 16, 255):
            yield f"{name}, {bits} bits", _put(whole, frame + 4, bytes([bits]))
        for colours in (0, 1, 2, 4, 255):
            yield f"{name}, {colours} colours", _put(whole, frame + 9, bytes([colours]))
        for sampling in (0x00, 0x14, 0x44, 0xFF):
            yield f"{name}, sampled {sampling:x}", _put(whole, frame + 11, bytes([sampling]))
        for marker in (0xC1, 0xC3, 0xC5, 0xC7, 0xC9, 0xCA, 0xCB, 0xCF):
            yield f"{name}, frame {marker:x}", _put(whole, frame + 1, bytes([marker]))
        yield from _broken_segments(name, whole)
    yield from _broken_exif(every["jpeg turned 6"])


def _broken_segments(name: str, whole: bytes) -> Iterator[tuple[str, bytes]]:
    for at, marker, segment in _segments(whole):
        rest = whole[at + len(segment) :]
        yield f"{name}, without {marker:x} at {at}", whole[:at] + rest
        yield f"{name}, {marker:x} twice at {at}", whole[:at] + segment * 2 + rest
        yield f"{name}, {marker:x} 300 times at {at}", whole[:at] + segment * 300 + rest if len(segment) < 60 else segment
        for length in (0, 1, 2, 3, 0xFFFF):
            yield f"{name}, {marker:x} of {length} at {at}", _put(whole, at + 2, struct.pack(">H", length))
    yield f"{name}, filled up", whole[:2] + b"\xff" * 5_000 + whole[2:]
    yield f"{name}, strayed", whole[:2] + b"x" * 5_000 + whole[2:]
    yield f"{name}, many comments", whole[:2] + b"\xff\xfe\0\2" * 5_000 + whole[2:]
    scan = next(at for at, marker, _ in _segments(whole) if marker == 0xDA)
    yield f"{name}, many scans", whole[:-2] + whole[scan:-2] * 130 + whole[-2:]
    yield f"{name}, end at once", whole[:scan] + b"\xff\xd9"


def _broken_exif(exif: bytes) -> Iterator[tuple[str, bytes]]:
    at = exif.index(b"Exif\0\0") + 6
    for number in (0, 1, 8, 0xFFFF, 0xFFFFFFFF):
        yield f"jpeg, directory at {number}", _put(exif, at + 4, struct.pack(">I", number))
        yield f"jpeg, {number & 0xFFFF} tags", _put(exif, at + 8, struct.pack(">H", number & 0xFFFF))
    for kind in (0, 2, 5, 7, 12, 13, 255):
        yield f"jpeg, orientation of kind {kind}", _put(exif, at + 12, struct.pack(">H", kind))
    for number in (0, 2, 0xFFFFFFFF):
        yield f"jpeg, {number} orientations", _put(exif, at + 14, struct.pack(">I", number))


def _broken_pngs(every: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    for name in ("png", "png few", "png text", "png moves", "png adam7"):
        whole = every[name]
        for offset, what in ((16, "width"), (20, "height")):
            for side in _LONG_SIDES:
                yield f"{name}, {what} {side}", summed_png(_put(whole, offset, struct.pack(">I", side)))
        for depth, colours in ((0, 0), (3, 0), (16, 3), (1, 2), (32, 2), (8, 1), (8, 5), (8, 7), (255, 255), (16, 6), (2, 4)):
            yield f"{name}, {depth} bits of kind {colours}", summed_png(_put(whole, 24, bytes([depth, colours])))
        for at, value in ((26, 1), (27, 1), (28, 2), (28, 255), (28, 1)):
            yield f"{name}, byte {at} is {value}", summed_png(_put(whole, at, bytes([value])))
        yield f"{name}, wrong sum", _put(whole, 29, b"\0\0\0\0")
        for at, kind, chunk in _chunks(whole):
            rest = whole[at + len(chunk) :]
            yield f"{name}, without {kind!r}", whole[:at] + rest
            yield f"{name}, {kind!r} twice", whole[:at] + chunk * 2 + rest
            yield f"{name}, {kind!r} of nothing", whole[:at] + _chunk(kind, b"") + rest
            for length in (1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFF4):
                yield f"{name}, {kind!r} of {length:,}", _put(whole, at, struct.pack(">I", length))
            yield f"{name}, {kind!r} first", whole[:_PNG_START] + chunk + whole[_PNG_START:]
            yield f"{name}, {kind!r} damaged", whole[:at] + _chunk(kind, damaged(chunk[8:-4], Random(name))) + rest
        body = whole[_PNG_START + 25 :]
        for kind, content in (
            (b"tEXt", b"a\0" + b"x" * 100_000), (b"zTXt", b"a\0\0" + zlib.compress(bytes(2_000_000))), (b"iTXt",
            b"a\0\1\0\0\0" + zlib.compress(bytes(2_000_000))),
            (b"iCCP", b"a\0\0" + zlib.compress(bytes(2_000_000))), (b"iCCP", b"a\0\1"), (b"eXIf", b"MM\0*\xff\xff\xff\xff"),
            (b"eXIf", b""),
            (b"PLTE", b"x" * 5), (b"PLTE", bytes(3 * 300)), (b"tRNS", b"x" * 999), (b"acTL", struct.pack(">II", 0, 0)), (b"acTL",
            b"\xff" * 8),
            (b"fcTL", b"\xff" * 26), (b"fdAT", b"\0"), (b"gAMA", b"\0\0\0\0"), (b"cHRM", b"\0" * 7), (b"IDAT", b""), (b"x\0\0\0",
            b"y"), (b"abcd", b""),
        ):  # fmt: skip
            yield f"{name}, with {kind!r} of {len(content)}", whole[: _PNG_START + 25] + _chunk(kind, content) + body
    header = summed_png(_put(every["png"], 16, struct.pack(">II", 3_000, 3_000)))[: _PNG_START + 25]
    end = _chunk(b"IEND", b"")
    yield "png, a bomb", header + _chunk(b"IDAT", zlib.compress(bytes(3_000 * 9_001))) + end
    yield "png, too few pixels", header + _chunk(b"IDAT", zlib.compress(bytes(10))) + end
    yield "png, too many pixels", every["png"][: _PNG_START + 25] + _chunk(b"IDAT", zlib.compress(bytes(1_000_000))) + end
    yield "png, filters of no kind", every["png"][: _PNG_START + 25] + _chunk(b"IDAT", zlib.compress(b"\xff" * 73 * 17)) + end
    yield "png, a damaged stream", every["png"][: _PNG_START + 25] + _chunk(b"IDAT", b"\x78\x9c\xff\xff\xff") + end
    yield "png, many chunks", every["png"][: _PNG_START + 25] + _chunk(b"teSt", b"") * 17_000 + end


def _broken_gifs(every: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    for name in ("gif", "gif clear", "gif moves"):
        whole = every[name]
        frame = whole.index(b",", 13 + (3 << (whole[10] & 7) + 1 if whole[10] & 0x80 else 0))
        for offset, what in (
            (6, "width"),
            (8, "height"),
            (frame + 1, "left"),
            (frame + 5, "frame's width"),
            (frame + 7, "frame's height"),
        ):
            for side in _SIDES:
                yield f"{name}, {what} {side}", _put(whole, offset, struct.pack("<H", side))
        for flags in (0x00, 0x07, 0x80, 0x87, 0xFF):
            yield f"{name}, flags {flags:x}", _put(whole, 10, bytes([flags]))
            yield f"{name}, frame's flags {flags:x}", _put(whole, frame + 9, bytes([flags]))
        for bits in (0, 1, 8, 11, 12, 13, 255):
            yield f"{name}, codes of {bits} bits", _put(whole, frame + 10, bytes([bits]))
        yield f"{name}, wiped", whole[:frame] + b"!\xf9\4\x08\0\0\0\0" + _put(whole[frame:], 5, struct.pack("<HH", 50_000, 50_000))
        yield f"{name}, another version", _put(whole, 3, b"99z")
        yield f"{name}, of no frame", whole[:frame] + b";"
        yield f"{name}, one block", whole[: frame + 11] + b"\1\0\0;"
        yield f"{name}, blocks without end", whole[: frame + 11] + b"\xff" + b"x" * 200
        yield f"{name}, many extensions", whole[:frame] + b"!\xfe\1x\0" * 5_000 + whole[frame:]
        yield f"{name}, a long comment", whole[:frame] + b"!\xfe" + (b"\xff" + b"x" * 255) * 400 + b"\0" + whole[frame:]
        yield f"{name}, stray bytes", whole[:frame] + b"x" * 5_000 + whole[frame:]
        yield f"{name}, an odd control", whole[:frame] + b"!\xf9\1\xff\0!\xf9\0!\xff\x0bNETSCAPE2.0\0" + whole[frame:]


def _broken_webps(every: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    for name in ("webp", "webp lossless", "webp clear", "webp moves", "webp turned 6"):
        whole = every[name]
        for length in (0, 1, 12, 0x7FFFFFFF, 0xFFFFFFFF, len(whole) - 9, len(whole) + 1):
            yield f"{name}, of {length:,} bytes", _put(whole, 4, struct.pack("<I", length))
            yield f"{name}, first chunk of {length:,}", _put(whole, 16, struct.pack("<I", length))
        for kind in (b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP", b"EXIF", b"XXXX"):
            yield f"{name}, first chunk {kind!r}", _put(whole, 12, kind)
            extra = kind + struct.pack("<I", 4) + b"\xff\0\xff\0"
            yield f"{name}, with {kind!r} behind", _sized_webp(whole + extra)
            yield f"{name}, with {kind!r} before", _sized_webp(whole[:12] + extra + whole[12:])
            yield f"{name}, 300 times {kind!r}", _sized_webp(whole + extra * 300)
        for at in (20, 21, 24, 26, 28):
            yield f"{name}, ones at {at}", _put(whole, at, b"\xff\xff\xff\xff")
            yield f"{name}, zeros at {at}", _put(whole, at, b"\0\0\0\0")


def _broken_bmps(every: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    for name in ("bmp", "bmp few", "bmp black", "bmp runs", "bmp runs of 4 bits", "bmp fields"):
        whole = every[name]
        for offset, what in ((18, "width"), (22, "height")):
            for side in (*_LONG_SIDES, 0xFFFFFFEF):
                yield f"{name}, {what} {side}", _put(whole, offset, struct.pack("<I", side))
        for offset in (0, 14, 54, 0x7FFFFFFF, 0xFFFFFFFF):
            yield f"{name}, pixels at {offset:,}", _put(whole, 10, struct.pack("<I", offset))
        for header in (0, 12, 16, 40, 52, 56, 64, 108, 124, 255, 0xFFFFFFFF):
            yield f"{name}, header of {header:,}", _put(whole, 14, struct.pack("<I", header))
        for bits in (0, 1, 2, 4, 8, 15, 16, 24, 32, 0xFFFF):
            yield f"{name}, {bits} bits", _put(whole, 28, struct.pack("<H", bits))
        for packing in (0, 1, 2, 3, 4, 5, 6, 0xFFFFFFFF):
            yield f"{name}, packing {packing}", _put(whole, 30, struct.pack("<I", packing))
        for colours in (0, 1, 256, 257, 0x7FFFFFFF, 0xFFFFFFFF):
            yield f"{name}, {colours:,} colours", _put(whole, 46, struct.pack("<I", colours))
        yield f"{name}, no planes", _put(whole, 26, b"\0\0")
    for runs in (b"", b"\0\1", b"\0\0" * 500, b"\xff\1" * 500, b"\0\2\xff\xff" * 500, b"\0\xff", b"\0\3abc\0" * 90, b"\0\2"):
        yield f"bmp, runs {runs[:4]!r}", every["bmp runs"][:1078] + runs


def _put(whole: bytes, at: int, piece: bytes) -> bytes:
    return whole[:at] + piece + whole[at + len(piece) :]


def _segments(jpeg: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yields where each segment of a sound JPEG is, its marker, and it; none behind the first scan's header."""
    at = 2
    while True:
        marker, end = jpeg[at + 1], at + 2 + int.from_bytes(jpeg[at + 2 : at + 4])
        yield at, marker, jpeg[at:end]
        if marker == 0xDA:
            return
        at = end


def _chunks(png: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    at = _PNG_START
    while at < len(png):
        end = at + 12 + int.from_bytes(png[at : at + 4])
        yield at, png[at + 4 : at + 8], png[at:end]
        at = end


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _sized_webp(whole: bytes) -> bytes:
    return _put(whole, 4, struct.pack("<I", len(whole) - 8))


def _adam7() -> bytes:
    """A PNG of 8 x 8 greys in seven passes (ISO/IEC 15948, 8.2), which Pillow does not write."""
    sizes = (1, 1), (1, 1), (2, 1), (2, 2), (4, 2), (4, 4), (8, 4)
    passes = b"".join((b"\0" + bytes(range(width))) * height for width, height in sizes)
    header = struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 1)
    parts = _chunk(b"IHDR", header), _chunk(b"IDAT", zlib.compress(passes)), _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _bmp(bits: int, packing: int, palette: bytes, pixels: bytes, header: bytes = b"") -> bytes:
    start = 14 + 40 + len(header) + len(palette)
    info = struct.pack("<IiiHHIIiiII", 40 + len(header), 8, 8, 1, bits, packing, len(pixels), 2_835, 2_835, len(palette) // 4, 0)
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + info + header + palette + pixels


def _bmp_runs(bits: int, packing: int) -> bytes:
    """A run-length encoded BMP of 8 x 8 pixels, which Pillow reads and does not write."""
    palette = bytes(value for colour in range(1 << bits) for value in (colour, 255 - colour % 256, colour // 2, 0))
    return _bmp(bits, packing, palette, b"".join(bytes([8, row]) + b"\0\0" for row in range(8)) + b"\0\1")


def _bmp_fields() -> bytes:
    """A BMP of 16 bits a pixel, 5 of red, 6 of green and 5 of blue."""
    return _bmp(16, 3, b"", bytes(range(128)), struct.pack("<IIII", 0xF800, 0x07E0, 0x001F, 0))


def _bmp_old() -> bytes:
    """A BMP with OS/2's header of 12 bytes."""
    return b"BM" + struct.pack("<IHHI", 26 + 8 * 24, 0, 0, 26) + struct.pack("<IHHHH", 12, 8, 8, 1, 24) + bytes(range(192))
