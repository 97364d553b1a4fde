"""Which files belong together, so that no split divides them: copies, and those of a group."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eyasd.training.data.duplicates import Ids, join
from eyasd.training.data.listing import File


def units_of(files: Sequence[File], copies: Ids) -> Ids:
    """Returns int64 [n], equal for files that must not be divided between splits: copies, and those of a group.

    Args:
        files: the readable ones.
        copies: int64 [n], equal for copies.
    """
    _, first, inverse = np.unique(copies, return_index=True, return_inverse=True)
    leader: dict[str, int] = {}
    pairs = [(leader.setdefault(file.group, i), i) for i, file in enumerate(files) if file.group]
    left, right = np.array(pairs, np.int64).reshape(-1, 2).T
    return join(first[inverse], left, right)


def names_of(units: Ids, digests: Sequence[str]) -> list[str]:
    """Returns the least digest of each file's unit, which no order of the files and no name of a file decides."""
    least: dict[int, str] = {}
    for unit, digest in zip(units.tolist(), digests, strict=True):
        least[unit] = min(digest, least.get(unit, digest))
    return [least[unit] for unit in units.tolist()]
