"""Reads a dataset's manifest: a table with a row a picture, as CSV or as JSON Lines; opens none of the pictures.

path      of the picture, relative to the manifest's folder, or absolute
label     of the picture; or in its place, in every row of a multi-label dataset:
labels    all that apply to it, or none: a list in JSON, separated by | in CSV
split     optional: train, validation (or val, valid) or test; every row has one, or none has
group     optional: pictures of one group are never on both sides of a split that Eyas makes

Or it names the shards that hold the pictures: shard, and optionally their split.
One row is in memory at a time, beside the files found so far. Not to be confused with the manifest of a bundle.
"""

from __future__ import annotations

import codecs
import csv
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final

from eyasd.core import document
from eyasd.core.errors import BadDataset, InvalidArgument
from eyasd.core.form import MAX_SHARDS, expanded
from eyasd.core.wording import counted
from eyasd.training.data.content import opened
from eyasd.training.data.listing import SPLITS, File, Listing, names
from eyasd.training.data.rows import (
    GROUP,
    LABEL,
    LABELS,
    SPLIT,
    BadRow,
    Kinds,
    Values,
    group_of_row,
    labels_of_row,
    separated,
    split_of_row,
    text_of,
)

_PATH: Final = "path"
_SHARD: Final = "shard"
COLUMNS: Final = (_PATH, LABEL, LABELS, SPLIT, GROUP)
# Seven times ImageNet-1k; a row takes 0.8 KB of memory and, on one core of an AMD EPYC, 28 us: 8 GB and five minutes.
MAX_ROWS: Final = 10_000_000
# Tables of attributes have some hundreds; a file of one endless line has more.
MAX_COLUMNS: Final = 1_000
# A path has at most 4 KiB on Linux. Below the limit of Python's csv module for one field, 128 KiB.
MAX_ROW_BYTES: Final = 65_536


def read_table(
    path: Path, *, confined: bool = False, roots: tuple[str, ...] = (), exists: Callable[[File], bool] | None = None
) -> Listing:
    """Lists the pictures that a manifest names. A picture that does not exist is listed: reading it will tell.

    Args:
        path: the manifest; `.csv` is CSV (RFC 4180, with a header), anything else JSON Lines; UTF-8.
        confined: refuse paths that leave the manifest's folder, because a stranger packed it. The folder must hold no links.
        roots: see `File`; the manifest's own, too.
        exists: tells whether a picture is there, where that is not for the disk to say.

    Raises:
        BadDataset: it is no such table, a row is wrong, or none of the pictures exists. Names the first line that is wrong,
            and how many more are.
    """
    table = _Table(path, confined, roots)
    with opened(path, roots) as stream:
        for line, row in _rows(stream, path, COLUMNS, table.see_header):
            table.add(line, row)
    return table.listing(exists or _exists)


def read_shard_table(path: Path, *, confined: bool = False, roots: tuple[str, ...] = ()) -> list[tuple[str, str | None]] | None:
    """Returns the shards that a manifest names, in its column `shard`, with their splits; None where it names pictures.

    Args:
        path: as for `read_table`.
        confined: likewise.
        roots: likewise.

    Raises:
        BadDataset: a row is wrong; names its line.
    """
    found: list[tuple[str, str | None]] = []
    kinds = Kinds()
    with opened(path, roots) as stream:
        for line, row in _rows(stream, path, (_SHARD, SPLIT)):
            if not found and (isinstance(row, str) or _SHARD not in row):
                return None
            where = f"Line {line} of {path.name!r}"
            try:
                name, split = _shard(row, confined)
                found += [(one, split) for one in expanded(name)]
            except BadRow as wrong:
                raise BadDataset(f"{where} {wrong}.") from None
            except InvalidArgument as wrong:
                raise BadDataset(f"{where} names no shards: {wrong.message}") from None
            kinds.note(where, split, several=False)
            if len(found) > MAX_SHARDS:
                raise BadDataset(f"{path.name!r} names more than {MAX_SHARDS:,} shards: make several datasets of it.")
    kinds.check()
    return found or None


