"""What the `eyas` command shows a person: tables, the confusion matrix, progress. Sends nothing."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from eyas._errors import EyasError
from eyas._types import Classification, Evaluation, Job, JobState, Model, ModelVersion, Progress

_STATE_STYLES = {JobState.SUCCEEDED: "green", JobState.FAILED: "red", JobState.CANCELLED: "yellow", JobState.RUNNING: "cyan"}
# A confusion matrix with names as headings fits 80 columns up to this many labels; beyond it the columns bear class indices.
_NAMED_COLUMNS = 6


def evaluation(scored: Evaluation, title: str) -> RenderableType:
    """Returns the figures, one row a label, and the confusion matrix."""
    figures = Table(title=f"{title}: {scored.examples} pictures", title_justify="left", show_edge=False, pad_edge=False)
    for name, justify in (("label", "left"), ("pictures", "right"), ("precision", "right"), ("recall", "right"), ("F1", "right")):
        figures.add_column(name, justify=justify)  # type: ignore[arg-type] # rich's literal is not exported
    for row in scored.labels:
        figures.add_row(_plain(row.label), str(row.examples), f"{row.precision:.3f}", f"{row.recall:.3f}", f"{row.f1:.3f}")
    figures.add_section()
    figures.add_row(
        "macro", str(scored.examples), f"{scored.macro_precision:.3f}", f"{scored.macro_recall:.3f}", f"{scored.macro_f1:.3f}"
    )
    parts: list[RenderableType] = [figures, Text(), _confusion(scored), Text(), headline(scored)]
    if scored.unreadable_files:
        parts.append(Text(f"{len(scored.unreadable_files)} files could not be read:", style="yellow"))
        parts += [_plain(f"  {file.path}: {file.reason}") for file in scored.unreadable_files]
    return Group(*parts)


def headline(scored: Evaluation) -> Text:
    """Returns the figures that matter most, in one line."""
    interval = f"{scored.accuracy_interval.low:.3f} to {scored.accuracy_interval.high:.3f}"
    return Text.assemble(
        ("accuracy ", ""),
        (f"{scored.accuracy:.4f}", "bold green"),
        f" (95 % interval {interval}), macro F1 {scored.macro_f1:.4f}, calibration error {scored.calibration_error:.3f}",
    )


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
        matrix.add_column(_plain(row.label) if named else str(index), justify="right")
    for index, row in enumerate(scored.labels):
        cells = [
            Text(str(count) if count else "·", style=_cell_style(index == column, count))
            for column, count in enumerate(row.predicted_counts)
        ]
        matrix.add_row(_plain(row.label if named else f"{index} {row.label}"), *cells)
    return matrix


def _cell_style(right: bool, count: int) -> str:
    if not count:
        return "dim"
    return "green" if right else "red"


def classifications(results: Iterable[tuple[str, Classification | EyasError]]) -> Table:
    """Returns one row a picture and label."""
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("picture", overflow="fold")
    table.add_column("label")
    table.add_column("probability", justify="right")
    table.add_column("version")
    for path, result in results:
        if isinstance(result, EyasError):
            table.add_row(_plain(path), Text(result.message, style="red"), "", "")
            continue
        for rank, prediction in enumerate(result.predictions):
            first = rank == 0
            style = "bold" if first else "dim"
            table.add_row(
                _plain(path if first else ""),
                Text(prediction.label, style=style),
                Text(f"{prediction.probability:.3f}", style=style),
                result.version if first else "",
            )
    return table


def jobs(listed: Iterable[Job]) -> Table:
    """Returns one row a job."""
    table = Table(show_edge=False, pad_edge=False)
    for name in ("job", "type", "model", "state", "created", "took", "result"):
        table.add_column(name, overflow="fold")
    for job in listed:
        name = (job.version or job.model) if job.type == "evaluation" or job.state is JobState.SUCCEEDED else job.model
        state = Text(job.state, style=_STATE_STYLES.get(job.state, ""))
        table.add_row(job.id, job.type, name, state, _when(job.create_time), _took(job), _plain(_result(job)))
    return table


def _result(job: Job) -> str:
    if job.evaluation is not None:
        return f"accuracy {job.evaluation.accuracy:.4f}"
    if job.error is not None:
        return job.error.message
    if job.state is JobState.RUNNING and job.progress is not None:
        return f"{job.progress.stage}, {job.progress.fraction:.0%}"
    return ""


def models(listed: Iterable[Model]) -> Table:
    """Returns one row a model."""
    table = Table(show_edge=False, pad_edge=False)
    for name in ("model", "versions", "latest", "aliases"):
        table.add_column(name)
    for model in listed:
        aliases = ", ".join(f"{alias.name.split('@')[1]} -> {alias.version.split('/')[1]}" for alias in model.aliases)
        table.add_row(model.name, str(model.version_count), model.latest_version, aliases)
    return table


def model(shown: Model, versions: Iterable[ModelVersion]) -> RenderableType:
    """Returns a model's versions and aliases."""
    table = Table(title=shown.name, title_justify="left", show_edge=False, pad_edge=False)
    for name in ("version", "created", "backbone", "labels", "size", "accuracy", "macro F1", "served"):
        table.add_column(name, overflow="fold", min_width=10 if name == "created" else None)  # a date is read as one word
    problems: list[RenderableType] = []
    for version in versions:
        scored = version.evaluation
        served = version.serving_state.replace("_", " ") if version.serving_state != "unspecified" else ""
        table.add_row(
            version.name.rpartition("/")[2],
            _when(version.create_time),
            version.backbone,
            str(len(version.labels)),
            f"{version.size_bytes / 1e6:.1f} MB",
            f"{scored.accuracy:.4f}",
            f"{scored.macro_f1:.4f}",
            served,
        )
        if version.serving_error is not None:
            problems.append(Text(f"{version.name} cannot be served: {version.serving_error.message}", style="red"))
    aliases = [
        _plain(f"{alias.name} -> {alias.version}  since {_when(alias.update_time)}, by {alias.actor}") for alias in shown.aliases
    ]
    return Group(table, Text(), *aliases, *problems)


def progress_line(progress: Progress) -> str:
    """Returns where a job is, for output that is no terminal."""
    parts = [f"{progress.fraction:4.0%}", progress.stage]
    if progress.epochs:
        parts.append(f"epoch {progress.epoch}/{progress.epochs}")
    if progress.loss is not None:
        parts.append(f"loss {progress.loss:.3f}")
    if progress.validation is not None:
        parts.append(f"validation accuracy {progress.validation.accuracy:.3f}")
    if progress.images_per_second:
        parts.append(f"{progress.images_per_second:.0f} pictures/s")
    if progress.time_left is not None:
        parts.append(f"{clock(progress.time_left)} left")
    return ", ".join(parts)


def clock(time: timedelta) -> str:
    """Returns a time as `m:ss`, or `h:mm:ss` from an hour on."""
    minutes, seconds = divmod(max(0, round(time.total_seconds())), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _took(job: Job) -> str:
    return clock(job.end_time - job.start_time) if job.start_time and job.end_time else ""


def _when(time: datetime) -> str:
    return f"{time.astimezone():%Y-%m-%d %H:%M}"


def _plain(text: str) -> Text:
    """Returns text in which brackets are brackets: names come from folders, and are no markup."""
    return Text(text)
