"""Encoded bytes -> the uint8 array a network sees: THE definition, for the trainer and the server alike.

Knows geometry and colour space only. Scaling to floats, mean and standard deviation are the first layer of the exported
graph, so nobody outside it can normalise wrongly. The limits follow from a decoder corpus of 13,876 hostile and odd files
run through Pillow 13.0: with them none took over 1.31 s or 297 MB, without them a 2.5 KB file took 18.5 s and 1.4 GB.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from eyasd.core import jpeg, resample
from eyasd.core.errors import ImageTooLarge, UndecodableImage
from eyasd.core.opening import FORMATS, STARTS, check_parts, count_scans, open_picture

# Real files of every camera and messenger we know of stay far below these.
MAX_ENCODED_BYTES: Final = 20_000_000
MAX_SIDE_PX: Final = 32_768
MAX_PIXELS: Final = 40_000_000
# Libwebp holds three pictures of 4 bytes a pixel beside Pillow's own: 40 megapixels took 1.1 GB.
MAX_WEBP_PIXELS: Final = 24_000_000
# A progressive JPEG of 124 KB with 2,000 scans kept libjpeg busy for over 20 s, one of 243 KB with 128 of 40 megapixels for 10 s;
# real encoders write 10, and 18 of CMYK.
MAX_JPEG_SCANS: Final = 128
MAX_SCANNED_PIXELS: Final = 960_000_000
_TINY_BYTES: Final = 8_192
_TINY_PIXELS: Final = 64 * 64
_PIECE_PIXELS: Final = 1 << 20
_JPEG_START_OF_SCAN: Final = b"\xff\xda"
# What turns a picture upright, by its EXIF orientation.
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Interpolation(StrEnum):
    """The resampling kernel, always antialiased."""

    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    LANCZOS = "lanczos"


class Resize(StrEnum):
    """Whose resize: both take the same weights, and differ by a rounding in one pixel of seven."""

    PILLOW = "pillow"
    MATRIX = "matrix"


_KERNELS: Final = {
    Interpolation.BILINEAR: (Image.Resampling.BILINEAR, resample.BILINEAR),
    Interpolation.BICUBIC: (Image.Resampling.BICUBIC, resample.BICUBIC),
    Interpolation.LANCZOS: (Image.Resampling.LANCZOS, resample.LANCZOS),
}


@dataclass(frozen=True, slots=True)
class Preprocess:
    """How a picture becomes the network's input; travels in the bundle of the model that needs it.

    Attributes:
        crop_px: side of the square result, in pixels.
        crop_fraction: side of the central square that is cut from the picture, as a share of its shorter side, above 0 and
            at most 1.
        interpolation: kernel of the resize.
        max_pixels: a picture with more pixels (width x height) is refused before it is decoded.
        oversampling: a JPEG is decoded at 1/2, 1/4 or 1/8 of its size where that leaves at least this many times the pixels
            that are needed a side, so that the antialiased resize still decides the result; at least 1.
        resize: who resizes; a bundle that does not say so was made with Pillow.
    """

    crop_px: int
    crop_fraction: float = 1.0
    interpolation: Interpolation = Interpolation.BICUBIC
    max_pixels: int = MAX_PIXELS
    oversampling: float = 2.0
    resize: Resize = Resize.PILLOW

    def __post_init__(self) -> None:
        """Rejects values that no picture could satisfy."""
        if not 1 <= self.crop_px <= 4096 or not 0 < self.crop_fraction <= 1 or self.max_pixels < 1 or not self.oversampling >= 1:
            raise ValueError(
                f"{self} is out of range: crop_px 1..4096, crop_fraction in (0, 1], max_pixels >= 1, oversampling >= 1"
            )


def load_image(
    encoded: bytes,
    spec: Preprocess,
    out: NDArray[np.uint8] | None = None,
    size: tuple[int, int] | None = None,
    decode: jpeg.Decode | None = None,
) -> NDArray[np.uint8]:
    """Decodes one picture into the shape the network expects.

    Args:
        encoded: a JPEG, PNG, WebP, GIF (first frame) or BMP file. EXIF orientation is applied; transparency is laid on white.
        spec: taken from the bundle of the model that will see the result.
        out: uint8 [H, W, 3] to write the result into, such as a slot in shared memory; untouched where the picture is refused.
        size: what `tiny_size` says of it, where it has been asked.
        decode: decodes JPEGs, after the limits; None is `jpeg.decode`.

    Returns:
        uint8 [H, W, 3], RGB, 0..255, with H = W = `spec.crop_px`; `out` where it was given.

    Raises:
        UndecodableImage: the bytes are not a picture, or are cut short.
        ImageTooLarge: the picture is over a limit; its pixels were not decoded.
    """
    check_bytes(encoded)
    try:
        return _decode(encoded, spec, out, size or jpeg.plain_size(encoded), decode or jpeg.decode)
    except UndecodableImage:
        raise
    except UnidentifiedImageError:
        if encoded.startswith(STARTS):
            raise UndecodableImage("The picture is damaged, or of a kind that is not read: save it again.") from None
        kind = "The file is empty" if not encoded else "The bytes are not a picture that is read"
        raise UndecodableImage(f"{kind}: send a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} file.") from None
    except Exception as error:
        # Pillow's decoders raise OSError, ValueError, SyntaxError, TypeError and more on damaged files.
        raise UndecodableImage(_why(str(error))) from error


def _why(said: str) -> str:
    """Returns the sentence for what Pillow said of a file that it has opened."""
    if said.startswith("Unsupported"):
        return f"The picture is of a kind that is not read ({said}): save it as a PNG."
    if "MAX_TEXT" in said:
        return "The PNG has texts of more than a megabyte: save it without them."
    return f"The picture is damaged or cut short ({said}): send a whole file."


def check_bytes(encoded: bytes) -> None:
    """Raises ImageTooLarge for a file of more bytes than are read."""
    if len(encoded) > MAX_ENCODED_BYTES:
        raise ImageTooLarge(f"The picture has {len(encoded):,} bytes; at most {MAX_ENCODED_BYTES:,} are read. Send a smaller copy.")


def check_pixels(picture: Image.Image, max_pixels: int = MAX_PIXELS) -> None:
    """Raises ImageTooLarge for a picture that was opened and whose pixels shall not be decoded."""
    _check_size(picture.size, min(max_pixels, MAX_WEBP_PIXELS) if picture.format == "WEBP" else max_pixels)


def tiny_size(encoded: bytes) -> tuple[int, int] | None:
    """Returns the width and height of a picture that is decoded sooner than a thread is woken for it; None of another.

    It is a plain JPEG of 64 x 64 pixels or less.
    """
    size = jpeg.plain_size(encoded) if len(encoded) <= _TINY_BYTES else None
    return size if size is not None and size[0] * size[1] <= _TINY_PIXELS else None


def _decode(
    encoded: bytes, spec: Preprocess, out: NDArray[np.uint8] | None, size: tuple[int, int] | None, decode: jpeg.Decode
) -> NDArray[np.uint8]:
    if size is not None:
        check_parts(encoded)
        divisor = _check_jpeg(encoded, size, spec)
        pixels = decode(encoded, size, divisor)
        if pixels is not None:
            return _cut_square(pixels, spec, out)
    picture = open_picture(encoded)
    check_pixels(picture, spec.max_pixels)
    pixels = _decode_jpeg(encoded, picture, spec, decode) if picture.format in jpeg.FORMATS else None
    if pixels is None:
        ImageOps.exif_transpose(picture, in_place=True)  # there is room for one of 40 megapixels, not for a copy beside it
    return _cut_square(picture if pixels is None else pixels, spec, out)


def _check_size(size: tuple[int, int], max_pixels: int) -> None:
    """Raises ImageTooLarge for a picture whose pixels shall not be decoded."""
    width, height = size
    if width * height > max_pixels or max(width, height) > MAX_SIDE_PX:
        raise ImageTooLarge(
            f"The picture has {width} x {height} pixels; at most {max_pixels / 1e6:g} megapixels and {MAX_SIDE_PX:,} pixels "
            "a side are read. Send a smaller copy.",
            width_px=width,
            height_px=height,
        )


def _check_jpeg(encoded: bytes, size: tuple[int, int], spec: Preprocess) -> int:
    """Returns by what its sides are divided while it is decoded. Raises ImageTooLarge."""
    _check_size(size, spec.max_pixels)
    scans = encoded.count(_JPEG_START_OF_SCAN)  # a hundredth of what it costs to be exact, but also what only looks like one
    most = min(MAX_JPEG_SCANS, MAX_SCANNED_PIXELS // max(1, size[0] * size[1]))
    if scans > most and (scans := count_scans(encoded)) > most:
        raise ImageTooLarge(f"The JPEG has {scans} scans; at most {most} are read of its size. Save it again as a plain JPEG.")
    return jpeg.divisor(size, round(spec.oversampling * spec.crop_px / spec.crop_fraction))


def _decode_jpeg(encoded: bytes, picture: Image.Image, spec: Preprocess, decode: jpeg.Decode) -> NDArray[np.uint8] | None:
    """Returns uint8 [H, W, 3], upright; None where Pillow shall decode the picture, of which it then knows the scale."""
    divisor = _check_jpeg(encoded, picture.size, spec)
    # To hand an array to Pillow's resize costs what libjpeg-turbo saves by not being called through Pillow.
    direct = spec.resize == Resize.MATRIX and picture.mode in {"RGB", "L"}
    pixels = decode(encoded, picture.size, divisor) if direct else None
    if pixels is None:
        # Bundles made with Pillow's resize saw the MPO files of telephones, which Pillow counts as another format, at full size.
        if picture.format == "JPEG" or spec.resize == Resize.MATRIX:
            picture.draft(None, (picture.width // divisor, picture.height // divisor))
    elif (turn := _TURNS.get(picture.getexif().get(ExifTags.Base.Orientation, 1))) is not None:
        return np.asarray(Image.fromarray(pixels).transpose(turn))
    return pixels


def _cut_square(whole: Image.Image | NDArray[np.uint8], spec: Preprocess, out: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
    """Resizes the central square of an RGB picture, which is the same as to resize the whole and then to cut.

    The resized whole is never built, so that 1 x 32,768 pixels cost no more than a square.
    """
    size = whole.size if isinstance(whole, Image.Image) else (whole.shape[1], whole.shape[0])
    side = spec.crop_fraction * min(size)
    left, top = (size[0] - side) / 2, (size[1] - side) / 2
    box = left, top, left + side, top + side
    pillows, kernel = _KERNELS[spec.interpolation]
    result = np.empty((spec.crop_px, spec.crop_px, 3), np.uint8) if out is None else out
    if isinstance(whole, np.ndarray) and side == spec.crop_px and left.is_integer() and top.is_integer():  # no resize, only a cut
        result[:] = whole[int(top) : int(top + side), int(left) : int(left + side)]
        return result
    if spec.resize == Resize.PILLOW:
        rgb = whole_rgb(whole) if isinstance(whole, Image.Image) else Image.fromarray(whole)
        result[:] = np.asarray(rgb.resize((spec.crop_px, spec.crop_px), pillows, box=box))
    elif isinstance(whole, Image.Image):
        # Piece by piece, as what is made on the way of a whole picture of 40 megapixels would take 600 MB more.
        resample.resample(lambda part: np.asarray(_rgb(whole.crop(part))), size, box, kernel, result)
    else:
        resample.resample(lambda part: whole[part[1] : part[3], part[0] : part[2]], size, box, kernel, result)
    return result


def whole_rgb(picture: Image.Image) -> Image.Image:
    """Returns a picture as a network sees its colours: 8-bit RGB, transparency on white; made piece by piece."""
    if picture.mode == "RGB" and not picture.has_transparency_data:
        return picture
    width, height = picture.size
    rows = max(1, _PIECE_PIXELS // width)
    whole = Image.new("RGB", picture.size)
    for top in range(0, height, rows):
        whole.paste(_rgb(picture.crop((0, top, width, min(top + rows, height)))), (0, top))
    return whole


def _rgb(picture: Image.Image) -> Image.Image:
    """Returns the picture in 8-bit RGB, transparency on white. Pillow's own conversion would clamp 16 bits and drop alpha."""
    if picture.mode.startswith("I"):
        wide = np.clip(np.asarray(picture, dtype=np.int64), 0, 65_535)
        grey = np.where(wide == picture.info.get("transparency", -1), 255, wide / 257)  # 65,535 / 257 = 255
        return Image.fromarray(np.rint(grey).astype(np.uint8)).convert("RGB")
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return picture.convert("RGB")
