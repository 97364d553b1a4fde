"""serving.nvjpeg: a card decodes what libjpeg-turbo does, the rest has its old fate, and without the card nothing starts.

Without a GPU nvImageCodec's own libjpeg-turbo shows the way.
"""

from __future__ import annotations

import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import simplejpeg
from nvidia import nvimgcodec
from PIL import Image

from builders import noise, scene
from eyasd.core.errors import StartupFailed, UndecodableImage
from eyasd.core.preprocess import Preprocess, Resize, load_image
from eyasd.serving import nvjpeg
from eyasd.serving.nvjpeg import TOLERANCE, GpuDecoder

SPEC = Preprocess(crop_px=96, resize=Resize.MATRIX)
ON_CPU = nvimgcodec.NVIMGCODEC_DEVICE_CPU_ONLY


def photo(mode: str = "RGB", size: tuple[int, int] = (191, 131), turn: int = 1, **options: Any) -> bytes:
    buffer, exif = BytesIO(), Image.Exif()
    exif[0x0112] = turn
    scene(5, size).convert(mode).save(buffer, "JPEG", exif=exif, **options)
    return buffer.getvalue()


PHOTO = photo()
ON_CARD = {
    "4:2:0": PHOTO,
    "4:2:2": photo(subsampling=1),
    "4:4:4": photo(subsampling=0),
    "grey": photo("L"),
    "restarts": photo(restart_marker_blocks=3),
    "turned": photo(turn=6),
    "wide": photo(size=(700, 5)),
}
ELSEWHERE = {
    "progressive": photo(progressive=True),
    "4:1:1": simplejpeg.encode_jpeg(np.asarray(scene(5, (191, 131))), colorsubsampling="411"),
    "two": PHOTO + PHOTO,
    "marker": PHOTO[:-300] + b"\xff\x7b" + PHOTO[-300:],
    "CMYK": photo("CMYK"),
    "large": photo(size=(2100, 2000)),
    "at a half": photo(size=(600, 400)),
    "cut off": PHOTO[:-500],
    "no end": PHOTO[:-2],
    "PNG": noise(1),
    "nothing": b"",
    "scans": PHOTO[:-2] + 200 * b"\xff\xda" + PHOTO[-2:],
}


@pytest.fixture
def observed() -> list[bool]:
    return []


@pytest.fixture
def decoder(observed: list[bool]) -> GpuDecoder:
    return GpuDecoder(observed.append, ON_CPU)


@pytest.fixture
def card(observed: list[bool]) -> GpuDecoder:
    return GpuDecoder(observed.append)


def fate(encoded: bytes, decoder: GpuDecoder | None, spec: Preprocess = SPEC) -> bytes | str:
    with warnings.catch_warnings(action="ignore"):  # Pillow's, of damaged EXIF data
        try:
            return load_image(encoded, spec, decode=decoder.decode if decoder else None).tobytes()
        except UndecodableImage as error:
            return error.message


def lose_the_card(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(encoded: bytes) -> None:
        raise RuntimeError("CUDA Runtime failure")

    monkeypatch.setattr(nvimgcodec, "CodeStream", fail)


@pytest.mark.parametrize("name", ON_CARD)
def test_common_jpegs_are_decoded_there_to_the_same_picture(name: str, decoder: GpuDecoder, observed: list[bool]) -> None:
    assert fate(ON_CARD[name], decoder) == fate(ON_CARD[name], None)
    assert observed == [True]


@pytest.mark.gpu
@pytest.mark.parametrize("name", ON_CARD)
def test_a_card_differs_by_few_levels(name: str, card: GpuDecoder, observed: list[bool]) -> None:
    image = load_image(ON_CARD[name], SPEC, decode=card.decode).astype(int)
    assert np.abs(image - load_image(ON_CARD[name], SPEC)).max() <= TOLERANCE
    assert observed == [True]


@pytest.mark.parametrize("name", ELSEWHERE)
def test_no_other_file_is_given_to_it(name: str, decoder: GpuDecoder, observed: list[bool]) -> None:
    spec = Preprocess(crop_px=1100, resize=Resize.MATRIX) if name == "large" else SPEC  # which is decoded at its full size
    assert fate(ELSEWHERE[name], decoder, spec) == fate(ELSEWHERE[name], None, spec)
    assert observed == []


@pytest.mark.parametrize("device", [ON_CPU, pytest.param(0, marks=pytest.mark.gpu)])
def test_damage_is_told_in_the_same_words(device: int, observed: list[bool]) -> None:
    decoder, rng, kinds = GpuDecoder(observed.append, device), np.random.default_rng(3), set()
    for _ in range(80):
        broken, place = bytearray(PHOTO), int(rng.integers(len(PHOTO) - 2))
        broken[place : place + int(rng.integers(40))] = rng.bytes(int(rng.integers(40)))
        mine, usual = fate(bytes(broken), decoder), fate(bytes(broken), None)
        assert mine == usual or (isinstance(mine, bytes) and isinstance(usual, bytes))
        kinds.add(type(usual))
    assert kinds == {bytes, str}
    assert 20 < len(observed) < 80


@pytest.mark.parametrize("device", [ON_CPU, pytest.param(0, marks=pytest.mark.gpu)])
def test_threads_do_not_see_each_others_pictures(device: int, observed: list[bool]) -> None:
    decoder = GpuDecoder(observed.append, device)
    files = [noise(seed, (150, 100 + seed), "JPEG") for seed in range(40)]
    expected = [fate(encoded, decoder) for encoded in files]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda encoded: fate(encoded, decoder), files)) == expected
    assert observed == 80 * [True]


def test_what_a_card_fails_on_is_decoded_as_ever(
    monkeypatch: pytest.MonkeyPatch, decoder: GpuDecoder, observed: list[bool]
) -> None:
    lose_the_card(monkeypatch)
    assert fate(PHOTO, decoder) == fate(PHOTO, None)
    assert observed == [False]


def test_nothing_starts_without_the_package_or_a_gpu(monkeypatch: pytest.MonkeyPatch, observed: list[bool]) -> None:
    with pytest.raises(StartupFailed, match=r"no GPU, driver or nvJPEG .* or set serving\.decoder to cpu\.$"):
        GpuDecoder(observed.append, 99)
    monkeypatch.setitem(sys.modules, "nvidia.nvimgcodec", None)
    with pytest.raises(StartupFailed, match=r"cannot be imported .*: install 'eyas\[gpu-decode\]', or set"):
        GpuDecoder(observed.append)


def test_nothing_starts_where_the_pixels_are_others(monkeypatch: pytest.MonkeyPatch, observed: list[bool]) -> None:
    monkeypatch.setattr(nvjpeg, "_OPTIONS", ":fancy_upsampling=0")
    with pytest.raises(StartupFailed, match=r"differ by \d+ of 255 levels in a 4:2:0 JPEG, and at most 4 are allowed"):
        GpuDecoder(observed.append, ON_CPU)


def test_nothing_starts_where_a_common_jpeg_is_not_decoded(monkeypatch: pytest.MonkeyPatch, observed: list[bool]) -> None:
    lose_the_card(monkeypatch)
    with pytest.raises(StartupFailed, match="does not decode a 4:2:0 JPEG: install"):
        GpuDecoder(observed.append, ON_CPU)
