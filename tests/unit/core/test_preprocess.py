"""core.preprocess: geometry, colour, limits, and that any bytes are an array or an error of ours."""

from __future__ import annotations

import struct
import warnings
import zlib
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from builders import noise, picture
from eyasd.core import document, jpeg
from eyasd.core.errors import ImageTooLarge, UndecodableImage
from eyasd.core.preprocess import MAX_ENCODED_BYTES, Interpolation, Preprocess, Resize, load_image, tiny_size

SPEC = Preprocess(crop_px=16)
MATRIX = Preprocess(crop_px=16, resize=Resize.MATRIX)


def encode(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_every_format_gives_the_same_colour(form: str) -> None:
    image = load_image(picture((200, 100, 50), form=form), SPEC)
    assert image.shape == (16, 16, 3)
    assert image.dtype == np.uint8
    assert np.abs(image.astype(int) - (200, 100, 50)).max() <= 3


def test_the_pixels_are_written_where_they_are_wanted() -> None:
    slots = np.zeros((2, 16, 16, 3), np.uint8)
    image = load_image(noise(1, form="JPEG"), SPEC, slots[1])
    assert np.shares_memory(image, slots[1])
    assert (slots[1] == load_image(noise(1, form="JPEG"), SPEC)).all()
    assert not slots[0].any()


def test_a_refused_picture_leaves_the_slot_as_it_was() -> None:
    slot = np.full((16, 16, 3), 7, np.uint8)
    with pytest.raises(UndecodableImage):
        load_image(noise(1, form="JPEG")[:400], SPEC, slot)
    assert (slot == 7).all()


def test_the_central_square_is_cut() -> None:
    wide = Image.new("RGB", (300, 100), "red")
    wide.paste("blue", (100, 0, 200, 100))
    # The kernel reaches a little over the cut, as it does where a whole picture is resized and then cut.
    assert (load_image(encode(wide), SPEC)[:, 2:-2] == (0, 0, 255)).all()


def test_the_crop_fraction_leaves_the_border_out() -> None:
    framed = Image.new("RGB", (100, 100), "white")
    framed.paste("black", (10, 10, 90, 90))
    assert load_image(encode(framed), Preprocess(16, crop_fraction=0.8))[2:-2, 2:-2].max() == 0
    assert load_image(encode(framed), Preprocess(16, crop_fraction=0.8)).mean() < 10
    assert load_image(encode(framed), Preprocess(16, crop_fraction=1.0)).max() == 255


def test_exif_orientation_is_applied() -> None:
    image = Image.new("RGB", (64, 64), "black")
    image.paste("white", (0, 0, 64, 32))  # the upper half
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it rotated 90 degrees clockwise
    for spec in (SPEC, MATRIX):
        turned = load_image(encode(image, "JPEG", exif=exif), spec).mean(axis=2)
        assert turned[:, 12:].min() > 200
        assert turned[:, :4].max() < 55


@pytest.mark.parametrize("orientation", range(10))
def test_every_orientation_is_that_of_pillow(orientation: int, monkeypatch: pytest.MonkeyPatch) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo = noise(3, (40, 30))
    encoded = encode(Image.open(BytesIO(photo)), "JPEG", exif=exif)
    image = load_image(encoded, MATRIX)
    left_to_pillow(monkeypatch)
    assert (image == load_image(encoded, MATRIX)).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_laid_on_white(mode: str) -> None:
    clear = Image.new("RGBA", (20, 20), (255, 0, 0, 0)).convert(mode) if mode != "P" else Image.new("P", (20, 20), 0)
    options = {"transparency": 0} if mode == "P" else {}
    assert (load_image(encode(clear, **options), SPEC) == 255).all()


def test_sixteen_bits_are_scaled_not_clamped() -> None:
    grey = Image.fromarray(np.full((20, 20), 32_768, np.uint16))
    assert (load_image(encode(grey), SPEC) == 128).all()  # 32,768 / 257 = 127.5
    for spec in (SPEC, MATRIX):
        assert (load_image(encode(grey, transparency=32_768), spec) == 255).all()
        assert (load_image(encode(grey, transparency=32_767), spec) == 128).all()


def test_cmyk_is_converted() -> None:
    image = load_image(encode(Image.new("CMYK", (20, 20), (0, 255, 255, 0)), "JPEG"), SPEC)
    assert image[0, 0, 0] > 180
    assert image[0, 0, 1:].max() < 90


def test_the_resize_is_antialiased() -> None:
    checks = np.indices((512, 512)).sum(axis=0) % 2 * 255
    shrunk = load_image(encode(Image.fromarray(checks.astype(np.uint8))), Preprocess(32, interpolation=Interpolation.BILINEAR))
    assert np.abs(shrunk.astype(int) - 127).max() <= 2  # every other pixel would be all black or all white


def test_a_large_jpeg_is_decoded_at_a_lower_scale_to_nearly_the_same_picture() -> None:
    gradient = np.linspace(0, 255, 2048, dtype=np.uint8)
    photo = Image.fromarray(np.stack([np.tile(gradient, (2048, 1))] * 3, axis=2))
    scaled, whole = load_image(encode(photo, "JPEG", quality=95), SPEC), load_image(encode(photo), SPEC)
    assert np.abs(scaled.astype(int) - whole).max() <= 2


def test_an_extreme_shape_costs_no_more_than_a_square() -> None:
    assert load_image(encode(Image.new("RGB", (32_768, 1), "red")), SPEC).shape == (16, 16, 3)


@pytest.mark.parametrize(
    ("encoded", "says"),
    [
        (b"", "empty"),
        (b"not a picture at all", "not a picture"),
        (picture(form="TIFF"), "not a picture"),
        (noise(1, form="JPEG")[:400], "cut short"),
        (noise(1, form="PNG")[:-60], "cut short"),
        (b"\0" * (MAX_ENCODED_BYTES + 1), "bytes"),
    ],
    ids=["empty", "text", "unsupported", "truncated-jpeg", "truncated-png", "too-many-bytes"],
)
def test_what_is_no_picture_is_refused_with_a_sentence(encoded: bytes, says: str) -> None:
    with pytest.raises(UndecodableImage, match=says):
        load_image(encoded, SPEC)


def test_two_hundred_megapixels_are_refused_before_they_are_decoded() -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 20_000, 10_000, 8, 2, 0, 0, 0)
    # There are no pixels in it: a decoder that looked for them would say that the file is cut short.
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    with pytest.raises(ImageTooLarge, match="20000 x 10000 pixels; at most 40 megapixels") as caught:
        load_image(png, SPEC)
    assert caught.value.metadata == {"width_px": "20000", "height_px": "10000"}


