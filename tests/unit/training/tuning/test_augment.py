"""Training pictures change, and only as far as the recipe says."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from eyasd.training.tuning.augment import Augmentation

PIXELS = torch.rand(8, 3, 33, 33, generator=torch.Generator().manual_seed(0)) * 255
NONE = torch.zeros(64, dtype=torch.bool)


def seeded(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def apply(pixels: Tensor = PIXELS, *, seed: int = 1, flipped: Tensor | None = None, **wishes: Any) -> Tensor:
    flipped = NONE[: len(pixels)] if flipped is None else flipped
    return Augmentation(**wishes).apply(pixels, flipped, seeded(seed))


def test_nothing_asked_for_changes_nothing() -> None:
    assert torch.allclose(apply(), PIXELS, atol=1e-2)


def test_the_flip_mirrors_the_pictures_named() -> None:
    flipped = torch.tensor([True, False] * 4)
    changed = apply(flipped=flipped)
    assert torch.allclose(changed[flipped], PIXELS[flipped].flip(3), atol=1e-2)
    assert torch.allclose(changed[~flipped], PIXELS[~flipped], atol=1e-2)


@pytest.mark.parametrize(
    "wish",
    [
        {"rotation_degrees": 20},
        {"shift_fraction": 0.2},
        {"shear_degrees": 10},
        {"zoom_fraction": 0.3},
        {"min_crop_fraction": 0.4},
        {"color_fraction": 0.3},
        {"erasing_probability": 1.0},
    ],
)
def test_each_wish_changes_every_picture_in_its_own_way_and_is_repeated_by_its_seed(wish: dict[str, float]) -> None:
    pixels = PIXELS[:1].repeat(8, 1, 1, 1)
    once = apply(pixels, **wish)
    assert all(not torch.allclose(picture, PIXELS[0], atol=1) for picture in once)
    assert not torch.allclose(once[0], once[1], atol=1)
    assert torch.equal(once, apply(pixels, **wish))
    assert not torch.equal(once, apply(pixels, seed=2, **wish))


def test_the_range_of_values_is_kept() -> None:
    changed = apply(rotation_degrees=180, shift_fraction=0.5, shear_degrees=45, zoom_fraction=0.9, color_fraction=0.9)
    assert changed.min() >= 0
    assert changed.max() <= 255
    assert changed.shape == PIXELS.shape


def test_a_half_turn_is_a_half_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "rand", lambda *shape, generator: torch.ones(shape))  # every draw at its upper end
    assert torch.allclose(apply(rotation_degrees=180), PIXELS.flip(2, 3), atol=0.1)


def test_a_shift_moves_no_further_than_asked() -> None:
    pixels = torch.zeros(64, 3, 41, 41)
    pixels[:, :, 20, 20] = 255
    places = [divmod(int(picture[0].argmax()), 41) for picture in apply(pixels, shift_fraction=0.1)]
    assert all(abs(place - 20) <= 5 for pair in places for place in pair)
    assert len(set(places)) > 10


def test_a_shear_moves_rows_sideways_by_their_distance_from_the_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "rand", lambda *shape, generator: torch.ones(shape))  # every draw at its upper end
    pixels = torch.zeros(1, 3, 41, 41)
    pixels[:, :, :, 20] = 255
    places = apply(pixels, shear_degrees=45)[0, 0, 10:31].argmax(1)  # of the line that was upright
    assert places.tolist() == [20 - row for row in range(-10, 11)]


def test_a_crop_is_stretched_both_ways() -> None:
    """A square in the middle of a picture becomes wider than high in some pictures, higher than wide in others."""
    pixels = torch.zeros(64, 3, 101, 101)
    pixels[:, :, 35:66, 35:66] = 255
    shown = apply(pixels, min_crop_fraction=0.8)[:, 0] > 127
    ratios = shown.any(1).sum(1) / shown.any(2).sum(1)
    assert 0.7 < ratios.min() < 0.9
    assert 1.1 < ratios.max() < 1.4


def test_contrast_and_saturation_vary_about_the_grey_of_the_picture() -> None:
    pixels = torch.full((64, 3, 8, 8), 100.0)
    pixels[:, 0] = 140  # a red picture
    pixels[:, :, :4] -= 20  # whose upper half is darker
    changed = apply(pixels, color_fraction=0.4)
    contrast = (changed[:, 1, 6, 0] - changed[:, 1, 0, 0]) / 20
    redness = (changed[:, 0, 0, 0] - changed[:, 1, 0, 0]) / 40
    for times in (contrast, redness / contrast):
        assert times.min() < 0.8
        assert times.max() > 1.2


def test_a_zoom_changes_the_size_within_its_range() -> None:
    pixels = torch.zeros(64, 3, 60, 60)
    pixels[:, :, 20:40, 20:40] = 255
    widths = (apply(pixels, zoom_fraction=0.25)[:, 0, 30] > 127).sum(1)
    assert widths.min() >= 15
    assert widths.max() <= 26
    assert widths.max() - widths.min() > 5


def test_a_crop_lies_within_the_picture_and_keeps_its_share() -> None:
    """The picture's red is how far right a place is, its green how far down: what a crop shows tells where it was taken."""
    across = torch.linspace(0, 1, 101).expand(101, 101)
    pixels = torch.stack([across, across.T, across]).expand(64, 3, 101, 101)
    cropped = apply(pixels, min_crop_fraction=0.25)
    lows, highs = cropped.amin((2, 3))[:, :2], cropped.amax((2, 3))[:, :2]
    width, height = (highs - lows).unbind(1)
    assert (width * height).min() >= 0.24
    assert (width * height).max() > 0.7
    assert (width / height).log().abs().max() <= 0.3
    assert lows[:, 0].max() > 0.3  # not all about the middle
    # Reflection would show as a place where the red does not rise from left to right.
    assert (cropped[:, 0, 50].diff(dim=1) >= 0).all()


def test_colours_change_alike_over_the_whole_picture() -> None:
    pixels = torch.full((16, 3, 8, 8), 100.0)
    pixels[:, 0] = 150
    changed = apply(pixels, color_fraction=0.4)
    assert changed.std((2, 3)).max() < 1e-3
    grey = torch.full((16, 3, 8, 8), 120.0)
    brightness = apply(grey, color_fraction=0.4)[:, :, 0, 0]
    assert torch.allclose(brightness[:, 0], brightness[:, 1], atol=1e-3)  # grey stays grey
    assert brightness.min() >= 0.6 * 120 - 1e-3
    assert brightness.max() <= 1.4 * 120 + 1e-3


def test_erasing_fills_one_rectangle_of_the_pictures_it_chooses() -> None:
    pixels = torch.full((64, 3, 50, 50), -1.0)
    erased = Augmentation(erasing_probability=0.5)._erased(pixels, len(pixels), seeded(), slice(None)) != -1
    areas = erased[:, 0].float().mean((1, 2))
    assert 20 < (areas > 0).sum() < 44
    assert areas.max() <= 0.3
    for mask in erased[areas > 0][:, 0]:
        rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
        assert mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].all()
