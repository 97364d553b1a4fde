"""Reads a dataset's manifest: a table with a row a picture, as CSV or as JSON Lines; opens none of the pictures.

path      of the picture, relative to the manifest's folder, or absolute
label     of the picture; or in its place, in every row of a multi-label dataset:
labels    all that apply to it, or none: a list in JSON, separated by | in CSV
split     optional: train, validation (or val, valid) or test; every row has one, or none has
group     optional: pictures of one group are never on both sides of a split that Eyas makes

One row is in memory at a time, beside the files found so far. Not to be confused with the manifest of a bundle.
"""

from __future__ import annotations

import codecs
import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final

from eyasd.core.errors import BadDataset
from eyasd.core.wording import counted
from eyasd.training.data.listing import SEPARATOR, SPLIT_NAMES, SPLITS, File, Listing, names

_PATH, _LABEL, _LABELS, _SPLIT, _GROUP = COLUMNS = ("path", "label", "labels", "split", "group")
# Seven times ImageNet-1k; a row takes 0.8 KB of memory and, on one core of an AMD EPYC, 28 us: 8 GB and five minutes.
MAX_ROWS: Final = 10_000_000
# Tables of attributes have some hundreds; a file of one endless line has more.
MAX_COLUMNS: Final = 1_000
# A path has at most 4 KiB on Linux. Below the limit of Python's csv module for one field, 128 KiB.
MAX_ROW_BYTES: Final = 65_536

_Values = Mapping[str, object]


class _BadRow(Exception):
    """What is wrong with one row, as the end of a sentence that names it."""


def read_table(path: Path, *, confined: bool = False) -> Listing:
    """Lists the pictures that a manifest names. A picture that does not exist is listed: reading it will tell.

    Args:
        path: the manifest; `.csv` is CSV (RFC 4180, with a header), anything else JSON Lines; UTF-8.
        confined: refuse paths that leave the manifest's folder, because a stranger packed it. The folder must hold no links.

    Raises:
        BadDataset: it is no such table, a row is wrong, or none of the pictures exists. Names the first line that is wrong,
            and how many more are.
    """
    table = _Table(path, confined)
    with path.open("rb") as stream:
        lines = _Lines(stream, path.name)
        rows = _csv_rows(lines, table) if path.suffix.lower() == ".csv" else _json_rows(lines)
        for line, row in rows:
            table.add(line, row)
    return table.listing()