def test_a_jpeg_of_too_many_scans_is_refused() -> None:
    with pytest.raises(ImageTooLarge, match="scans"):
        load_image(picture(form="JPEG")[:-2] + b"\xff\xda\0\x02" * 200, SPEC)


def left_to_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jpeg, "decode", lambda encoded, header, divisor: None)


def photo(**options: object) -> bytes:
    smooth = Image.open(BytesIO(noise(5, (24, 18)))).resize((190, 130), Image.Resampling.BICUBIC)
    return encode(smooth.convert(options.pop("mode", "RGB")), "JPEG", **options)  # type: ignore[arg-type]


JPEGS = {
    "baseline": photo(),
    "progressive": photo(progressive=True),
    "fine": photo(subsampling=0, quality=98),
    "grey": photo(mode="L"),
    "cmyk": photo(mode="CMYK"),
    "restarts": photo(restart_marker_blocks=3),
}


@pytest.mark.parametrize("name", JPEGS)
def test_jpegs_have_the_pixels_that_pillow_decodes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    specs = [Preprocess(px, resize=Resize.MATRIX) for px in (8, 16, 40, 128)]  # at 1/8, 1/4, 1/2 and whole
    images = [load_image(JPEGS[name], spec) for spec in specs]
    left_to_pillow(monkeypatch)
    for image, spec in zip(images, specs, strict=True):
        # Pillow's build of libjpeg-turbo may be another than simplejpeg's.
        assert np.abs(image.astype(int) - load_image(JPEGS[name], spec)).max() <= 1


@pytest.mark.parametrize("name", JPEGS)
def test_broken_jpegs_have_the_fate_that_pillow_gives_them(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(len(name))
    broken = [JPEGS[name][:-2], JPEGS[name] + b"more"]
    for _ in range(60):
        encoded, place = bytearray(JPEGS[name]), int(rng.integers(len(JPEGS[name])))
        match rng.integers(4):
            case 0:
                del encoded[place:]
            case 1:
                encoded[place] = rng.integers(256)
            case 2:
                encoded[place:place] = rng.bytes(9)
            case _:
                del encoded[place : place + 9]
        broken.append(bytes(encoded))
    fates = [fate(encoded) for encoded in broken]
    left_to_pillow(monkeypatch)
    assert fates == [fate(encoded) for encoded in broken]
    assert {type(one) for one in fates} == {str, bytes}


def fate(encoded: bytes) -> bytes | str:
    with warnings.catch_warnings(action="ignore"):  # Pillow's, of damaged EXIF data
        try:
            return load_image(encoded, MATRIX).tobytes()
        except UndecodableImage as error:
            return error.message


def test_what_a_bundle_does_not_say_is_what_it_was_before_one_could_say_it() -> None:
    old = document.load(Preprocess, '{"crop_px": 16, "crop_fraction": 1.0, "interpolation": "bicubic", "max_pixels": 40000000}')
    assert (old.oversampling, old.resize) == (2.0, "pillow")


def test_oversampling_decides_how_small_a_jpeg_is_decoded() -> None:
    assert [jpeg.divisor((400, 533), round(oversampling * 96)) for oversampling in (1.0, 2.0, 3.0)] == [4, 2, 1]
    assert jpeg.divisor((4000, 3000), 256) == 8
    sharp, soft = (load_image(JPEGS["fine"], Preprocess(64, oversampling=number, resize=Resize.MATRIX)) for number in (2.0, 1.0))
    assert 0 < np.abs(sharp.astype(int) - soft).mean() < 5


@pytest.mark.parametrize("form", ["PNG", "WEBP", "JPEG"])
def test_both_resizes_see_the_same_picture(form: str) -> None:
    encoded = encode(Image.open(BytesIO(photo())), form)
    for spec in (Preprocess(20, 0.9), Preprocess(60, 0.875, Interpolation.LANCZOS), Preprocess(150, 1.0, Interpolation.BILINEAR)):
        difference = load_image(encoded, spec).astype(int) - load_image(encoded, replace(spec, resize=Resize.MATRIX))
        assert np.abs(difference).mean() < 0.3
        assert np.abs(difference).max() <= 6


@given(st.binary(max_size=300))
@settings(max_examples=200)
def test_any_bytes_are_an_array_or_an_error_of_ours(encoded: bytes) -> None:
    try:
        image = load_image(encoded, SPEC)
    except UndecodableImage:
        return
    assert image.shape == (16, 16, 3)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=100)
