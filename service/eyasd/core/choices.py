"""What a training chose by evidence, and the evidence: which backbone, and which hyper-parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedBackbone:
    """One of several backbones, judged by a head on its frozen features.

    Attributes:
        backbone: name of the network in timm.
        image_size_px: side of the square picture it sees.
        multiply_adds: of one picture, in billions.
        loss: mean negative log-likelihood of the validation pictures, in nats; None where it was left out.
        standard_error: of the difference between that and the least; 0 of the least, None where it was left out.
        left_out: why it was not tried; "" where it was.
        chosen: whether the training went on with it.
    """

    backbone: str
    image_size_px: int
    multiply_adds: float
    loss: float | None = None
    standard_error: float | None = None
    left_out: str = ""
    chosen: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One short training of a search.

    Attributes:
        backbone: name of the network in timm.
        values: the hyper-parameters that were searched, by the names of the recipe.
        steps: number of steps it was to take.
        losses: validation loss after each of its epochs, in nats.
        accuracy: on the validation split after the last of them, 0..1.
        pruned: whether it was ended early, because it was behind the others.
        chosen: whether the training went on with its values.
    """

    backbone: str
    values: Mapping[str, float]
    steps: int
    losses: tuple[float, ...]
    accuracy: float
    pruned: bool = False
    chosen: bool = False
