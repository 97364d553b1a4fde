"""What makes a GPU quick beside the network itself: how tensors lie in memory, number formats, kernels made of several."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from typing import Final

import torch

# Of timm's training benchmark (RTX 3090, mixed precision; pictures/s with the channels last against first): resnet50 1218 / 826,
# efficientnet_b0 1752 / 1459, vgg16 546 / 465, convnext_tiny 819 / 813, vit_small 1058 / 1053, but regnety_032 497 / 697: cuDNN has
# no good kernels for its grouped convolutions. Not measured here.
_CHANNELS_FIRST: Final = ("regnet",)

# To compile takes a minute or more, which a step 1.3 times as quick wins back after 800,000 pictures at 3,000 pictures/s: from
# published figures of ResNet-50 on an H200, not measured here. On the CPU it never does: compiled, a step of 32 pictures takes
# 2.6 s instead of 1.1 (tf_efficientnet_lite0, 224 px, torch 2.14 on 2 cores of an EPYC).
_SAMPLES_TO_COMPILE: Final = 2_000_000


def layout(backbone: str, device: torch.device) -> torch.memory_format:
    """Returns how pictures and weights lie in memory while a backbone is trained."""
    first = device.type == "cuda" and backbone.startswith(_CHANNELS_FIRST)
    return torch.contiguous_format if first else torch.channels_last


def pays_to_compile(samples: int, device: torch.device) -> bool:
    """Returns whether a training of so many pictures ends sooner if its network is compiled first, and whether it can be."""
    return device.type == "cuda" and samples >= _SAMPLES_TO_COMPILE and _can_compile()


def _can_compile() -> bool:
    """Returns whether there is what torch.compile makes kernels with: Triton, and the C compiler that Triton starts."""
    compilers = [os.environ["CC"]] if "CC" in os.environ else ["gcc", "clang"]
    return find_spec("triton") is not None and any(map(shutil.which, compilers))


def tune() -> None:
    """Lets a GPU try its convolutions for each shape once, and multiply in TF32 what mixed precision leaves in float32.

    The shapes of a training are few and stay. TF32 rounds to 10 bits; what is exported is proven on the CPU, in float32.
    """
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = True  # cuDNN's convolutions do so anyway
