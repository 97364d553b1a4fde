"""Judges a dataset before it is trained on: what is missing, lopsided, unreadable or in two places at once."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from eyasd.core.errors import BadDataset
from eyasd.core.findings import DatasetReport, Duplicates, LabelCounts, SplitSizes, UnreadableFile
from eyasd.core.wording import counted
from eyasd.training.data import findings
from eyasd.training.data.cache import Pictures
from eyasd.training.data.captured import CAPTURED, Held
from eyasd.training.data.duplicates import Copies, Ids, find_copies
from eyasd.training.data.listing import SPLITS, TEST, TRAIN, VALIDATION, File, Listing, check_labels, none_readable
from eyasd.training.data.split import carve
from eyasd.training.data.targets import Targets, targets_of
from eyasd.training.data.units import names_of, units_of
from eyasd.training.recipe import MAX_IMBALANCE

_FEW_PICTURES: Final = 10
Value = TypeVar("Value", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Audit:
    """A dataset that may be trained on.

    Attributes:
        labels: in order of class index.
        rows: by split, int64 [n]: which of the listed files it holds.
        targets: what each listed file shows, whether readable or not: int64 [N] class indices, or float32 [N, C] of 0 and 1 in a
            multi-label dataset.
        units: int64 [N]: listed files of the same number are copies or of one group, and belong together; -1 if unreadable.
        leaked: bool [N]: which files of the test split have an exact or near copy in train or validation, or were trained on by the
            version that the training starts from.
        report: for people and for the manifest.
        captured: bool [N], which files were captured; None where none were added.
    """

    labels: tuple[str, ...]
    rows: Mapping[str, NDArray[np.int64]]
    targets: Targets
    units: Ids
    leaked: NDArray[np.bool_]
    report: DatasetReport
    captured: NDArray[np.bool_] | None = None

    @property
    def multi_label(self) -> bool:
        """Whether a picture has any number of labels, rather than one."""
        return self.targets.ndim == 2


def audit(
    listing: Listing,
    pictures: Pictures,
    fractions: Mapping[str, float],
    seed: int,
    check: Callable[[], None],
    *,
    strict: bool = True,
    held: Held | None = None,
) -> Audit:
    """Judges a dataset, and splits it where it came without some split.

    Args:
        listing: the files.
        pictures: what became of each when it was read.
        fractions: share of the pictures for `validation` and for `test`, where they have to be carved.
        seed: of the carving.
        check: called again and again; may raise to end it.
        strict: whether to refuse a dataset that cannot be trained on; otherwise the report says so, and files without a split
            count as `train`.
        held: the version that all is to be split like, where captured pictures were added to the dataset; None is none.

    Raises:
        BadDataset: it cannot be trained on as it stands, or none of its files is a picture.
    """
    entries = pictures.entries
    readable = np.array([row for row, entry in enumerate(entries) if not entry.problem], np.int64)
    unreadable = tuple(UnreadableFile(entry.name, entry.problem) for entry in entries if entry.problem)
    if not len(readable):
        raise none_readable(unreadable)
    files, digests = [listing.files[row] for row in readable], [entries[row].sha256 for row in readable]
    copies = find_copies(pictures.images, readable, [file.labels for file in files], check)
    units = units_of(files, copies.near)
    warnings = list(listing.warnings)
    try:
        _check(listing, replace(listing, files=tuple(files)), copies.exact)
        if held is not None:
            files, found = held.split(files, digests, copies.near, fractions[VALIDATION], seed)
        else:
            files, found = _split(files, digests, (units, units_of(files, copies.exact)), listing.splits, fractions, seed)
        warnings += found
    except BadDataset as error:
        if strict:
            raise
        files = [replace(file, split=file.split or TRAIN) for file in files]
        warnings.append(f"A training would refuse this dataset: {error.message}")
    duplicates = findings.duplicates(files, copies)
    warnings += [*_size_warnings(files), *_duplicate_warnings(duplicates, copies, listing.multi_label), *_group_warnings(files)]
    if unreadable:
        warnings.append(f"Left out {counted(len(unreadable), 'unreadable file')}, such as {unreadable[0].path!r}.")
    labels = listing.labels
    counts = Counter((file.split, label) for file in files for label in file.labels)
    splits = np.array([file.split for file in files])
    headers = [entry.header for entry in entries if entry.header]
    return Audit(
        labels=labels,
        rows={split: readable[splits == split] for split in (*SPLITS, *({CAPTURED} if held else ()))},
        targets=targets_of(listing, labels),
        units=_scattered(units, readable, len(entries), -1),
        leaked=_scattered(_leaked(splits, copies.near), readable, len(entries), 0),
        report=DatasetReport(
            labels=tuple(LabelCounts(label, *(counts[split, label] for split in SPLITS)) for label in labels),
            unreadable_files=unreadable,
            warnings=tuple(warnings),
            digest=_digest(files, digests),
            pictures=findings.picture_statistics(headers) if headers else None,
            duplicates=duplicates,
            split_sizes=SplitSizes(*(int((splits == split).sum()) for split in SPLITS)),
        ),
        captured=np.array([file.captured_time is not None for file in listing.files]) if held else None,
    )


def _check(listing: Listing, readable: Listing, exact: Ids) -> None:
    """Refuses labels that cannot be learnt or scored; `exact` is of the readable files."""
    if lost := sorted({*listing.labels} - {*readable.labels}):
        raise BadDataset(f"None of the files of the label {lost[0]!r} is a readable picture; replace them, or remove the label.")
    check_labels(readable, "readable pictures")
    labels_of: defaultdict[int, set[tuple[str, ...]]] = defaultdict(set)
    for file, picture in zip(readable.files, exact.tolist(), strict=True):
        labels_of[picture].add(file.labels)
    own = {label for sets in labels_of.values() if len(sets) == 1 for labels in sets for label in labels}
    if copied := sorted({*readable.labels} - own):
        where = "has a copy with other labels" if listing.multi_label else "lies under another label, too"
        raise BadDataset(
            f"Every picture of the label {copied[0]!r} {where}, and at most one of them is right; remove the wrong ones."
        )


def _split(
    files: list[File],
    digests: list[str],
    units: tuple[Ids, Ids],
    given: tuple[str, ...],
    fractions: Mapping[str, float],
    seed: int,
) -> tuple[list[File], list[str]]:
    """Returns the files, each in a split, and what a person should know of how they came there.

    `units` are two ways to keep files together: the first is tried, the second where that leaves a label too few units.
    """
    missing = {split: fractions[split] for split in SPLITS if split not in given and split != TRAIN}
    if not missing:
        return files, []
    pool = [i for i, file in enumerate(files) if file.split in (None, TRAIN)]
    labels = [files[i].labels for i in pool]
    warnings = []
    wanted, least = ([names[i] for i in pool] for names in (names_of(kind, digests) for kind in units))
    try:
        carved = carve(wanted, labels, missing, seed)
    except BadDataset:
        carved = carve(least, labels, missing, seed)
        warnings.append("Near copies were divided between the splits: without them a label has too few pictures.")
    files = list(files)
    for i, split in zip(pool, carved, strict=True):
        files[i] = replace(files[i], split=split)
    if given:
        shares = " and ".join(f"{fraction:.0%} for {split}" for split, fraction in missing.items())
        warnings.append(f"The dataset came without {' and '.join(missing)}: set aside {shares} from train.")
    return files, warnings


def _leaked(splits: NDArray[np.str_], copies: Ids) -> NDArray[np.bool_]:
    leaked: NDArray[np.bool_] = (splits == TEST) & np.isin(copies, copies[np.isin(splits, (TRAIN, VALIDATION))])
    return leaked


def _scattered(values: NDArray[Value], rows: NDArray[np.int64], count: int, missing: int) -> NDArray[Value]:
    """Returns [count] with `values` in their rows."""
    scattered = np.full(count, missing, values.dtype)
    scattered[rows] = values
    return scattered


def _size_warnings(files: Sequence[File]) -> list[str]:
    counts = Counter(label for file in files for label in file.labels).most_common()
    if not counts:
        return []
    (largest, most), (smallest, fewest) = counts[0], counts[-1]
    warnings = []
    if most > MAX_IMBALANCE * fewest:
        warnings.append(
            f"The labels are lopsided: {largest!r} has {most} pictures and {smallest!r} {fewest}; "
            f"expect {smallest!r} to be recognised less often than it should."
        )
    few = sorted(label for label, count in counts if count < _FEW_PICTURES)
    if few:
        names = ", ".join(repr(label) for label in few[:5]) + (" and others" if len(few) > 5 else "")
        warnings.append(
            f"With fewer than {_FEW_PICTURES} pictures, the figures of {counted(len(few), 'label')} ({names}) mean little."
        )
    return warnings


def _duplicate_warnings(duplicates: Duplicates, copies: Copies, multi_label: bool) -> list[str]:
    warnings = []
    if duplicates.files_across_splits:
        warnings.append(
            f"{duplicates.files_across_splits} files have an exact or near copy in another split; "
            "the figures flatter the model as far as they do."
        )
    if duplicates.files_across_labels:
        said = "with other labels; of one picture at most one set of labels is right."
        if not multi_label:
            said = "under another label; of one picture at most one label is right."
        warnings.append(f"{duplicates.files_across_labels} files have an exact or near copy {said}")
    if copies.scenes:
        warnings.append(
            f"{copies.scenes} pictures look like many others of their label, as those of one camera do; "
            "they were not taken for copies."
        )
    return warnings


def _group_warnings(files: Sequence[File]) -> list[str]:
    splits = defaultdict(set)
    for file in files:
        splits[file.group].add(file.split)
    divided = sum(bool(file.group) and len(splits[file.group]) > 1 for file in files)
    return [f"{divided} files belong to a group that the dataset's own splits divide."] if divided else []


def _digest(files: Sequence[File], digests: Sequence[str]) -> str:
    lines = sorted(f"{file.split}\0{file.label}\0{digest}\n" for file, digest in zip(files, digests, strict=True))
    return hashlib.sha256("".join(lines).encode()).hexdigest()
