"""Carves validation and test pictures out of the others: stratified, seeded, blind to the order and the names of the files."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from math import fsum
from typing import Final

from eyasd.core.errors import BadDataset
from eyasd.core.wording import counted
from eyasd.training.data.listing import TRAIN

_NONE: Final = ""  # no label's name


def carve(units: Sequence[str], labels: Sequence[Sequence[str]], fractions: Mapping[str, float], seed: int) -> list[str]:
    """Assigns each file to `train` or to one of the splits to carve.

    The files of a unit stay together, else the test would ask what the training has answered. What decides is each unit's name,
    salted with the seed: as long as it is made of what the files hold, a renamed folder or another order of listing gives the
    same split.

    Args:
        units: of each file, the name of the unit it belongs to, such as its SHA-256 where only identical files belong together.
        labels: those of each file; files without any are shared out like those of a label, but need not be in every split.
        fractions: share of each label's files that each carved split receives, as nearly as its units allow; one unit at least.
        seed: another seed gives another split.

    Returns:
        The split of each file, in the order given.

    Raises:
        BadDataset: a label has too few units to be in every split.
    """
    files: dict[str, Counter[str]] = {}
    for unit, held in zip(units, labels, strict=True):
        files.setdefault(unit, Counter()).update(held or (_NONE,))
    counts, distinct = Counter[str](), Counter(label for held in files.values() for label in held)
    for held_by_unit in files.values():
        counts.update(held_by_unit)
    needed = sorted(counts.keys() - {_NONE})
    for label in needed:
        _check(label, distinct[label], fractions)
    wanted = {label: _sizes(count, fractions) for label, count in counts.items()}
    left = {split: {label: wanted[label][split] for label in counts} for split in fractions}

    order = sorted(files, key=lambda unit: hashlib.sha256(f"{seed}:{unit}".encode()).digest())
    assigned: dict[str, str] = {}
    for unit in order:
        # Where it brings a split closer to its share, label by label; that of a unit of one file is to be one file less short. A
        # file of a rare label weighs more, else the commoner labels that it has, too, would decide.
        gains = {
            split: fsum((abs(rest[label]) - abs(rest[label] - n)) / counts[label] for label, n in files[unit].items())
            for split, rest in left.items()
        }
        best = max(gains, key=lambda split: gains[split])
        assigned[unit] = best if gains[best] > 0 else TRAIN
        if assigned[unit] != TRAIN:
            for label, n in files[unit].items():
                left[best][label] -= n
    _fill(assigned, files, needed, (*fractions, TRAIN), order)
    return [assigned[unit] for unit in units]


def _fill(
    assigned: dict[str, str], files: Mapping[str, Counter[str]], labels: Sequence[str], splits: Sequence[str], order: Sequence[str]
) -> None:
    """Moves units, the smallest first, to the splits that lack a label because its units are larger than their share."""
    held = Counter((assigned[unit], label) for unit in order for label in files[unit])
    for label in labels:
        for split in splits:
            if held[split, label]:
                continue
            spare = [
                u for u in order if label in files[u] and all(held[assigned[u], other] > 1 or other == _NONE for other in files[u])
            ]
            if not spare:
                raise BadDataset(
                    f"The pictures of {label!r} are in groups that cannot be divided over {len(splits)} splits so that each has "
                    "every label. Make the groups smaller, or bring the pictures in folders train/, validation/ and test/."
                )
            unit = min(spare, key=lambda u: files[u].total())
            held.subtract((assigned[unit], other) for other in files[unit])
            held.update((split, other) for other in files[unit])
            assigned[unit] = split


def _check(label: str, count: int, fractions: Mapping[str, float]) -> None:
    needed = len(fractions) + 1
    if count < needed:
        raise BadDataset(
            f"The label {label!r} has {counted(count, 'distinct readable picture')}; it needs at least {needed}, "
            "one for each split; copies, and the pictures of a group, count as one. Add pictures, or remove the label."
        )


def _sizes(count: int, fractions: Mapping[str, float]) -> dict[str, int]:
    """Returns how many of a label's files each carved split shall receive; at least one is left for `train`."""
    sizes = {split: max(1, round(fraction * count)) for split, fraction in fractions.items()}
    while sum(sizes.values()) >= count:
        largest = max(sizes, key=lambda split: sizes[split])
        sizes[largest] -= 1
    return sizes
