"""A picture of 2026 becomes the array it became then: a model trained today must see tomorrow what it saw in training.

If this fails, preprocessing has changed for every model that exists. Restore it, or give the new one a name in `Preprocess`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eyasd.core.preprocess import Interpolation, Preprocess, Resize, load_image

HERE = Path(__file__).parent
SPECS = {
    "bicubic_crop": Preprocess(24, 0.875),
    "bilinear": Preprocess(16, 1.0, Interpolation.BILINEAR),
    "large": Preprocess(32, 1.0, Interpolation.LANCZOS),
    "matrix": Preprocess(24, 0.875, resize=Resize.MATRIX),
    "scaled": Preprocess(32, 0.875, oversampling=1.25, resize=Resize.MATRIX),
}


@pytest.mark.parametrize("name", SPECS)
def test_a_rotated_jpeg_gives_the_recorded_pixels(name: str) -> None:
    with np.load(HERE / "scene.npz") as recorded:
        expected = recorded[name]
    image = load_image((HERE / "scene.jpg").read_bytes(), SPECS[name])
    # Builds of libjpeg differ by a rounding of the inverse transform; another kernel or orientation by tens.
    assert np.abs(image.astype(int) - expected).max() <= 3
