"""Training pictures move, and only as far as the recipe says."""

from __future__ import annotations

import pytest
import torch

from eyasd.training.augment import Augmentation

PIXELS = torch.rand(8, 3, 33, 33, generator=torch.Generator().manual_seed(0)) * 255


def seeded(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_nothing_asked_for_changes_nothing() -> None:
    assert torch.equal(Augmentation().apply(PIXELS, seeded()), PIXELS)


def test_the_flip_mirrors_some_pictures_and_leaves_the_others() -> None:
    moved = Augmentation(horizontal_flip=True).apply(PIXELS, seeded())
    mirrored = [torch.equal(a, b.flip(2)) for a, b in zip(moved, PIXELS, strict=True)]
    kept = [torch.equal(a, b) for a, b in zip(moved, PIXELS, strict=True)]
    assert any(mirrored)
    assert any(kept)
    assert all(a != b for a, b in zip(mirrored, kept, strict=True))


@pytest.mark.parametrize("wish", [{"rotation_degrees": 20}, {"shift_fraction": 0.2}, {"shear_degrees": 10}, {"zoom_fraction": 0.3}])
def test_each_wish_moves_and_is_repeated_by_its_seed(wish: dict[str, float]) -> None:
    augmentation = Augmentation(**wish)
    once = augmentation.apply(PIXELS, seeded())
    assert not torch.allclose(once, PIXELS, atol=1)
    assert torch.equal(once, augmentation.apply(PIXELS, seeded()))
    assert not torch.equal(once, augmentation.apply(PIXELS, seeded(2)))


def test_the_range_of_values_is_kept() -> None:
    moved = Augmentation(rotation_degrees=180, shift_fraction=0.5, shear_degrees=45, zoom_fraction=0.9).apply(PIXELS, seeded())
    assert moved.min() >= 0
    assert moved.max() <= 255
    assert moved.shape == PIXELS.shape


def test_a_half_turn_is_a_half_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "rand", lambda *shape, generator: torch.ones(shape))  # every draw at its upper end
    moved = Augmentation(rotation_degrees=180).apply(PIXELS, seeded())
    assert torch.allclose(moved, PIXELS.flip(2, 3), atol=0.1)


def test_a_shift_moves_no_further_than_asked() -> None:
    pixels = torch.zeros(64, 3, 41, 41)
    pixels[:, :, 20, 20] = 255
    moved = Augmentation(shift_fraction=0.1).apply(pixels, seeded())
    places = [divmod(int(picture[0].argmax()), 41) for picture in moved]
    assert all(abs(place - 20) <= 5 for pair in places for place in pair)
    assert len(set(places)) > 10


def test_a_zoom_changes_the_size_within_its_range() -> None:
    pixels = torch.zeros(64, 3, 60, 60)
    pixels[:, :, 20:40, 20:40] = 255
    widths = (Augmentation(zoom_fraction=0.25).apply(pixels, seeded())[:, 0, 30] > 127).sum(1)
    assert widths.min() >= 15
    assert widths.max() <= 26
    assert widths.max() - widths.min() > 5
