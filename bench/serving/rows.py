"""The file of results: a line of JSON for each thing that was measured, so that what was interrupted goes on where it was."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import machine

Row = dict[str, Any]


class Rows:
    """What has been measured."""

    def __init__(self, file: Path) -> None:
        """Reads what is there."""
        file.parent.mkdir(parents=True, exist_ok=True)
        self._file = file
        self._rows: list[Row] = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def where(self, **cell: object) -> list[Row]:
        """Returns the rows that agree with `cell`."""
        return [row for row in self._rows if cell.items() <= row.items()]

    def add(self, cell: Row, **figures: object) -> None:
        """Writes a row."""
        row = cell | figures | {"machine": machine.describe()}
        self._rows.append(row)
        with self._file.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print("  ", ", ".join(f"{name} {_short(value)}" for name, value in (cell | figures).items()), flush=True)


def median(rows: Sequence[Row], figure: str | Callable[[Row], float | None]) -> float | None:
    """Returns the median of a figure over rows; None where none has it."""
    values = [row.get(figure) if isinstance(figure, str) else figure(row) for row in rows]
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def table(columns: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    """Returns a table in Markdown."""
    head = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    return "\n".join([*head, *(f"| {' | '.join(map(str, line))} |" for line in lines)])


def figure(value: float | None, digits: int = 1) -> str:
    """Returns a number as a table shows it; nothing where there is none."""
    return "" if value is None else f"{value:,.{digits}f}"


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
