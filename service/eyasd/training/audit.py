"""Judges a dataset before it is trained on: what is missing, lopsided, unreadable or in two places at once."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from eyasd.core.errors import BadDataset
from eyasd.core.types import DatasetReport, LabelCounts, UnreadableFile
from eyasd.training.cache import Entry
from eyasd.training.listing import SPLITS, TRAIN, File, Listing, check_labels
from eyasd.training.split import carve

_MAX_IMBALANCE: Final = 10
_FEW_PICTURES: Final = 10


@dataclass(frozen=True, slots=True)
class Audit:
    """A dataset that may be trained on.

    Attributes:
        labels: in order of class index.
        rows: by split, int64 [n]: which of the listed files it holds.
        class_indices: int64 [N]: of each listed file, whether readable or not.
        report: for people and for the manifest.
    """

    labels: tuple[str, ...]
    rows: Mapping[str, NDArray[np.int64]]
    class_indices: NDArray[np.int64]
    report: DatasetReport


def audit(listing: Listing, entries: Sequence[Entry], fractions: Mapping[str, float], seed: int) -> Audit:
    """Judges a dataset, and splits it where it came without some split.

    Args:
        listing: the files.
        entries: what became of each when it was read.
        fractions: share of the pictures for `validation` and for `test`, where they have to be carved.
        seed: of the carving.

    Raises:
        BadDataset: it cannot be trained on as it stands.
    """
    readable = [row for row, entry in enumerate(entries) if not entry.problem]
    files = [listing.files[row] for row in readable]
    digests = [entries[row].sha256 for row in readable]
    if lost := sorted({file.label for file in listing.files} - {file.label for file in files}):
        raise BadDataset(f"None of the files of the label {lost[0]!r} is a readable picture; replace them, or remove the label.")
    check_labels(files, listing.splits, "readable pictures")
    files, warnings = _split(files, digests, listing.splits, fractions, seed)
    counts = Counter((file.split, file.label) for file in files)
    labels = tuple(sorted({file.label for file in files}))
    warnings = [*listing.warnings, *warnings, *_size_warnings(files), *_duplicate_warnings(files, digests)]
    unreadable = tuple(UnreadableFile(entry.name, entry.problem) for entry in entries if entry.problem)
    if unreadable:
        warnings.append(f"Left out {len(unreadable)} file(s) that are no readable pictures, such as {unreadable[0].path!r}.")
    return Audit(
        labels=labels,
        rows={s: np.array([row for row, file in zip(readable, files, strict=True) if file.split == s], np.int64) for s in SPLITS},
        class_indices=np.array([labels.index(file.label) for file in listing.files], np.int64),
        report=DatasetReport(
            labels=tuple(LabelCounts(label, *(counts[split, label] for split in SPLITS)) for label in labels),
            unreadable_files=unreadable,
            warnings=tuple(warnings),
            digest=_digest(files, digests),
        ),
    )


def _split(
    files: list[File], digests: list[str], given: tuple[str, ...], fractions: Mapping[str, float], seed: int
) -> tuple[list[File], list[str]]:
    """Returns the files, each in a split, and what a person should know of how they came there."""
    missing = {split: fractions[split] for split in SPLITS if split not in given and split != TRAIN}
    if not missing:
        return files, []
    pool = [i for i, file in enumerate(files) if file.split in (None, TRAIN)]
    carved = carve([digests[i] for i in pool], [files[i].label for i in pool], missing, seed)
    files = list(files)
    for i, split in zip(pool, carved, strict=True):
        files[i] = replace(files[i], split=split)
    check_labels(files, SPLITS, "readable pictures")  # a label all of whose pictures are copies of another's
    if not given:
        return files, []
    shares = " and ".join(f"{fraction:.0%} for {split}" for split, fraction in missing.items())
    return files, [f"The dataset came without {' and '.join(missing)}: set aside {shares} from train."]


def _size_warnings(files: Sequence[File]) -> list[str]:
    counts = Counter(file.label for file in files).most_common()
    (largest, most), (smallest, fewest) = counts[0], counts[-1]
    warnings = []
    if most > _MAX_IMBALANCE * fewest:
        warnings.append(
            f"The labels are lopsided: {largest!r} has {most} pictures and {smallest!r} {fewest}; "
            f"expect {smallest!r} to be recognised less often than it should."
        )
    few = sorted(label for label, count in counts if count < _FEW_PICTURES)
    if few:
        names = ", ".join(repr(label) for label in few[:5]) + (" and others" if len(few) > 5 else "")
        warnings.append(f"{len(few)} label(s) have fewer than {_FEW_PICTURES} pictures ({names}); their figures mean little.")
    return warnings


def _duplicate_warnings(files: Sequence[File], digests: Sequence[str]) -> list[str]:
    splits, labels = defaultdict(set), defaultdict(set)
    for file, digest in zip(files, digests, strict=True):
        splits[digest].add(file.split)
        labels[digest].add(file.label)
    leaked = sum(len(splits[digest]) > 1 for digest in digests)
    contradictory = sum(len(labels[digest]) > 1 for digest in digests)
    warnings = []
    if leaked:
        warnings.append(f"{leaked} files have an identical copy in another split; the figures flatter the model as far as they do.")
    if contradictory:
        warnings.append(
            f"{contradictory} files have an identical copy under another label; at most one of the two labels is right."
        )
    return warnings


def _digest(files: Sequence[File], digests: Sequence[str]) -> str:
    lines = sorted(f"{file.split}\0{file.label}\0{digest}\n" for file, digest in zip(files, digests, strict=True))
    return hashlib.sha256("".join(lines).encode()).hexdigest()
