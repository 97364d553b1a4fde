"""What an audit finds -> messages of the contract; the half of `api.convert` that knows pictures."""

from __future__ import annotations

from eyas.v1 import evaluation_pb2
from eyasd.core.findings import Duplicates, PictureCount, PictureSize, PictureStatistics, Suspects


def picture_statistics(statistics: PictureStatistics) -> evaluation_pb2.PictureStatistics:
    """Returns the message."""

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


def duplicates(found: Duplicates) -> evaluation_pb2.Duplicates:
    """Returns the message."""
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


def suspects(found: Suspects) -> evaluation_pb2.Suspects:
    """Returns the message."""
    return evaluation_pb2.Suspects(
        pictures=[
            evaluation_pb2.Suspect(path=one.path, label=one.label, suggested_label=one.suggested_label, probability=one.probability)
            for one in found.pictures
        ],
        count=found.count,
        examined=found.examined,
    )
