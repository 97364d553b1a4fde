"""Pictures mixed in pairs, and their labels in the same proportion."""

from __future__ import annotations

import pytest
import torch

from eyasd.training.tuning.mixing import Mixing

# Picture i is all i, and shows label i.
PIXELS = torch.arange(6.0).view(6, 1, 1, 1).expand(6, 3, 40, 50)
TARGETS = torch.arange(6)


def mixed(seed: int = 0, mixup: float = 0.0, cutmix: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    mix = Mixing(mixup, cutmix, 6).draw(6, seed)
    assert mix is not None
    return mix.apply(PIXELS, TARGETS, PIXELS[mix.partners], TARGETS[mix.partners])


def test_nothing_asked_for_changes_nothing() -> None:
    assert Mixing(0.0, 0.0, 6).draw(6, 0) is None


@pytest.mark.parametrize("way", [{"mixup": 1.0}, {"cutmix": 1.0}, {"mixup": 1.0, "cutmix": 1.0}])
@pytest.mark.parametrize("seed", range(8))
def test_labels_are_shared_as_the_pixels_are(way: dict[str, float], seed: int) -> None:
    pixels, shares = mixed(seed, **way)
    assert torch.allclose(shares.sum(1), torch.ones(6))
    # The mean of picture i is the mean of the labels by their shares, as label i is i.
    assert torch.allclose(pixels.mean((1, 2, 3)), shares @ torch.arange(6.0), atol=1e-4)


def test_several_labels_are_shared_like_one() -> None:
    flags = torch.eye(6) + torch.eye(6).roll(1, 1)
    for alphas in ((1.0, 0.0), (0.0, 1.0)):
        mix = Mixing(*alphas, 6).draw(6, 3)
        assert mix is not None
        one, both = (mix.apply(PIXELS, t, PIXELS[mix.partners], t[mix.partners])[1] for t in (TARGETS, flags))
        assert torch.allclose(both, one + one.roll(1, 1))


def test_mixup_blends_whole_pictures() -> None:
    pixels, shares = mixed(mixup=1.0)
    assert torch.allclose(pixels.amax((1, 2, 3)), pixels.amin((1, 2, 3)))
    assert (shares > 0).sum(1).max() == 2


def test_cutmix_replaces_one_rectangle() -> None:
    for seed in range(20):
        pixels, _ = mixed(seed, cutmix=1.0)
        assert torch.equal(pixels, pixels.round())  # nothing is blended
        for own, picture in enumerate(pixels[:, 0]):
            other = picture != own
            rows, columns = other.any(1).nonzero(), other.any(0).nonzero()
            if len(rows):
                assert other[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].all()


def test_a_seed_mixes_alike_and_another_otherwise() -> None:
    assert torch.equal(mixed(1, mixup=1.0)[0], mixed(1, mixup=1.0)[0])
    assert not torch.equal(mixed(1, mixup=1.0)[0], mixed(2, mixup=1.0)[0])


def test_both_ways_take_turns() -> None:
    blended = [not torch.equal(pixels, pixels.round()) for pixels, _ in (mixed(seed, mixup=1.0, cutmix=1.0) for seed in range(20))]
    assert 4 < sum(blended) < 16
