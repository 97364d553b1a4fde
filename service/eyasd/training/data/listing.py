"""Which files a dataset's folder offers, under which label and in which split; opens none of them, wherever the folder lies.

FOLDER/LABEL/*.jpg           no split: Eyas makes one
FOLDER/SPLIT/LABEL/*.jpg     train/, validation/ (or val/, valid/) and test/; a missing one is carved from train
"""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from eyasd.core.errors import BadDataset
from eyasd.core.findings import UnreadableFile
from eyasd.core.names import UNSEEN
from eyasd.core.wording import counted
from eyasd.training.data.tree import Folder, LocalFolder

TRAIN: Final = "train"
VALIDATION: Final = "validation"
TEST: Final = "test"
SPLITS: Final = (TRAIN, VALIDATION, TEST)
SPLIT_NAMES: Final = {"train": TRAIN, "validation": VALIDATION, "val": VALIDATION, "valid": VALIDATION, "test": TEST}
# Between labels that are written as one text, as in a manifest; so none of a picture's several labels holds it.
SEPARATOR: Final = "|"
PICTURE_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp"})

# The longest name of a file; the columns of what is no table may have any length.
_SHOWN_CHARACTERS: Final = 255


@dataclass(frozen=True, slots=True)
class File:
    """One file below a label's folder, or one that a manifest names.

    Attributes:
        path: where it is, or the larger file of which it is a piece.
        name: its path relative to the dataset, for people; bytes that are not UTF-8 are replaced.
        labels: sorted; exactly one, unless the dataset is multi-label.
        split: `train`, `validation` or `test`; None where the dataset has no split.
        group: pictures of one group belong into one split; None is a group of its own.
        start: where the piece begins, in bytes.
        size_bytes: of the piece; None is a file of its own.
        sha256: of what it must hold, hexadecimal; "" where nobody noted it.
        roots: folders, free of symbolic links, out of which no link may lead when it is read; none is anywhere.
        captured_time: when it was captured, in seconds since 1970; None is a file of the dataset.
        by_chance: whether it was captured by chance.
    """

    path: Path
    name: str
    labels: tuple[str, ...]
    split: str | None
    group: str | None = None
    start: int = 0
    size_bytes: int | None = None
    sha256: str = ""
    roots: tuple[str, ...] = ()
    captured_time: float | None = None
    by_chance: bool = False

    @property
    def label(self) -> str:
        """Its labels as one text; "" where it has none."""
        return SEPARATOR.join(self.labels)


@dataclass(frozen=True, slots=True)
class Listing:
    """What a dataset offers.

    Attributes:
        files: sorted by name.
        splits: those that the dataset came with, in the order of SPLITS; empty where it has none.
        warnings: sentences for a person.
        multi_label: whether a file has any number of labels, none included, rather than one.
    """

    files: tuple[File, ...]
    splits: tuple[str, ...]
    warnings: tuple[str, ...]
    multi_label: bool = False

    @property
    def labels(self) -> tuple[str, ...]:
        """All labels, sorted: in order of class index."""
        return tuple(sorted({label for file in self.files for label in file.labels}))

    def of_split(self, split: str) -> Listing:
        """Returns the files of one split alone."""
        return replace(self, files=tuple(f for f in self.files if f.split == split), splits=(split,))


def list_files(root: Path) -> Listing:
    """Lists a folder of class folders of this machine. Raises as `list_folder`."""
    return list_folder(LocalFolder(root))


def list_folder(root: Folder, roots: tuple[str, ...] = (), each: Callable[[], None] = lambda: None) -> Listing:
    """Lists a folder of class folders.

    Args:
        root: the folder.
        roots: of each file.
        each: is called with each file that is found, and may raise.

    Raises:
        BadDataset: no folders of pictures are in it.
    """
    inside = root.folders()
    found: dict[str, Folder] = {}
    for folder in inside:
        split = split_of(folder)
        if split:
            if split in found:
                raise BadDataset(f"{found[split].name}/ and {folder.name}/ are both the {split} split; merge them into one folder.")
            found[split] = folder
    files: list[File] = []
    warnings: list[str] = []
    if found:
        others = [folder.name for folder in inside if folder not in found.values()]
        if others:
            warnings.append(
                f"Left out {names(others)}, beside {names(f.name + '/' for f in found.values())}: no split of that name."
            )
        for split, folder in found.items():
            files += _labelled(folder, split, roots, warnings, each)
    else:
        files += _labelled(root, None, roots, warnings, each)
    if not files:
        raise BadDataset("The dataset holds no files: put the pictures of each label into a folder named after the label.")
    splits = tuple(split for split in SPLITS if split in found)
    return Listing(tuple(sorted(files, key=lambda file: file.name)), splits, tuple(warnings))


