"""Rows of a file that a person, a spreadsheet or a program has written: CSV (RFC 4180), or JSON Lines."""

from __future__ import annotations

import csv
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, Final

from eyas._errors import InvalidArgument

# Between several labels of one picture, in a column of CSV.
SEPARATOR: Final = "|"

Row = Mapping[str, Any]


def rows(lines: Iterable[str], file: str, columns: Collection[str]) -> Iterator[tuple[int, Row]]:
    """Yields the number of each row's line, and the row by the names of its columns; what is missing in a row of CSV is None.

    Args:
        lines: of the file. Where the first that is not blank begins with {, they are JSON Lines.
        file: its name, for a sentence.
        columns: that the first line of CSV must name, whatever else it names.

    Raises:
        InvalidArgument: it is neither; says in which line.
    """
    numbered = enumerate(lines, 1)
    try:
        number, first = next(((number, line) for number, line in numbered if line.strip()), (1, ""))
        rest = (line for _, line in numbered)
        if first.lstrip().startswith("{"):
            yield from _of_json_lines(chain([first], rest), number, file)
        elif first:
            # Spreadsheets of some countries write semicolons.
            table = csv.DictReader(chain([first], rest), delimiter=max(",;\t", key=first.count), strict=True)
            yield from _of_csv(table, number - 1, file, columns)
    except UnicodeDecodeError:
        raise InvalidArgument(f"{file} is not text in UTF-8: write it as that.") from None


def _of_csv(table: csv.DictReader[str], before: int, file: str, columns: Collection[str]) -> Iterator[tuple[int, Row]]:
    try:
        missing = [name for name in columns if name not in (table.fieldnames or ())]
        if missing:
            raise InvalidArgument(f"{file} has no column {missing[0]!r}: its first line must name the columns.")
        for row in table:
            yield before + table.line_num, row
    except csv.Error as error:
        raise InvalidArgument(f"Line {before + table.line_num} of {file} is no CSV: {error}.") from None


def _of_json_lines(lines: Iterable[str], start: int, file: str) -> Iterator[tuple[int, Row]]:
    for number, line in enumerate(lines, start):
        if line.strip():
            try:
                row = json.loads(line)
            except ValueError as error:
                raise InvalidArgument(f"Line {number} of {file} is no JSON: {error}.") from None
            if not isinstance(row, dict):
                raise InvalidArgument(f'Line {number} of {file} is no object: write {{"column": "value", ...}}.')
            yield number, row