def _shard(row: Values | str, confined: bool) -> tuple[str, str | None]:
    """Returns the shard, or range of shards, that a row names, and its split."""
    if isinstance(row, str):
        raise BadRow(row)
    name = text_of(row, _SHARD)
    if not name:
        raise BadRow(f"has no {_SHARD}")
    if confined and (name.startswith("/") or ".." in name.split("/")):
        raise BadRow(f"names {name!r}, which leaves the dataset; name it relative to the manifest, without '..'")
    return name, split_of_row(row)


class _Table:
    """The rows seen so far."""

    def __init__(self, path: Path, confined: bool, roots: tuple[str, ...]) -> None:
        self._name = path.name
        self._root = path.parent
        self._roots = roots
        self._confined = confined
        self._files: dict[Path, tuple[int, File]] = {}
        self._unknown: set[str] = set()
        self._rows = self._wrong = self._again = 0
        self._first_wrong = ""
        self._kinds = Kinds()

    def add(self, line: int, row: Values | str) -> None:
        """Takes one row: its values, or what is wrong with it."""
        self._rows += 1
        if self._rows > MAX_ROWS:
            raise BadDataset(f"{self._name!r} has more than {MAX_ROWS:,} rows: make several datasets of it.")
        try:
            file = self._file(row)
            self._add_file(line, file, several=LABELS in row)
        except BadRow as wrong:
            self._first_wrong = self._first_wrong or f"Line {line} of {self._name!r} {wrong}."
            self._wrong += 1

    def see_header(self, header: list[str]) -> None:
        """Refuses the first line of a CSV where it lacks what is needed."""
        _check_header(header, self._name)
        self.see_columns(header)

    def see_columns(self, columns: Values | list[str]) -> None:
        """Notes which columns there are beside those that mean something."""
        self._unknown.update(column for column in columns if column not in COLUMNS)
        if len(self._unknown) > MAX_COLUMNS:
            raise BadDataset(f"{self._name!r} has more than {MAX_COLUMNS:,} columns; {names(COLUMNS)} are enough.")

    def listing(self, exists: Callable[[File], bool]) -> Listing:
        """Returns what the table offers, now that all of it has been read."""
        if self._wrong:
            more = f" In all, {self._wrong:,} lines are wrong." if self._wrong > 1 else ""
            raise BadDataset(self._first_wrong + more)
        if not self._files:
            raise BadDataset(f"{self._name!r} names no pictures: add a row for each, with its path and its label.")
        self._kinds.check()
        files = sorted((file for _, file in self._files.values()), key=lambda file: file.name)
        if not any(map(exists, files)):
            raise BadDataset(
                f"None of the {len(files):,} files that {self._name!r} names exists, such as {files[0].name!r}; "
                "a path is relative to the manifest's folder, or absolute."
            )
        warnings = []
        if self._unknown:
            warnings.append(
                f"Left out {counted(len(self._unknown), 'column')} of {self._name!r}, {names(sorted(self._unknown))}: "
                f"only {names(COLUMNS)} mean something."
            )
        if self._again:
            warnings.append(f"Left out {counted(self._again, 'row')} of {self._name!r} for naming a picture again.")
        found = {file.split for file in files}
        splits = tuple(split for split in SPLITS if split in found)
        return Listing(tuple(files), splits, tuple(warnings), multi_label=self._kinds.multi_label)

    def _file(self, row: Values | str) -> File:
        if isinstance(row, str):
            raise BadRow(row)
        self.see_columns(row)
        path = text_of(row, _PATH)
        if not path:
            raise BadRow(f"has no {_PATH}")
        labels = labels_of_row(row)
        named = PurePosixPath(path)
        if self._confined and (named.is_absolute() or ".." in named.parts):
            raise BadRow(f"names {path!r}, which leaves the dataset; name it relative to the manifest, without '..'")
        return File(self._root / named, str(named), labels, split_of_row(row), group_of_row(row), roots=self._roots)

    def _add_file(self, line: int, file: File, *, several: bool) -> None:
        self._kinds.note(f"Line {line} of {self._name!r}", file.split, several=several)
        before, same = self._files.setdefault(file.path, (line, file))
        if before == line:
            return
        for column in (LABEL, SPLIT, GROUP):
            then, now = getattr(same, column), getattr(file, column)
            if then != now:
                raise BadRow(
                    f"gives {file.name!r} the {column} {now or 'none'!r}, but line {before} gives it {then or 'none'!r}; "
                    f"a picture has one {column}" + (f", or several in {LABELS!r}" if column == LABEL else "")
                )
        self._again += 1


