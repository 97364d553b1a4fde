"""What an inspection or a training finds among the pictures of a dataset: what a caller holds, and how it is read from messages."""

from __future__ import annotations

from dataclasses import dataclass

from eyas.v1 import evaluation_pb2


@dataclass(frozen=True, slots=True)
class UnreadableFile:
    """A file that is not a picture Eyas reads; `path` is relative to the dataset's folder, or as its manifest has it."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class SplitSizes:
    """How many readable pictures there are in each split."""

    train: int
    validation: int
    test: int


@dataclass(frozen=True, slots=True)
class PictureSize:
    """Size of a picture as it is stored, in pixels."""

    width_px: int
    height_px: int


@dataclass(frozen=True, slots=True)
class PictureCount:
    """How many pictures have a property, such as the format `JPEG`."""

    name: str
    pictures: int


@dataclass(frozen=True, slots=True)
class PictureStatistics:
    """What the files of the readable pictures are like; sizes by number of pixels, counts with the most frequent first."""

    smallest: PictureSize
    median: PictureSize
    largest: PictureSize
    formats: tuple[PictureCount, ...]
    modes: tuple[PictureCount, ...]


@dataclass(frozen=True, slots=True)
class DuplicateFile:
    """A file that has a copy."""

    path: str
    label: str
    split: str


@dataclass(frozen=True, slots=True)
class DuplicateGroup:
    """Files that are copies of each other, with equal pixels (`exact`) or nearly so; at most 10 of them are named."""

    exact: bool
    across_labels: bool
    across_splits: bool
    files: tuple[DuplicateFile, ...]
    file_count: int


@dataclass(frozen=True, slots=True)
class Duplicates:
    """The copies within a dataset; at most 100 groups are named, those across labels and splits first."""

    groups: tuple[DuplicateGroup, ...]
    group_count: int
    file_count: int
    files_across_labels: int
    files_across_splits: int


@dataclass(frozen=True, slots=True)
class Suspect:
    """A picture whose label looks wrong, the label it seems to show, and that one's probability, 0..1."""

    path: str
    label: str
    suggested_label: str
    probability: float


@dataclass(frozen=True, slots=True)
class Suspects:
    """The pictures whose labels look wrong, of `examined`; at most 50 are named, the most suspect first."""

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
class DatasetReport:
    """What was found in a dataset; the fields are those of `eyas.v1.DatasetReport`, None where they are not set."""

    labels: tuple[LabelCounts, ...]
    unreadable_files: tuple[UnreadableFile, ...]
    warnings: tuple[str, ...]
    digest: str
    pictures: PictureStatistics | None = None
    duplicates: Duplicates | None = None
    suspects: Suspects | None = None
    split_sizes: SplitSizes | None = None

    @property
    def sizes(self) -> SplitSizes:
        """The sizes of the splits; of a daemon that does not tell them, the sums over the labels."""
        if self.split_sizes is not None:
            return self.split_sizes
        train, validation, test = (sum(getattr(row, split) for row in self.labels) for split in SplitSizes.__slots__)
        return SplitSizes(train, validation, test)


def dataset_report(message: evaluation_pb2.DatasetReport) -> DatasetReport:
    """Returns the value."""
    labels = tuple(LabelCounts(row.label, row.train, row.validation, row.test) for row in message.labels)
    return DatasetReport(
        labels,
        unreadable_files(message),
        tuple(message.warnings),
        message.digest,
        pictures=picture_statistics(message.pictures) if message.HasField("pictures") else None,
        duplicates=duplicates(message.duplicates) if message.HasField("duplicates") else None,
        suspects=suspects(message.suspects) if message.HasField("suspects") else None,
        split_sizes=split_sizes(message.split_sizes) if message.HasField("split_sizes") else None,
    )


def unreadable_files(message: evaluation_pb2.Evaluation | evaluation_pb2.DatasetReport) -> tuple[UnreadableFile, ...]:
    """Returns the values."""
    return tuple(UnreadableFile(file.path, file.reason) for file in message.unreadable_files)


def picture_statistics(message: evaluation_pb2.PictureStatistics) -> PictureStatistics:
    """Returns the value."""
    smallest, median, largest = (
        PictureSize(size.width_px, size.height_px) for size in (message.smallest, message.median, message.largest)
    )
    formats, modes = (
        tuple(PictureCount(count.name, count.pictures) for count in counts) for counts in (message.formats, message.modes)
    )
    return PictureStatistics(smallest, median, largest, formats, modes)


def duplicates(message: evaluation_pb2.Duplicates) -> Duplicates:
    """Returns the value."""
    groups = tuple(
        DuplicateGroup(
            group.exact,
            group.across_labels,
            group.across_splits,
            tuple(DuplicateFile(file.path, file.label, file.split) for file in group.files),
            group.file_count,
        )
        for group in message.groups
    )
    return Duplicates(groups, message.group_count, message.file_count, message.files_across_labels, message.files_across_splits)


def suspects(message: evaluation_pb2.Suspects) -> Suspects:
    """Returns the value."""
    pictures = tuple(Suspect(one.path, one.label, one.suggested_label, one.probability) for one in message.pictures)
    return Suspects(pictures, message.count, message.examined)


def split_sizes(message: evaluation_pb2.SplitSizes) -> SplitSizes:
    """Returns the value."""
    return SplitSizes(message.train, message.validation, message.test)
