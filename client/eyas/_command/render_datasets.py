"""What the `eyas` command shows of uploaded datasets."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.table import Table

from eyas._command.words import MOST_FILES, counted, plain, rest, when
from eyas._dataset import Dataset


def datasets(listed: Iterable[Dataset]) -> Table:
    """Returns one row a version."""
    table = Table(show_edge=False, pad_edge=False)
    for name in ("dataset", "files", "size", "created", "by"):
        table.add_column(name, overflow="fold", justify="right" if name in {"files", "size"} else "left")
    for one in listed:
        table.add_row(one.name, f"{one.file_count:,}", _size(one), when(one.create_time), plain(one.actor))
    return table


def dataset(found: Dataset) -> RenderableType:
    """Returns what is in a version."""
    lines = [
        plain(
            f"{found.name}: {counted(found.file_count, 'file')}, {_size(found)}, made {when(found.create_time)} by {found.actor}"
        ),
        plain(f"digest {found.digest}"),
        *(plain(f"  {folder.path or '.'}/: {counted(folder.file_count, 'file')}") for folder in found.folders[:MOST_FILES]),
    ]
    return Group(*lines, *rest(len(found.folders) - MOST_FILES))


def _size(one: Dataset) -> str:
    return f"{one.size_bytes / 1e6:,.1f} MB"
