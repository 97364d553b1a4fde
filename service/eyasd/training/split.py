"""Carves validation and test pictures out of the others: stratified, seeded, blind to the order and the names of the files."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence

from eyasd.core.errors import BadDataset
from eyasd.training.listing import TRAIN


def carve(digests: Sequence[str], labels: Sequence[str], fractions: Mapping[str, float], seed: int) -> list[str]:
    """Assigns each file to `train` or to one of the splits to carve.

    Identical files stay together, else the test would ask what the training has answered. What decides is each file's digest,
    salted with the seed: a renamed folder or another order of listing gives the same split.

    Args:
        digests: SHA-256 of each file.
        labels: of each file.
        fractions: share of each label that each carved split receives; at least one distinct file each.
        seed: another seed gives another split.

    Returns:
        The split of each file, in the order given.

    Raises:
        BadDataset: a label has too few distinct files to be in every split.
    """
    # A file that lies under two labels counts for the first of them; it still goes to one split as a whole.
    label_of: dict[str, str] = {}
    for digest, label in zip(digests, labels, strict=True):
        label_of[digest] = min(label, label_of.get(digest, label))
    strata: dict[str, list[str]] = {label: [] for label in sorted(set(labels))}
    for digest, label in label_of.items():
        strata[label].append(digest)
    assigned: defaultdict[str, str] = defaultdict(lambda: TRAIN)
    for label, members in strata.items():
        members.sort(key=lambda digest: hashlib.sha256(f"{seed}:{digest}".encode()).digest())
        start = 0
        for split, size in _sizes(label, len(members), fractions).items():
            assigned.update(dict.fromkeys(members[start : start + size], split))
            start += size
    return [assigned[digest] for digest in digests]


def _sizes(label: str, count: int, fractions: Mapping[str, float]) -> dict[str, int]:
    """Returns how many of a label's files each carved split receives; at least one is left for `train`."""
    needed = len(fractions) + 1
    if count < needed:
        raise BadDataset(
            f"The label {label!r} has {count} distinct readable picture(s); it needs at least {needed}, one for each split. "
            "Add pictures, or remove the label."
        )
    sizes = {split: max(1, round(fraction * count)) for split, fraction in fractions.items()}
    while sum(sizes.values()) >= count:
        largest = max(sizes, key=lambda split: sizes[split])
        sizes[largest] -= 1
    return sizes