def check_labels(listing: Listing, noun: str = "files") -> None:
    """Refuses labels that cannot be learnt or scored.

    Args:
        listing: all files, or those that turned out to be pictures.
        noun: what the files are called in a message.

    Raises:
        BadDataset: there is nothing to tell apart, or the labels are not the same in every split.
    """
    splits = listing.splits
    _check_spelling(listing.labels)
    if listing.multi_label:
        _check_sets(listing, noun)
    elif len(labels := listing.labels) < 2:
        raise BadDataset(
            f"The dataset has {noun} of {counted(len(labels), 'label')}, {names(labels)}; a classifier needs at least two labels."
        )
    if splits and TRAIN not in splits:
        raise BadDataset(
            f"The dataset has {' and '.join(splits)} but no train split: add the folder train/, or rows of that split."
        )
    found = {split: set(listing.of_split(split).labels) for split in splits}
    for split in splits:
        if unknown := found[split] - found[TRAIN]:
            raise BadDataset(f"The {split} split has labels that the train split lacks: {names(sorted(unknown))}.")
    for split in splits:
        if missing := found[TRAIN] - found[split]:
            raise BadDataset(f"The {split} split has no {noun} of {names(sorted(missing))}; every split needs some of each label.")


def none_readable(unreadable: Sequence[UnreadableFile]) -> BadDataset:
    """Returns what to raise where all files of a dataset are unreadable."""
    first = unreadable[0]
    return BadDataset(f"None of {counted(len(unreadable), 'file')} is a readable picture, such as {first.path!r}: {first.reason}")


def _check_spelling(labels: Sequence[str]) -> None:
    """Refuses labels that nobody could tell apart, or that would not be seen as they are."""
    seen: dict[str, str] = {}
    for label in labels:
        if UNSEEN.search(label):
            raise BadDataset(f"The label {label!r} has a character that cannot be seen; rename it.")
        twin = seen.setdefault(unicodedata.normalize("NFC", label), label)
        if twin != label:
            raise BadDataset(
                f"The labels {twin!a} and {label!a} are the same word, {label!r}, in two spellings of Unicode; make them one."
            )


def _check_sets(listing: Listing, noun: str) -> None:
    """Refuses labels that no file has, or every file; one label is enough, as a picture may be without it."""
    counts = Counter(label for file in listing.files for label in file.labels)
    if not counts:
        raise BadDataset(f"None of the dataset's {len(listing.files):,} {noun} has a label; a classifier needs at least one.")
    for label, count in sorted(counts.items()):
        if count == len(listing.files):
            raise BadDataset(f"All {noun} have the label {label!r}: add pictures that it does not apply to, or remove it.")


def _labelled(
    folder: Folder, split: str | None, roots: tuple[str, ...], warnings: list[str], each: Callable[[], None]
) -> list[File]:
    """Returns the files of each label's folder in `folder`, which is the dataset's or a split's."""
    where, prefix = (f"{folder.name}/", f"{as_text(folder.name)}/") if split else ("the dataset's folder", "")
    stray = [name for name in folder.files() if is_picture(name)]
    label_folders = folder.folders()
    if stray and not label_folders:
        raise BadDataset(
            f"No label is known for {counted(len(stray), 'picture')} directly in {where}: "
            "put pictures into one folder a label, named after the label."
        )
    if stray:
        warnings.append(
            f"Left out {counted(len(stray), 'picture')} directly in {where}, such as {stray[0]!r}: "
            "no label is known for pictures there."
        )
    files = []
    for label_folder in label_folders:
        label = as_text(label_folder.name)
        if label != label_folder.name:
            raise BadDataset(f"The name of the folder {label!r} is not UTF-8; rename it to the label you want to see.")
        found = []
        for name, path in _walk(label_folder, f"{label}/"):
            found.append(File(path, prefix + name, (label,), split, roots=roots))
            each()
        if not found:
            raise BadDataset(f"The folder {prefix + label!r} is empty; fill it, or remove it.")
        files += found
    return files


def _walk(folder: Folder, prefix: str) -> Iterator[tuple[str, Path]]:
    """Yields what lies in a folder, at any depth: its name with the prefix, and where it is."""
    for name in folder.files():
        yield prefix + as_text(name), folder.locate(name)
    for inner in folder.inner_folders():
        yield from _walk(inner, f"{prefix}{as_text(inner.name)}/")


def is_picture(name: str) -> bool:
    """Tells whether a file's name is a picture's."""
    return os.path.splitext(name)[1].lower() in PICTURE_SUFFIXES  # noqa: PTH122 - of a name, not of a path


def split_of(folder: Folder) -> str | None:
    """Returns the split whose folder this is, if it is one's."""
    split = SPLIT_NAMES.get(folder.name.lower())
    # A label may well be called `train`; a split's folder holds folders, a label's holds pictures.
    return split if split and folder.folders() else None


def as_text(name: str) -> str:
    """Returns the name of a file as text that every encoder takes; Linux allows any bytes."""
    return os.fsencode(name).decode(errors="replace")


def names(of: Iterable[str], most: int = 5) -> str:
    """Returns a list for a sentence, shortened, as are names that no file could have."""
    quoted = [repr(name[:_SHOWN_CHARACTERS]) for name in of]
    return ", ".join(quoted[:most]) + (f" and {len(quoted) - most} more" if len(quoted) > most else "")
