"""The nouns of what an audit finds: how many pictures, what their files are like, which are copies, whose label looks wrong."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class UnreadableFile:
    """A file of a dataset that is no picture Eyas reads; `path` is relative to the dataset's folder, or as its manifest has it."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class PictureSize:
    """Width and height of a picture as it is stored, in pixels."""

    width_px: int
    height_px: int


@dataclass(frozen=True, slots=True)
class PictureCount:
    """How many pictures have a property, such as the format `JPEG`."""

    name: str
    pictures: int


@dataclass(frozen=True, slots=True)
class PictureStatistics:
    """What the files of the readable pictures are like.

    Attributes:
        smallest: by number of pixels; so `median` and `largest`.
        formats: encodings in Pillow's words, such as `JPEG`; the most frequent first.
        modes: kinds of pixels in Pillow's words, such as `RGB`, `L` (grey) or `P` (palette); the most frequent first.
    """

    smallest: PictureSize
    median: PictureSize
    largest: PictureSize
    formats: tuple[PictureCount, ...]
    modes: tuple[PictureCount, ...]


@dataclass(frozen=True, slots=True)
class DuplicateFile:
    """A file that has a copy; `path` is that of `UnreadableFile`."""

    path: str
    label: str
    split: str


@dataclass(frozen=True, slots=True)
class DuplicateGroup:
    """Files that are copies of each other.

    Attributes:
        exact: whether all of them have the same pixels once decoded; otherwise some differ a little.
        across_labels: whether they lie under more than one label.
        across_splits: whether they lie in more than one split.
        files: at most 10, by path.
        file_count: number of files, also of those not in `files`.
    """

    exact: bool
    across_labels: bool
    across_splits: bool
    files: tuple[DuplicateFile, ...]
    file_count: int


@dataclass(frozen=True, slots=True)
class Duplicates:
    """The copies within a dataset, exact ones and those that differ by a little compression, size or brightness.

    Attributes:
        groups: at most 100: those across labels first, then those across splits, then the largest.
        group_count: number of groups, also of those not in `groups`.
        file_count: number of files in all groups.
        files_across_labels: number of files in groups across labels.
        files_across_splits: number of files in groups across splits.
    """

    groups: tuple[DuplicateGroup, ...]
    group_count: int
    file_count: int
    files_across_labels: int
    files_across_splits: int


@dataclass(frozen=True, slots=True)
class Suspect:
    """A picture whose label looks wrong to a model that was not fitted on it.

    Attributes:
        path: as that of `UnreadableFile`.
        label: the label it has.
        suggested_label: the label it seems to show.
        probability: of the suggested label, 0..1.
    """

    path: str
    label: str
    suggested_label: str
    probability: float


@dataclass(frozen=True, slots=True)
class Suspects:
    """The pictures whose labels look wrong.

    Attributes:
        pictures: at most 50, the most suspect first.
        count: number of suspects, also of those not in `pictures`.
        examined: number of pictures that were judged.
    """

    pictures: tuple[Suspect, ...]
    count: int
    examined: int


@dataclass(frozen=True, slots=True)
class LabelCounts:
    """How many readable pictures a label has in each split."""

    label: str
    train: int
    validation: int
    test: int


@dataclass(frozen=True, slots=True)
class SplitSizes:
    """How many readable pictures there are in each split; of several labels, or none, each counts once."""

    train: int
    validation: int
    test: int


@dataclass(frozen=True, slots=True)
class DatasetReport:
    """What was found in a dataset.

    Attributes:
        labels: in order of class index.
        unreadable_files: left out of the training.
        warnings: sentences for a person.
        digest: SHA-256, hexadecimal, over the sorted (split, label, SHA-256 of the file).
        pictures: None in reports written before it was known; so `duplicates`, `suspects` and `split_sizes`.
        suspects: None also where no label has pictures enough, and of a multi-label dataset.
    """

    labels: tuple[LabelCounts, ...]
    unreadable_files: tuple[UnreadableFile, ...]
    warnings: tuple[str, ...]
    digest: str
    pictures: PictureStatistics | None = None
    duplicates: Duplicates | None = None
    suspects: Suspects | None = None
    split_sizes: SplitSizes | None = None