class _Table:
    """The rows seen so far."""

    def __init__(self, path: Path, confined: bool) -> None:
        self._name = path.name
        self._root = path.parent
        self._confined = confined
        self._files: dict[Path, tuple[int, File]] = {}
        self._unknown: set[str] = set()
        self._rows = self._wrong = self._again = 0
        self._first_wrong = ""
        # The first line of each kind; 0 where there is none.
        self._with_split = self._without_split = self._with_label = self._with_labels = 0

    def add(self, line: int, row: _Values | str) -> None:
        """Takes one row: its values, or what is wrong with it."""
        self._rows += 1
        if self._rows > MAX_ROWS:
            raise BadDataset(f"{self._name!r} has more than {MAX_ROWS:,} rows: make several datasets of it.")
        try:
            file = self._file(row)
            self._add_file(line, file, several=_LABELS in row)
        except _BadRow as wrong:
            self._first_wrong = self._first_wrong or f"Line {line} of {self._name!r} {wrong}."
            self._wrong += 1

    def see_columns(self, columns: _Values | list[str]) -> None:
        """Notes which columns there are beside those that mean something."""
        self._unknown.update(column for column in columns if column not in COLUMNS)
        if len(self._unknown) > MAX_COLUMNS:
            raise BadDataset(f"{self._name!r} has more than {MAX_COLUMNS:,} columns; {names(COLUMNS)} are enough.")

    def listing(self) -> Listing:
        """Returns what the table offers, now that all of it has been read."""
        if self._wrong:
            more = f" In all, {self._wrong:,} lines are wrong." if self._wrong > 1 else ""
            raise BadDataset(self._first_wrong + more)
        if not self._files:
            raise BadDataset(f"{self._name!r} names no pictures: add a row for each, with its path and its label.")
        if self._with_split and self._without_split:
            raise BadDataset(
                f"Line {self._without_split} of {self._name!r} has no split, but line {self._with_split} has one: "
                "give every row a split, or none."
            )
        if self._with_label and self._with_labels:
            raise BadDataset(
                f"Line {self._with_label} of {self._name!r} has a 'label', but line {self._with_labels} has 'labels': "
                "give every row the one, or the other."
            )
        files = sorted((file for _, file in self._files.values()), key=lambda file: file.name)
        if not any(_exists(file.path) for file in files):
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
        return Listing(tuple(files), splits, tuple(warnings), multi_label=bool(self._with_labels))

    def _file(self, row: _Values | str) -> File:
        if isinstance(row, str):
            raise _BadRow(row)
        self.see_columns(row)
        path = _text(row, _PATH)
        if not path:
            raise _BadRow(f"has no {_PATH}")
        labels = _labels(row)
        named = PurePosixPath(path)
        if self._confined and (named.is_absolute() or ".." in named.parts):
            raise _BadRow(f"names {path!r}, which leaves the archive; name it relative to the manifest, without '..'")
        split = _text(row, _SPLIT).strip()
        if split and split.lower() not in SPLIT_NAMES:
            raise _BadRow(f"has the split {split!r}; it must be one of {', '.join(SPLITS)}")
        return File(self._root / named, str(named), labels, SPLIT_NAMES.get(split.lower()), _text(row, _GROUP).strip() or None)

    def _add_file(self, line: int, file: File, *, several: bool) -> None:
        if several:
            self._with_labels = self._with_labels or line
        else:
            self._with_label = self._with_label or line
        if file.split:
            self._with_split = self._with_split or line
        else:
            self._without_split = self._without_split or line
        before, same = self._files.setdefault(file.path, (line, file))
        if before == line:
            return
        for column in (_LABEL, _SPLIT, _GROUP):
            then, now = getattr(same, column), getattr(file, column)
            if then != now:
                raise _BadRow(
                    f"gives {file.name!r} the {column} {now or 'none'!r}, but line {before} gives it {then or 'none'!r}; "
                    f"a picture has one {column}" + (f", or several in {_LABELS!r}" if column == _LABEL else "")
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


def _csv_rows(lines: _Lines, table: _Table) -> Iterator[tuple[int, _Values | str]]:
    """Yields the number of each row's first line, and the row."""
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
                _check_header(header, lines.name)
                table.see_columns(header)
                known = [(column, header.index(column)) for column in COLUMNS if column in header]
            elif len(fields) == len(header):
                values: dict[str, object] = {column: fields[index] for column, index in known}
                if _LABELS in values:
                    values[_LABELS] = _separated(fields[header.index(_LABELS)])
                yield line, values
            else:
                yield line, f"has {counted(len(fields), 'field')}, but the header has {len(header)}"
    except csv.Error as error:
        raise BadDataset(f"Line {lines.number} of {lines.name!r} is not CSV: {error}.") from None


def _check_header(header: list[str], name: str) -> None:
    if _LABEL in header and _LABELS in header:
        raise BadDataset(f"{name!r} has the columns {_LABEL!r} and {_LABELS!r}: remove one.")
    for column, other in ((_PATH, _PATH), (_LABEL, _LABELS)):
        if column not in header and other not in header:
            raise BadDataset(
                f"{name!r} has no column {column!r}. Its first line, cut at the commas, names {names(header)}; "
                f"{_PATH!r} and {_LABEL!r} (or {_LABELS!r}) are needed."
            )
    if twice := [column for column in COLUMNS if header.count(column) > 1]:
        raise BadDataset(f"{name!r} has two columns {twice[0]!r}: remove one.")


def _json_rows(lines: _Lines) -> Iterator[tuple[int, _Values | str]]:
    """Yields the number of each line that is not empty, and the row."""
    for text in lines:
        lines.end_row()
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except (ValueError, RecursionError):  # RecursionError: thousands of brackets
            row = None
        yield lines.number, row if isinstance(row, dict) else 'is not a JSON object such as {"path": "1.jpg", "label": "shirt"}'


def _separated(field: str) -> list[str]:
    """Returns the labels in a field of CSV; none where it is blank."""
    return field.split(SEPARATOR) if field.strip() else []


def _labels(row: _Values) -> tuple[str, ...]:
    """Returns the one label of a row, or all that its list holds."""
    if _LABELS not in row:
        if isinstance(row.get(_LABEL), list):
            raise _BadRow(f"has a list as its {_LABEL}: call it {_LABELS!r} in every row")
        label = _text(row, _LABEL).strip()
        if not label:
            raise _BadRow(f"has no {_LABEL}")
        return (label,)
    if _LABEL in row:
        raise _BadRow(f"has {_LABEL!r} and {_LABELS!r}; it may have one of them")
    listed = row[_LABELS]
    if not isinstance(listed, list):
        raise _BadRow(f'has {_LABELS} that are no list, such as ["shirt", "red"]; where none applies, []')
    labels = {_text({_LABEL: label}, _LABEL).strip() for label in listed}
    if "" in labels:
        raise _BadRow(f"has an empty label among its {_LABELS}")
    if bad := [label for label in labels if SEPARATOR in label]:
        raise _BadRow(f"has the label {min(bad)!r}; {SEPARATOR!r} is what separates labels")
    return tuple(sorted(labels))


def _text(row: _Values, column: str) -> str:
    """Returns the text of a field; "" where it has none."""
    value = row.get(column)
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool):  # JSON's 7 is as good a label as "7"
        return str(value)
    if not isinstance(value, str):
        raise _BadRow(f"has a {column} that is not text")
    # What no file's name can hold; and JSON can spell halves of a character, which no encoder takes.
    try:
        value.encode()
    except UnicodeEncodeError:
        value = "\0"
    if "\0" in value:
        raise _BadRow(f"has a {column} with characters that are no text")
    return value


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except OSError:
        return False
    return True
