"""Which pictures an epoch shows, and in which order: each of them once, or those of rare labels, and captured ones, more often.

A function of the seed alone, so that every process of a training, and every attempt, finds the same order.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray


def chances(class_indices: NDArray[np.int64], power: float) -> NDArray[np.float64]:
    """Returns float64 [N], summing to 1: a picture's chance is its label's number of pictures to the power of -`power`.

    Args:
        class_indices: int64 [N].
        power: 0 gives each picture the same chance, 1 each label.
    """
    weights = np.asarray(np.bincount(class_indices)[class_indices] ** -float(power), np.float64)
    weights /= weights.sum()
    return weights


def epoch_order(
    class_indices: NDArray[np.int64], power: float, seed: int, weights: NDArray[np.float64] | None = None
) -> NDArray[np.int64]:
    """Returns int64 [N], places of pictures in the order in which an epoch shows them.

    With a power of 0 and no weights that is each picture once. Otherwise N are drawn, each picture as often as its chance says,
    rounded up or down at random, and each label likewise: independent draws would leave out, and repeat, more by mere luck.

    Args:
        class_indices: int64 [N], what the pictures show.
        power: see `chances`.
        seed: of the epoch.
        weights: float64 [N], how much more often than others each is seen; None is each alike.
    """
    generator = torch.Generator().manual_seed(seed)
    count = len(class_indices)
    order: NDArray[np.int64] = torch.randperm(count, generator=generator).numpy()
    if not power and weights is None:
        return order
    # Systematic sampling: the pictures lie one after the other on a line, label by label, each as long as it is to be seen often,
    # and are taken at every whole number from a start at random.
    line = order[np.argsort(class_indices[order], kind="stable")]
    share = chances(class_indices, power) * (1 if weights is None else weights)
    ends = np.cumsum(count * (share / share.sum())[line])
    places = np.arange(count) + float(torch.rand(1, generator=generator, dtype=torch.float64))
    taken: NDArray[np.int64] = line[np.searchsorted(ends, places, side="right").clip(max=count - 1)]
    shuffled: NDArray[np.int64] = torch.randperm(count, generator=generator).numpy()
    return np.take(taken, shuffled)
