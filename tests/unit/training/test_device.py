"""How the tensors of a backbone lie in memory."""

from __future__ import annotations

import pytest
import torch

from eyasd.training.device import layout


@pytest.mark.parametrize(
    ("backbone", "device", "expected"),
    [
        ("resnet50", "cuda", torch.channels_last),
        ("vit_small_patch16_224", "cuda", torch.channels_last),
        ("regnety_032", "cuda", torch.contiguous_format),
        ("regnety_032", "cpu", torch.channels_last),
    ],
)
def test_grouped_convolutions_have_their_channels_first_on_a_gpu(backbone: str, device: str, expected: torch.memory_format) -> None:
    assert layout(backbone, torch.device(device)) is expected
