"""What an audit finds -> messages of the contract."""

from __future__ import annotations

from eyas.v1 import evaluation_pb2
from eyasd.core.findings import (
    DatasetReport,
    Duplicates,
    PictureCount,
    PictureSize,
    PictureStatistics,
    SplitSizes,
    Suspects,
    UnreadableFile,
)


def dataset_report_message(report: DatasetReport) -> evaluation_pb2.DatasetReport:
    """Returns the message."""
    return evaluation_pb2.DatasetReport(
        labels=[
            evaluation_pb2.LabelCounts(label=row.label, train=row.train, validation=row.validation, test=row.test)
            for row in report.labels
        ],
        unreadable_files=unreadable_messages(report.unreadable_files),
        warnings=report.warnings,
        digest=report.digest,
        pictures=_picture_statistics(report.pictures) if report.pictures else None,
        duplicates=_duplicates(report.duplicates) if report.duplicates else None,
        suspects=_suspects(report.suspects) if report.suspects else None,
        split_sizes=split_sizes(report.split_sizes) if report.split_sizes else None,
    )


def split_sizes(sizes: SplitSizes) -> evaluation_pb2.SplitSizes:
    """Returns the message."""
    return evaluation_pb2.SplitSizes(train=sizes.train, validation=sizes.validation, test=sizes.test)


def unreadable_messages(files: tuple[UnreadableFile, ...]) -> list[evaluation_pb2.UnreadableFile]:
    """Returns a message a file."""
    return [evaluation_pb2.UnreadableFile(path=file.path, reason=file.reason) for file in files]


def _picture_statistics(statistics: PictureStatistics) -> evaluation_pb2.PictureStatistics:
    def size(value: PictureSize) -> evaluation_pb2.PictureSize:
        return evaluation_pb2.PictureSize(width_px=value.width_px, height_px=value.height_px)

    def counts(values: tuple[PictureCount, ...]) -> list[evaluation_pb2.PictureCount]:
        return [evaluation_pb2.PictureCount(name=value.name, pictures=value.pictures) for value in values]

    return evaluation_pb2.PictureStatistics(
        smallest=size(statistics.smallest),
        median=size(statistics.median),
        largest=size(statistics.largest),
        formats=counts(statistics.formats),
        modes=counts(statistics.modes),
    )


def _duplicates(found: Duplicates) -> evaluation_pb2.Duplicates:
    return evaluation_pb2.Duplicates(
        groups=[
            evaluation_pb2.DuplicateGroup(
                exact=group.exact,
                across_labels=group.across_labels,
                across_splits=group.across_splits,
                files=[evaluation_pb2.DuplicateFile(path=file.path, label=file.label, split=file.split) for file in group.files],
                file_count=group.file_count,
            )
            for group in found.groups
        ],
        group_count=found.group_count,
        file_count=found.file_count,
        files_across_labels=found.files_across_labels,
        files_across_splits=found.files_across_splits,
    )


def _suspects(found: Suspects) -> evaluation_pb2.Suspects:
    return evaluation_pb2.Suspects(
        pictures=[
            evaluation_pb2.Suspect(path=one.path, label=one.label, suggested_label=one.suggested_label, probability=one.probability)
            for one in found.pictures
        ],
        count=found.count,
        examined=found.examined,
    )
