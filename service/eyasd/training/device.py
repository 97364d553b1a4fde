"""What makes a GPU quick beside the network itself: how its tensors lie in memory, and in which formats it multiplies."""

from __future__ import annotations

from typing import Final

import torch

# Of timm's training benchmark (RTX 3090, mixed precision; pictures/s with the channels last against first): resnet50 1218 / 826,
# efficientnet_b0 1752 / 1459, vgg16 546 / 465, convnext_tiny 819 / 813, vit_small 1058 / 1053, but regnety_032 497 / 697: cuDNN has
# no good kernels for its grouped convolutions. Not measured here.
_CHANNELS_FIRST: Final = ("regnet",)


def layout(backbone: str, device: torch.device) -> torch.memory_format:
    """Returns how pictures and weights lie in memory while a backbone is trained."""
    first = device.type == "cuda" and backbone.startswith(_CHANNELS_FIRST)
    return torch.contiguous_format if first else torch.channels_last


def tune() -> None:
    """Lets a GPU try its convolutions for each shape once, and multiply in TF32 what mixed precision leaves in float32.

    The shapes of a training are few and stay. TF32 rounds to 10 bits; what is exported is proven on the CPU, in float32.
    """
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = True  # cuDNN's convolutions do so anyway