class _Lines:
    """The lines of a table as text, read one at a time, with a bound on what makes up one row."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self._stream = stream
        self._left = MAX_ROW_BYTES
        self.name = name
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        encoded = self._stream.readline(self._left + 1)
        if not encoded:
            raise StopIteration
        self.number += 1
        self._left -= len(encoded)
        if self._left < 0:
            raise BadDataset(f"The row that ends with line {self.number} of {self.name!r} has more than {MAX_ROW_BYTES:,} bytes.")
        if self.number == 1:
            encoded = encoded.removeprefix(codecs.BOM_UTF8)
        try:
            return encoded.decode()
        except UnicodeDecodeError:
            raise BadDataset(f"Line {self.number} of {self.name!r} is not UTF-8: save the file in that encoding.") from None

    def end_row(self) -> None:
        """Begins a new row with the next line; a quoted field may hold line breaks."""
        self._left = MAX_ROW_BYTES


def _rows(
    stream: BinaryIO, path: Path, columns: Sequence[str], see_header: Callable[[list[str]], None] = lambda _: None
) -> Iterator[tuple[int, Values | str]]:
    """Yields the number of each row's first line, and the row or what is wrong with it.

    Args:
        stream: of the table.
        path: says by its suffix what the table is.
        columns: those of a CSV that are wanted; a JSON object has what it has.
        see_header: hears of all columns of a CSV.
    """
    lines = _Lines(stream, path.name)
    return _csv_rows(lines, columns, see_header) if path.suffix.lower() == ".csv" else _json_rows(lines)


def _csv_rows(lines: _Lines, columns: Sequence[str], see_header: Callable[[list[str]], None]) -> Iterator[tuple[int, Values | str]]:
    header: list[str] = []
    known: list[tuple[str, int]] = []
    reader = csv.reader(lines, strict=True)
    first = 1
    try:
        for fields in reader:
            line, first = first, lines.number + 1
            lines.end_row()
            if not fields:  # an empty line
                continue
            if not header:
                header = [field.strip().lower() for field in fields]
                see_header(header)
                known = [(column, header.index(column)) for column in columns if column in header]
            elif len(fields) == len(header):
                values: dict[str, object] = {column: fields[index] for column, index in known}
                if LABELS in values:
                    values[LABELS] = separated(str(values[LABELS]))
                yield line, values
            else:
                yield line, f"has {counted(len(fields), 'field')}, but the header has {len(header)}"
    except csv.Error as error:
        why = "a line ends in CR alone, save it with LF or CRLF" if "new-line character" in str(error) else error
        raise BadDataset(f"Line {lines.number} of {lines.name!r} is not CSV: {why}.") from None


def _check_header(header: list[str], name: str) -> None:
    if LABEL in header and LABELS in header:
        raise BadDataset(f"{name!r} has the columns {LABEL!r} and {LABELS!r}: remove one.")
    for column, other in ((_PATH, _PATH), (LABEL, LABELS)):
        if column not in header and other not in header:
            raise BadDataset(
                f"{name!r} has no column {column!r}. Its first line, cut at the commas, names {names(header)}; "
                f"{_PATH!r} and {LABEL!r} (or {LABELS!r}) are needed."
            )
    if twice := [column for column in COLUMNS if header.count(column) > 1]:
        raise BadDataset(f"{name!r} has two columns {twice[0]!r}: remove one.")


def _json_rows(lines: _Lines) -> Iterator[tuple[int, Values | str]]:
    for text in lines:
        lines.end_row()
        if not text.strip():
            continue
        try:
            row = json.loads(text, object_pairs_hook=_object)
        except _Twice as twice:
            yield lines.number, f"has the key {str(twice)[:80]!r} twice; remove one"
            continue
        except (ValueError, RecursionError):  # RecursionError: thousands of brackets
            row = None
        yield lines.number, row if isinstance(row, dict) else 'is not a JSON object such as {"path": "1.jpg", "label": "shirt"}'


class _Twice(Exception):
    """A key that an object has twice, of which every reader takes another one."""


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise _Twice(document.twice(key for key, _ in pairs))
    return made


def _exists(file: File) -> bool:
    try:
        file.path.stat()
    except OSError:
        return False
    return True
