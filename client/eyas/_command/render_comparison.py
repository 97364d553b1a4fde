"""What the `eyas` command shows of two versions on the same pictures. Sends nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from eyas._command.cautions import cautions
from eyas._command.words import counted
from eyas._comparison import Comparison, FigureDifference
from eyas._types import Job

_SIGNIFICANT = 0.05
_MOST_PICTURES = 20
_LESS_IS_BETTER = frozenset({"log_loss"})


def comparisons(job: Job) -> RenderableType:
    """Returns how each further version of an evaluation did beside the first."""
    parts: list[RenderableType] = []
    for found in job.comparisons:
        parts += [*([Text()] if parts else []), *_comparison(job.version or job.model, found)]
    return Group(*parts)


def _comparison(first: str, found: Comparison) -> list[RenderableType]:
    parts: list[RenderableType] = [
        Text(f"{found.version} beside {first}: {counted(found.evaluation.examples, 'picture')}"),
        *_left_out(found),
        _figures(first, found),
        Text(),
        _verdict(first, found),
    ]
    if any(row.wins or row.losses for row in found.labels):
        parts += [Text(), _labels(first, found)]
    return [*parts, Text(), *_changed(first, found), *cautions(found.evaluation)]


def _left_out(found: Comparison) -> list[RenderableType]:
    if not found.left_out_count:
        return []
    more = counted(found.left_out_count, "picture")
    return [Text(f"{more} left out, which one of the two was trained on and the other was not.", style="yellow")]


def _figures(first: str, found: Comparison) -> Table:
    table = _table(("", first, found.version, "difference", "95 % interval"), left=1)
    for row in found.differences:
        interval = f"{row.interval.low:+.4f} to {row.interval.high:+.4f}"
        difference = Text(f"{row.second - row.first:+.4f}", style=_style(row))
        table.add_row(_name(row.name), f"{row.first:.4f}", f"{row.second:.4f}", difference, interval)
    table.add_section()
    costs = (found.first_cost, found.second_cost)
    table.add_row("size", *(f"{cost.size_bytes / 1e6:.1f} MB" for cost in costs))
    table.add_row("one picture", *(_milliseconds(cost.latency) for cost in costs))
    table.add_row(f"a picture of {found.batch_size}", *(_milliseconds(cost.batch_latency) for cost in costs))
    return table


def _name(figure: str) -> str:
    return figure.replace("_", " ").replace(" f1", " F1")


def _milliseconds(time: timedelta) -> str:
    return f"{time.total_seconds() * 1000:.2f} ms"


def _style(row: FigureDifference) -> str:
    """Returns the colour of a difference that the interval keeps away from 0."""
    if row.interval.low <= 0 <= row.interval.high:
        return ""
    return "green" if (row.second > row.first) is not (row.name in _LESS_IS_BETTER) else "red"


def _verdict(first: str, found: Comparison) -> Text:
    """Returns what McNemar's test says of the accuracies."""
    gained = found.only_second_right - found.only_first_right
    if found.p_value >= _SIGNIFICANT or not gained:
        verdict = ("no more of a difference than chance may make", "yellow")
    else:
        verdict = (f"{found.version} is {'more' if gained > 0 else 'less'} accurate", "green" if gained > 0 else "red")
    counts = (
        f"right: both {found.both_right:,}, only {first} {found.only_first_right:,}, only {found.version} "
        f"{found.only_second_right:,}, neither {found.both_wrong:,}; "
    )
    return Text.assemble(counts, verdict, f" (McNemar's exact test, p = {found.p_value:.2g})")


def _labels(first: str, found: Comparison) -> Table:
    table = _table(("label", "pictures", f"only {found.version} right", f"only {first} right"), left=1)
    for row in found.labels:
        table.add_row(Text(row.label), str(row.examples), _count(row.wins, "green"), _count(row.losses, "red"))
    return table


def _count(count: int, style: str) -> Text:
    return Text(str(count), style=style) if count else Text("·", style="dim")


def _changed(first: str, found: Comparison) -> list[RenderableType]:
    if not found.changed_count:
        return [Text("Both give every picture the same labels.")]
    table = _table(("picture", "label", first, "", found.version, ""), left=6)
    for one in found.changed[:_MOST_PICTURES]:
        answers: list[Text | str] = []
        for said, confidence in ((one.first, one.first_confidence), (one.second, one.second_confidence)):
            answers += [Text(said or "none", style="green" if said == one.label else "red"), f"{confidence:.2f}"]
        table.add_row(Text(one.path), Text(one.label or "none"), *answers)
    are = "is given another label" if found.changed_count == 1 else "are given other labels"
    parts: list[RenderableType] = [Text(f"{counted(found.changed_count, 'picture')} {are}:"), table]
    if more := found.changed_count - min(len(found.changed), _MOST_PICTURES):
        parts.append(Text(f"  and {more:,} more; see --json", style="dim"))
    return parts


def _table(names: Sequence[str], left: int) -> Table:
    """Returns an empty table; the first `left` columns are of words, the others of numbers."""
    table = Table(show_edge=False, pad_edge=False)
    for place, name in enumerate(names):
        table.add_column(Text(name), overflow="fold", justify="left" if place < left else "right")
    return table
