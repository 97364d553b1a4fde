"""What pictures show, as arrays: the class index of each picture's label, or a row of flags where it may have several."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from eyasd.training.data.listing import Listing

# int64 [N] class indices, or float32 [N, C] with 1 where a label applies and 0 where not.
Targets = NDArray[np.int64] | NDArray[np.float32]


def targets_of(listing: Listing, labels: Sequence[str]) -> Targets:
    """Returns what each file shows: int64 [N], or float32 [N, C] of a multi-label dataset.

    Args:
        listing: N files, whose labels are among `labels`.
        labels: C of them, in order of class index.
    """
    class_index = {label: index for index, label in enumerate(labels)}
    held = [[class_index[label] for label in file.labels] for file in listing.files]
    return flags(held, len(labels)) if listing.multi_label else np.array(held, np.int64).reshape(-1)


def flags(held: Sequence[Sequence[int]], labels: int) -> NDArray[np.float32]:
    """Returns float32 [N, C], 1 where a picture has the class index and 0 elsewhere."""
    found = np.zeros((len(held), labels), np.float32)
    for row, indices in zip(found, held, strict=True):
        row[list(indices)] = 1
    return found


def as_flags(targets: Targets, labels: int) -> NDArray[np.float32]:
    """Returns the targets as float32 [N, C], one 1 a row where they are class indices."""
    return targets.astype(np.float32) if targets.ndim == 2 else np.eye(labels, dtype=np.float32)[targets]


def groups_of(targets: Targets) -> NDArray[np.int64]:
    """Returns int64 [N] by which pictures are balanced: the class index, or one number for each that is the rarest of some picture.

    A picture of several labels is there for the sake of its rarest one, as in the repeat factors of LVIS (Gupta et al., 2019).
    """
    if targets.ndim == 1:
        return targets.astype(np.int64, copy=False)
    counts = np.append(targets.sum(0), len(targets) + 1)  # after all labels, none
    held = np.where(np.pad(targets, ((0, 0), (0, 1)), constant_values=1) == 1, counts, np.inf)
    groups: NDArray[np.int64] = np.unique(held.argmin(1), return_inverse=True)[1]
    return groups
