"""What the `eyas` command reports of answers: one on the command line, or many from a file."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, TextIO

import click
from rich.text import Text

from eyas._command.session import Session, connected
from eyas._command.words import counted
from eyas._feedback import FeedbackOutcome, FeedbackResult, TrueLabels

_STYLES = {FeedbackOutcome.RIGHT: "green", FeedbackOutcome.WRONG: "yellow"}


@click.command()
@click.argument("prediction_id", required=False)
@click.argument("labels", nargs=-1, metavar="[LABEL]...")
@click.option(
    "--file",
    "source",
    type=click.File(encoding="utf-8-sig"),
    metavar="FILE",
    help="Reports of many answers: CSV with the columns prediction_id and label, or JSON Lines; - is standard input.",
)
@connected
def feedback(session: Session, *, prediction_id: str | None, labels: tuple[str, ...], source: TextIO | None) -> int:
    """Say what would have been right, by the id of an answer: eyas feedback ID shirt.

    The ids are in the answers of eyas classify --ids, or --json. Of a multi-label model all LABELs of the picture are given, or
    none; a FILE has them in the column labels, separated by |. JSON Lines have "label" or a list, "labels", and a number is a class
    index. The exit status is 1 where a report could not be used.
    """
    if (source is None) == (prediction_id is None):
        raise click.UsageError("Give a PREDICTION_ID and its LABEL, or --file.")
    reports = list(_read(source)) if source else [(prediction_id or "", labels)]
    if not reports:
        raise click.UsageError("There is no report in the file: it has a line for each, after those of the columns of a CSV file.")
    results = session.client.report_feedback_many(reports)
    session.show({"results": results, "outcomes": _summed(results)}, lambda: _shown(results))
    return 0 if all(result.is_known for result in results) else 1


def _read(source: TextIO) -> Iterator[tuple[str, TrueLabels]]:
    """Yields the reports of a file."""
    try:
        first = next((line for line in source if line.strip()), "")
        lines = chain([first], source)
        yield from _json_lines(lines) if first.lstrip().startswith("{") else _csv(lines)
    except UnicodeDecodeError:
        raise click.UsageError(f"{source.name} is not text in UTF-8: write it as that.") from None


def _csv(lines: Iterable[str]) -> Iterator[tuple[str, TrueLabels]]:
    rows = csv.DictReader(lines, strict=True)
    try:
        columns = set(rows.fieldnames or ())
        if not columns:
            return
        if "prediction_id" not in columns or ("label" in columns) == ("labels" in columns):
            raise click.UsageError("The first line of a CSV file names its columns: prediction_id, and label or labels.")
        labels = "label" if "label" in columns else "labels"
        for row in rows:
            text: str | None = row[labels]
            if row["prediction_id"] is None or text is None:
                raise click.UsageError(f"Line {rows.line_num} has fewer columns than the first: give each an id and a label.")
            yield row["prediction_id"], [text] if labels == "label" else [one for one in text.split("|") if one]
    except csv.Error as error:
        raise click.UsageError(f"After line {rows.line_num} the file is not CSV: {error}.") from None


def _json_lines(lines: Iterable[str]) -> Iterator[tuple[str, TrueLabels]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row: Any = json.loads(line)
        except ValueError:
            row = None
        labels: Any = (row.get("labels", [row["label"]] if "label" in row else None)) if isinstance(row, dict) else None
        known = isinstance(labels, list) and all(isinstance(one, str | int) and not isinstance(one, bool) for one in labels)
        if not known or not isinstance(row.get("prediction_id"), str):
            raise click.UsageError(
                f'Line {number} is not {{"prediction_id": "...", "label": "..."}}; a multi-label model has "labels": [...].'
            )
        yield row["prediction_id"], labels


def _summed(results: Iterable[FeedbackResult]) -> dict[str, int]:
    found = Counter(result.outcome.value for result in results)
    return {outcome.value: found[outcome.value] for outcome in FeedbackOutcome if found[outcome.value]}


def _shown(results: list[FeedbackResult]) -> Text:
    """Returns a line for each report, and the sums of several."""
    text = Text()
    for number, result in enumerate(results, 1):
        said = f" {result.version} said {', '.join(result.answered) or 'no label'}." if result.version else ""
        outcome = result.outcome.value.replace("_", " ")
        text.append(f"{number}: " if len(results) > 1 else "")
        text.append(outcome, style=_STYLES.get(result.outcome, "dim" if result.is_known else "red"))
        text.append(f":{said}" + (f" {result.message}" if result.message else "") + "\n")
    if len(results) > 1:
        sums = ", ".join(f"{count:,} {outcome.replace('_', ' ')}" for outcome, count in _summed(results).items())
        text.append(f"{counted(len(results), 'report')}: {sums}\n")
    text.rstrip()
    return text
