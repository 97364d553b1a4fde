"""core.resample: the weights of Pillow, whatever the shape, and no more of the picture than is needed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from eyasd.core.resample import BICUBIC, BILINEAR, LANCZOS, Kernel, resample

PILLOWS = {BILINEAR: Image.Resampling.BILINEAR, BICUBIC: Image.Resampling.BICUBIC, LANCZOS: Image.Resampling.LANCZOS}


def resampled(pixels: np.ndarray, box: tuple[float, float, float, float], kernel: Kernel, side: int) -> np.ndarray:
    out = np.full((side, side, 3), 77, np.uint8)
    height, width, _ = pixels.shape
    resample(lambda part: pixels[part[1] : part[3], part[0] : part[2]], (width, height), box, kernel, out)
    return out


@pytest.mark.parametrize("kernel", PILLOWS, ids=["bilinear", "bicubic", "lanczos"])
@given(
    width=st.integers(1, 90),
    height=st.integers(1, 90),
    cut=st.floats(0.05, 1.0),
    place=st.floats(0, 1),
    side=st.integers(1, 40),
    seed=st.integers(0, 99),
)
@settings(max_examples=60)
def test_it_gives_the_pixels_of_pillow(
    kernel: Kernel, width: int, height: int, cut: float, place: float, side: int, seed: int
) -> None:
    # Away from black and white, where Pillow cuts off between its passes what the kernel overshoots.
    pixels = np.random.default_rng(seed).integers(100, 156, (height, width, 3), np.uint8)
    length = cut * min(width, height)
    left, top = place * (width - length), place * (height - length)
    box = left, top, left + length, top + length
    expected = np.asarray(Image.fromarray(pixels).resize((side, side), PILLOWS[kernel], box=box))
    # Pillow rounds the middle to 8 bits, which the kernel's negative weights make a little more of.
    assert np.abs(resampled(pixels, box, kernel, side).astype(int) - expected).max() <= 2


def test_flat_pictures_stay_flat_to_the_border() -> None:
    for value in (0, 1, 128, 254, 255):
        assert (resampled(np.full((700, 500, 3), value, np.uint8), (0, 0, 500, 500), LANCZOS, 13) == value).all()


def test_overshoot_is_cut_off_at_black_and_white() -> None:
    edge = np.zeros((64, 64, 3), np.uint8)
    edge[:, 32:] = 255
    image = resampled(edge, (0, 0, 64, 64), LANCZOS, 24)
    assert (image[:, :8] < 20).all()
    assert (image[:, 16:] > 235).all()


def test_only_what_is_cut_is_read() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 400, 3), np.uint8)
    asked: list[tuple[int, int, int, int]] = []

    def region(part: tuple[int, int, int, int]) -> np.ndarray:
        asked.append(part)
        return pixels[part[1] : part[3], part[0] : part[2]]

    resample(region, (400, 60), (190.5, 20.25, 210.5, 40.25), BICUBIC, np.empty((10, 10, 3), np.uint8))
    assert min(part[0] for part in asked) >= 180
    assert max(part[2] for part in asked) <= 220
    assert min(part[1] for part in asked) >= 10
    assert max(part[3] for part in asked) <= 50


def test_a_picture_decoded_in_between_changes_nothing() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (80, 80, 3), np.uint8)
    first = resampled(pixels, (0, 0, 80, 80), BICUBIC, 24)
    resampled(np.zeros((300, 200, 3), np.uint8), (0, 0, 200, 200), BICUBIC, 61)
    assert (resampled(pixels, (0, 0, 80, 80), BICUBIC, 24) == first).all()
