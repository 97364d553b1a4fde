"""Batch normalisation that goes by fixed statistics, merged into the convolutions before it: the same function, less work.

With its statistics fixed a normalisation only scales and shifts, which the convolution's weights and bias can do as well. So the
network has nothing left to normalise, in training and when it is exported.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import torch
from timm.layers.norm_act import BatchNormAct2d
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

_KINDS: Final = (nn.BatchNorm2d, BatchNormAct2d)
_TOLERANCE: Final = 1e-3  # of the largest feature; rounding alone makes some 1e-5


def fold(body: nn.Module, px: int) -> bool:
    """Merges every normalisation that follows a convolution into it, in place; unless the network would answer otherwise then.

    Args:
        body: float32 [N, 3, H, W] of 0..255 -> features [N, F]; left in evaluation mode.
        px: side of its pictures.

    Returns:
        Whether it was done. Some networks list their layers in another order than they run them in.
    """
    example = 255 * torch.rand(2, 3, px, px, generator=torch.Generator().manual_seed(0))
    body.eval()
    with torch.inference_mode():
        before = body(example)
    replaced = [pair for module in list(body.modules()) for pair in _fold_children(module)]
    with torch.inference_mode():
        difference = (body(example) - before).abs().max()
    if difference <= _TOLERANCE * before.abs().max():
        return bool(replaced)
    for parent, name, layer in replaced:
        setattr(parent, name, layer)
    return False


def _fold_children(parent: nn.Module) -> list[tuple[nn.Module, str, nn.Module]]:
    """Folds among the direct children of a module; returns what was there before: the parent, the name, the layer."""
    replaced = []
    for (name, layer), (norm_name, norm) in pairwise(list(parent.named_children())):
        # Of known kinds alone: another may do more than to normalise.
        if not isinstance(layer, nn.Conv2d) or not isinstance(norm, nn.BatchNorm2d) or type(norm) not in _KINDS:
            continue
        replaced += [(parent, name, layer), (parent, norm_name, norm)]
        setattr(parent, name, fuse_conv_bn_eval(layer, norm).requires_grad_(True))
        setattr(parent, norm_name, nn.Sequential(norm.drop, norm.act) if isinstance(norm, BatchNormAct2d) else nn.Identity())
    return replaced