def test_a_damaged_picture_is_an_array_or_an_error_of_ours(form: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    encoded = bytearray(noise(7, (12, 10), form))
    for _ in range(rng.integers(1, 8)):
        encoded[rng.integers(len(encoded))] = rng.integers(256)
    try:
        image = load_image(bytes(encoded[: rng.integers(1, len(encoded) + 1)]), SPEC)
    except UndecodableImage:
        return
    assert image.shape == (16, 16, 3)
    assert image.dtype == np.uint8


@pytest.mark.parametrize(
    "values",
    [
        {"crop_px": 0},
        {"crop_px": 9000},
        {"crop_px": 8, "crop_fraction": 0.0},
        {"crop_px": 8, "max_pixels": 0},
        {"crop_px": 8, "oversampling": 0.5},
    ],
)
def test_a_specification_nothing_could_satisfy_is_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="out of range"):
        Preprocess(**values)


@pytest.mark.parametrize(
    ("name", "plain"),
    [("colour", True), ("grey", True), ("progressive", True), ("EXIF", False), ("XMP", False), ("CMYK", False), ("PNG", False)],
)
def test_pillow_looks_at_what_may_be_more_than_pixels(name: str, plain: bool) -> None:
    image = Image.new("RGB", (40, 30))
    exif = Image.Exif()
    exif[0x0112] = 6
    encoded = {
        "colour": lambda: encode(image, "JPEG"),
        "grey": lambda: encode(image.convert("L"), "JPEG"),
        "progressive": lambda: encode(image, "JPEG", progressive=True),
        "EXIF": lambda: encode(image, "JPEG", exif=exif),
        "XMP": lambda: encode(image, "JPEG", xmp=b"<x tiff:Orientation='6'/>"),
        "CMYK": lambda: encode(image.convert("CMYK"), "JPEG"),
        "PNG": lambda: encode(image),
    }[name]()
    assert jpeg.plain_size(encoded) == ((40, 30) if plain else None)
    assert tiny_size(encoded) == ((40, 30) if plain else None)
    assert jpeg.plain_size(encoded[:100]) is None


@pytest.mark.parametrize("sampled", [0x14, 0x33, 0x00, 0xFF])
def test_an_odd_sampling_of_colours_is_left_to_pillow(sampled: int) -> None:
    """Simplejpeg has no name for 4:4:1, and says so with a KeyError."""
    encoded = bytearray(encode(Image.new("RGB", (16, 16)), "JPEG"))
    encoded[encoded.index(b"\xff\xc0") + 11] = sampled
    odd = bytes(encoded)
    assert (jpeg.plain_size(odd), jpeg.sampling(odd), tiny_size(odd)) == (None, None, None)
    assert jpeg.decode(odd, (16, 16), 1) is None
    if sampled == 0x14:
        assert load_image(odd, SPEC).shape == (16, 16, 3)
    else:
        with pytest.raises(UndecodableImage, match="is damaged or cut short"):
            load_image(odd, SPEC)


def test_a_picture_is_tiny_by_its_pixels_not_its_bytes() -> None:
    assert tiny_size(encode(Image.new("RGB", (64, 64)), "JPEG")) == (64, 64)
    assert tiny_size(encode(Image.new("RGB", (65, 64)), "JPEG")) is None


@pytest.mark.parametrize("resize", Resize)
@pytest.mark.parametrize("size", [(16, 16), (16, 30), (20, 16), (17, 16)])
def test_a_cut_without_a_resize_is_what_a_resize_to_the_same_size_gives(size: tuple[int, int], resize: Resize) -> None:
    encoded = noise(3, size, "JPEG")
    whole = Image.open(BytesIO(encoded))
    left, top = (size[0] - 16) / 2, (size[1] - 16) / 2
    resized = whole.resize((16, 16), Image.Resampling.BICUBIC, box=(left, top, left + 16, top + 16))
    difference = load_image(encoded, replace(SPEC, resize=resize)).astype(int) - np.asarray(resized)
    assert np.abs(difference).max() <= (size == (17, 16) and resize == Resize.MATRIX)
