"""What the `eyas` command reports of answers: one on the command line, or many from a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TextIO

import click
from rich.text import Text

from eyas._command.rows import SEPARATOR, Row, rows
from eyas._command.session import Session, connected
from eyas._command.words import counted
from eyas._errors import InvalidArgument
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
    for line, row in rows(source, source.name, ["prediction_id"]):
        labels = _labels(row)
        if labels is None or not isinstance(row.get("prediction_id"), str):
            raise InvalidArgument(
                f"Line {line} of {source.name} is no report: it has a prediction_id and a label, or in a multi-label model labels."
            )
        yield row["prediction_id"], labels


def _labels(row: Row) -> list[str | int] | None:
    """Returns the labels that a row says; None where it says none, or in two ways."""
    if ("label" in row) == ("labels" in row):
        return None
    labels = [row["label"]] if "label" in row else row["labels"]
    if isinstance(labels, str):
        labels = [label for label in labels.split(SEPARATOR) if label]
    known = isinstance(labels, list) and all(isinstance(one, str | int) and not isinstance(one, bool) for one in labels)
    return labels if known else None


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
