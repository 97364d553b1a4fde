"""What was found in a dataset, as the nouns of a report: counted in full, and named as far as a person reads."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from eyasd.core.findings import DuplicateFile, DuplicateGroup, Duplicates, PictureCount, PictureSize, PictureStatistics
from eyasd.training.data.cache import Header
from eyasd.training.data.duplicates import Copies
from eyasd.training.data.listing import File

_MAX_GROUPS: Final = 100
_MAX_GROUP_FILES: Final = 10


def picture_statistics(headers: Sequence[Header]) -> PictureStatistics:
    """Returns what the files of at least one picture are like."""
    sizes = sorted((header.width_px * header.height_px, header.width_px, header.height_px) for header in headers)
    smallest, median, largest = (PictureSize(*sizes[i][1:]) for i in (0, len(sizes) // 2, -1))
    formats, modes = (header.format for header in headers), (header.mode for header in headers)
    return PictureStatistics(smallest, median, largest, _counted(formats), _counted(modes))


def _counted(names: Iterable[str]) -> tuple[PictureCount, ...]:
    counts = sorted(Counter(names).items(), key=lambda pair: (-pair[1], pair[0]))
    return tuple(PictureCount(name, count) for name, count in counts)


def duplicates(files: Sequence[File], copies: Copies) -> Duplicates:
    """Returns the copies among files, each of which is in a split."""
    members: defaultdict[int, list[int]] = defaultdict(list)
    for i, group in enumerate(copies.near.tolist()):
        members[group].append(i)
    groups = [
        _group([files[i] for i in held], exact=len({int(copies.exact[i]) for i in held}) == 1)
        for held in members.values()
        if len(held) > 1
    ]
    groups.sort(key=lambda g: (not g.across_labels, not g.across_splits, -g.file_count, g.files[0].path))
    return Duplicates(
        groups=tuple(groups[:_MAX_GROUPS]),
        group_count=len(groups),
        file_count=sum(group.file_count for group in groups),
        files_across_labels=sum(group.file_count for group in groups if group.across_labels),
        files_across_splits=sum(group.file_count for group in groups if group.across_splits),
    )


def _group(files: Sequence[File], *, exact: bool) -> DuplicateGroup:
    named = sorted(files, key=lambda file: file.name)[:_MAX_GROUP_FILES]
    return DuplicateGroup(
        exact=exact,
        across_labels=len({file.labels for file in files}) > 1,
        across_splits=len({file.split for file in files}) > 1,
        files=tuple(DuplicateFile(file.name, file.label, file.split or "") for file in named),
        file_count=len(files),
    )
