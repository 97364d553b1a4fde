"""What the `eyas` command shows of an evaluation: its figures, a row a label, the confusion matrix."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from eyas._command.cautions import cautions
from eyas._command.words import counted, percent, plain, unreadable
from eyas._evaluation import Evaluation

# A confusion matrix with names as headings fits 80 columns up to this many labels; beyond it the columns bear class indices.
_NAMED_COLUMNS = 6
_LEFT_OUT = ("accuracy", *(f"{mean}_{name}" for mean in ("macro", "micro", "weighted") for name in ("precision", "recall")))


def evaluation(scored: Evaluation, title: str) -> RenderableType:
    """Returns the figures, one row a label, and the confusion matrix, which several labels a picture have none of."""
    figures = Table(title=f"{title}: {counted(scored.examples, 'picture')}", title_justify="left", show_edge=False, pad_edge=False)
    for name, justify in (("label", "left"), ("pictures", "right"), ("precision", "right"), ("recall", "right"), ("F1", "right")):
        figures.add_column(name, justify=justify)  # type: ignore[arg-type] # rich's literal is not exported
    if scored.micro_f1 is not None:
        figures.add_column("threshold", justify="right")
    for row in scored.labels:
        cells = [str(row.examples), f"{row.precision:.3f}", f"{row.recall:.3f}", f"{row.f1:.3f}"]
        figures.add_row(plain(row.label), *cells, *([] if row.threshold is None else [f"{row.threshold:.3f}"]))
    figures.add_section()
    figures.add_row(
        "macro", str(scored.examples), f"{scored.macro_precision:.3f}", f"{scored.macro_recall:.3f}", f"{scored.macro_f1:.3f}"
    )
    confusion: list[RenderableType] = [_confusion(scored), Text()] if scored.labels[0].predicted_counts else []
    intervals: list[RenderableType] = [_figures(scored), Text()] if scored.figures else []
    parts: list[RenderableType] = [figures, Text(), *confusion, *intervals, headline(scored), *cautions(scored), *accepted(scored)]
    return Group(*parts, *unreadable(scored.unreadable_files))


def headline(scored: Evaluation) -> Text:
    """Returns the figures that matter most, in one line."""
    interval = f"{scored.accuracy_interval.low:.3f} to {scored.accuracy_interval.high:.3f}"
    more = ""
    if scored.micro_f1 is not None:
        more = f", micro F1 {scored.micro_f1:.4f}, mean average precision {scored.mean_average_precision or 0:.4f}"
    return Text.assemble(
        ("whole sets of labels right " if more else "accuracy ", ""),
        (f"{scored.accuracy:.4f}", "bold green"),
        f" (95 % interval {interval}){more}, macro F1 {scored.macro_f1:.4f}, calibration error {scored.calibration_error:.3f}",
    )


def accepted(scored: Evaluation) -> list[RenderableType]:
    """Returns what is left of the pictures, and how much of it is right, where some may be unknown."""
    if scored.coverage is None:
        return []
    right = "" if scored.accepted_accuracy is None else f"; of the others {scored.accepted_accuracy:.4f} are right"
    return [Text(f"with --allow-unknown, {percent(1 - scored.coverage)} of the pictures are unknown{right}")]


def _figures(scored: Evaluation) -> Table:
    """Returns the figures with their intervals; the headline has the accuracy, --json also the mean precisions and recalls."""
    table = Table(show_edge=False, pad_edge=False)
    for name, justify in (("", "left"), ("value", "right"), ("95 % interval", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type] # rich's literal is not exported
    for row in scored.figures:
        # Of one label a picture, the micro means are the accuracy.
        if row.name not in _LEFT_OUT and (row.name != "micro_f1" or scored.micro_f1 is not None):
            name = row.name.replace("_", " ").replace("roc auc", "ROC AUC").replace(" f1", " F1")
            table.add_row(name, f"{row.value:.4f}", f"{row.interval.low:.4f} to {row.interval.high:.4f}")
    return table


def _confusion(scored: Evaluation) -> Table:
    named = len(scored.labels) <= _NAMED_COLUMNS
    matrix = Table(
        title="confusion matrix: a row is a true label, a column a predicted one",
        title_justify="left",
        show_edge=False,
        pad_edge=False,
    )
    matrix.add_column("")
    for index, row in enumerate(scored.labels):
        matrix.add_column(plain(row.label) if named else str(index), justify="right")
    for index, row in enumerate(scored.labels):
        cells = [
            Text(str(count) if count else "·", style=_cell_style(index == column, count))
            for column, count in enumerate(row.predicted_counts)
        ]
        matrix.add_row(plain(row.label if named else f"{index} {row.label}"), *cells)
    return matrix


def _cell_style(right: bool, count: int) -> str:
    if not count:
        return "dim"
    return "green" if right else "red"
