"""The device gets the pictures that were asked for, in that order, by whichever way they come."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from eyasd.training import feed
from eyasd.training.feed import Feed

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 4, 4, 3), np.uint8)
REPEATED = np.arange(3, 33)
STEPS = np.array_split(np.random.default_rng(1).permutation(REPEATED), 7)
CPU = torch.device("cpu")


@pytest.fixture(params=["elsewhere", "on the device"])
def room(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no room for the pictures on the device, or just enough."""
    bytes_ = IMAGES[REPEATED].nbytes - (request.param == "elsewhere")
    monkeypatch.setattr(feed, "_room_bytes", lambda _: bytes_)


@pytest.mark.usefixtures("room")
@pytest.mark.parametrize("device", [CPU, pytest.param(torch.device("cuda"), marks=pytest.mark.gpu)])
def test_every_step_gets_its_pictures(device: torch.device) -> None:
    source = Feed(IMAGES, device, REPEATED)
    for _ in range(2):
        found = [batch.cpu().numpy() for batch in source.batches(STEPS)]
        assert len(found) == len(STEPS)
        assert all(np.array_equal(batch, IMAGES[rows]) for batch, rows in zip(found, STEPS, strict=True))
    assert np.array_equal(source.batch(STEPS[0]).cpu(), IMAGES[STEPS[0]])
    assert list(source.batches([])) == []


@pytest.mark.usefixtures("room")
def test_an_epoch_may_end_early() -> None:
    source = Feed(IMAGES, CPU, REPEATED)
    for batch in source.batches(STEPS):
        assert np.array_equal(batch, IMAGES[STEPS[0]])
        break
    assert np.array_equal(next(source.batches(STEPS[1:])), IMAGES[STEPS[1]])


def test_a_row_that_was_not_announced_is_no_other_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "_room_bytes", lambda _: IMAGES.nbytes)
    with pytest.raises(IndexError):
        Feed(IMAGES, CPU, REPEATED).batch(np.array([0]))


@pytest.mark.gpu
def test_a_gpu_keeps_what_fits() -> None:
    before = torch.cuda.memory_allocated()
    source = Feed(IMAGES, torch.device("cuda"), REPEATED)
    assert torch.cuda.memory_allocated() - before >= IMAGES[REPEATED].nbytes
    assert source.batch(STEPS[0]).device.type == "cuda"
