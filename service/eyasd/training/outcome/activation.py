"""Whether a network's answers can be explained by class-activation maps, and those maps of some pictures."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from eyasd.core.activation import HeadWeights
from eyasd.core.bundle import EXPLAIN, FEATURE_MAP, INPUT
from eyasd.training.network import Network
from eyasd.training.outcome.session import open_session

_TOLERANCE: Final = 1e-3  # of the largest feature; rounding alone makes some 1e-6


def map_sizes(network: Network, px: int) -> tuple[int, int, int] | None:
    """Returns the sizes F, h and w of the last feature map if a logit is a mean over its places; None where it is not.

    So it is where the backbone ends in an average over all places and the head is one linear layer. The network itself is asked, as
    names of classes promise little: a normalisation may follow the average, or another layer.

    Args:
        network: on the CPU; left in evaluation mode.
        px: side of its pictures.
    """
    layers = [layer for layer in network.head if not isinstance(layer, nn.Dropout)]
    if len(layers) != 1 or not isinstance(layers[0], nn.Linear):
        return None
    network.eval()
    example = 255 * torch.rand(2, 3, px, px, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        features = network.body(example)
        maps: Any = network.feature_map(example)  # a few families have a list of tensors
        if not isinstance(maps, torch.Tensor) or maps.dim() != 4 or maps.shape[:2] != features.shape:
            return None
        difference = (maps.mean((2, 3)) - features).abs().max()
    _, channels, height, width = maps.shape
    return (channels, height, width) if difference <= _TOLERANCE * features.abs().max() else None


def head_weights(network: Network) -> HeadWeights:
    """Returns the weights of the head's linear layer."""
    return HeadWeights(network.last_layer.weight.detach().numpy())


def activation_overlays(model: Path, images: NDArray[np.uint8], class_indices: Iterable[int]) -> list[bytes]:
    """Returns each picture with the class-activation map of its class over it, as PNG files of the same size.

    Args:
        model: path of model.onnx in its bundle.
        images: uint8 [N, H, W, 3], as the network sees them.
        class_indices: N of them, whose maps are drawn.

    Returns:
        N files; none where the network has no maps, see `map_sizes`.
    """
    explain = model.with_name(EXPLAIN)
    if not explain.exists():
        return []
    head, session = HeadWeights.from_bytes(explain.read_bytes()), open_session(model)
    return [
        head.explain(image, session.run([FEATURE_MAP], {INPUT: image[None]})[0][0], class_index)
        for image, class_index in zip(images, class_indices, strict=True)
    ]
