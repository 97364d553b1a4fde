"""The contact sheet shows the pictures, and what training makes of them."""

from __future__ import annotations

import numpy as np

from eyasd.training.tuning.augment import Augmentation
from eyasd.training.tuning.sheet import contact_sheet


def tiles(augmentation: Augmentation, flips: bool = False) -> np.ndarray:
    """float [rows, columns, 96, 96, 3] of two pictures: black on the left and white on the right, and all red."""
    halves = np.zeros((96, 96, 3), np.uint8)
    halves[:, 48:] = 255
    red = np.full((96, 96, 3), (250, 10, 10), np.uint8)
    sheet = np.asarray(contact_sheet(np.stack([halves, red]), augmentation, flips, 0), float)
    return sheet.reshape(2, 96, 8, 96, 3).swapaxes(1, 2)


def test_each_row_begins_with_the_picture_itself() -> None:
    found = tiles(Augmentation(rotation_degrees=90, color_fraction=0.5))
    assert found[0, 0, :, :40].mean() < 5
    assert found[0, 0, :, 56:].mean() > 250
    assert np.allclose(found[1, 0].mean((0, 1)), (250, 10, 10), atol=3)


def test_the_others_are_what_training_sees() -> None:
    found = tiles(Augmentation(color_fraction=0.5))
    brightness = found[1, :, :, :, 0].mean((1, 2))
    assert brightness[1:].std() > 5
    mirrored = tiles(Augmentation(), flips=True)[0, :, :, :40].mean((1, 2, 3)) > 128
    assert mirrored.tolist() == [False, False, True, False, True, False, True, False]
