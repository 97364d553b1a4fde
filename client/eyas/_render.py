"""What the `eyas` command shows a person: tables, the confusion matrix, progress. Sends nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from eyas._cautions import cautions
from eyas._errors import EyasError
from eyas._evaluation import Evaluation
from eyas._findings import DatasetReport, Duplicates, PictureCount, PictureSize, PictureStatistics, Suspects, UnreadableFile
from eyas._policy import Policy
from eyas._types import Alias, Classification, Job, JobState, Model, ModelVersion, Progress
from eyas._unknown import Unknown, UnknownReason
from eyas._variants import describe

_STATE_STYLES = {JobState.SUCCEEDED: "green", JobState.FAILED: "red", JobState.CANCELLED: "yellow", JobState.RUNNING: "cyan"}
# A confusion matrix with names as headings fits 80 columns up to this many labels; beyond it the columns bear class indices.
_NAMED_COLUMNS = 6
_LEFT_OUT = ("accuracy", *(f"{mean}_{name}" for mean in ("macro", "micro", "weighted") for name in ("precision", "recall")))
# What a person reads in one go; --json has more.
_MOST_FILES = 20
_MOST_GROUPS = 10
_MOST_GROUP_FILES = 5


def evaluation(scored: Evaluation, title: str) -> RenderableType:
    """Returns the figures, one row a label, and the confusion matrix, which several labels a picture have none of."""
    figures = Table(title=f"{title}: {counted(scored.examples, 'picture')}", title_justify="left", show_edge=False, pad_edge=False)
    for name, justify in (("label", "left"), ("pictures", "right"), ("precision", "right"), ("recall", "right"), ("F1", "right")):
        figures.add_column(name, justify=justify)  # type: ignore[arg-type] # rich's literal is not exported
    if scored.micro_f1 is not None:
        figures.add_column("threshold", justify="right")
    for row in scored.labels:
        cells = [str(row.examples), f"{row.precision:.3f}", f"{row.recall:.3f}", f"{row.f1:.3f}"]
        figures.add_row(_plain(row.label), *cells, *([] if row.threshold is None else [f"{row.threshold:.3f}"]))
    figures.add_section()
    figures.add_row(
        "macro", str(scored.examples), f"{scored.macro_precision:.3f}", f"{scored.macro_recall:.3f}", f"{scored.macro_f1:.3f}"
    )
    confusion: list[RenderableType] = [] if scored.micro_f1 is not None else [_confusion(scored), Text()]
    intervals: list[RenderableType] = [_figures(scored), Text()] if scored.figures else []
    parts: list[RenderableType] = [figures, Text(), *confusion, *intervals, headline(scored), *cautions(scored), *accepted(scored)]
    return Group(*parts, *_unreadable(scored.unreadable_files))


def _unreadable(files: Sequence[UnreadableFile]) -> list[RenderableType]:
    if not files:
        return []
    lines = [_plain(f"  {file.path}: {file.reason}") for file in files[:_MOST_FILES]]
    return [Text(f"{counted(len(files), 'file')} could not be read:", style="yellow"), *lines, *_rest(len(files) - len(lines))]


def _rest(count: int) -> list[RenderableType]:
    return [Text(f"  and {count:,} more; see --json", style="dim")] if count > 0 else []


def dataset(report: DatasetReport, title: str) -> RenderableType:
    """Returns what was found in a dataset: what it holds, then what is wrong with it, the gravest last."""
    counts = [(row.train, row.validation, row.test) for row in report.labels]
    sums = [report.sizes.train, report.sizes.validation, report.sizes.test]
    figures = Table(show_edge=False, pad_edge=False)
    figures.add_column("label")
    for name in ("train", "validation", "test", "all"):
        figures.add_column(name, justify="right")
    for row, count in zip(report.labels, counts, strict=True):
        figures.add_row(_plain(row.label), *(f"{number:,}" for number in (*count, sum(count))))
    figures.add_section()
    figures.add_row("all", *(f"{number:,}" for number in (*sums, sum(sums))))
    # The title is no title of the table, which would fold a long path at the table's width.
    parts: list[RenderableType] = [_plain(f"{title}: {counted(sum(sums), 'picture')}"), figures, Text()]
    if report.pictures is not None:
        parts.append(_statistics(report.pictures))
    parts += _unreadable(report.unreadable_files)
    parts += [Text(warning, style="yellow") for warning in report.warnings]
    if report.duplicates is not None:
        parts += [Text(), *_duplicates(report.duplicates)]
    if report.suspects is not None:
        parts += [Text(), *_suspects(report.suspects)]
    return Group(*parts)


def _statistics(pictures: PictureStatistics) -> Text:
    def size(value: PictureSize) -> str:
        return f"{value.width_px} x {value.height_px}"

    def listed(counts: Sequence[PictureCount]) -> str:
        return ", ".join(f"{count.pictures:,} {count.name}" for count in counts)

    sizes = f"smallest {size(pictures.smallest)}, median {size(pictures.median)}, largest {size(pictures.largest)} pixels"
    return Text(f"{sizes}; {listed(pictures.formats)}; {listed(pictures.modes)}")


def _duplicates(found: Duplicates) -> list[RenderableType]:
    if not found.group_count:
        return [Text("No picture has an exact or near copy.", style="green")]
    across = f"across labels {found.files_across_labels:,}, across splits {found.files_across_splits:,}"
    copies = f"{counted(found.file_count, 'picture')} are copies of each other, in {counted(found.group_count, 'group')}"
    parts: list[RenderableType] = [Text(f"{copies}; {across}.")]
    shown = found.groups[:_MOST_GROUPS]
    for group in shown:
        kinds = ["exact" if group.exact else "near"]
        kinds += ["across labels"] * group.across_labels + ["across splits"] * group.across_splits
        parts.append(Text(f"  {', '.join(kinds)}:", style="red" if len(kinds) > 1 else ""))
        files = group.files[:_MOST_GROUP_FILES]
        parts += [_plain(f"    {file.path}" + f"  ({file.label})" * group.across_labels) for file in files]
        parts += [Text(f"    and {group.file_count - len(files):,} more", style="dim")] * (group.file_count > len(files))
    return [*parts, *_rest(found.group_count - len(shown))]


def _suspects(found: Suspects) -> list[RenderableType]:
    if not found.count:
        return [Text(f"No label of the {counted(found.examined, 'picture')} examined looks wrong.", style="green")]
    table = Table(show_edge=False, pad_edge=False)
    for name in ("picture", "label", "rather", "probability"):
        table.add_column(name, overflow="fold", justify="right" if name == "probability" else "left")
    shown = found.pictures[:_MOST_FILES]
    for one in shown:
        table.add_row(_plain(one.path), _plain(one.label), _plain(one.suggested_label), f"{one.probability:.2f}")
    look = "looks" if found.count == 1 else "look"
    first = ", the most doubtful first" if found.count > 1 else ""
    heading = f"{found.count:,} of {counted(found.examined, 'label')} {look} wrong{first}. A hard picture is not a wrong one."
    return [Text(heading), table, *_rest(found.count - len(shown))]


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


def classifications(answers: Iterable[tuple[str, Classification | EyasError]]) -> Table:
    """Returns one row a picture and label, of a multi-label model with whether it applies; an unknown picture has one more, why."""
    results = list(answers)
    several = any(isinstance(result, Classification) and result.multi_label for _, result in results)
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("picture", overflow="fold")
    table.add_column("label")
    table.add_column("probability", justify="right")
    if several:
        table.add_column("applies")
    table.add_column("version")
    for path, result in results:
        if isinstance(result, EyasError):
            table.add_row(_plain(path), Text(result.message, style="red"))
            continue
        if result.unknown is not None:
            table.add_row(_plain(path), Text(f"unknown: {_why(result.unknown)}", style="yellow"))
        for rank, prediction in enumerate(result.predictions):
            first = rank == 0
            unsaid = several or result.unknown is not None
            style = "bold" if prediction.applies or (first and not unsaid) else "dim"
            table.add_row(
                _plain(path if first and result.unknown is None else ""),
                Text(prediction.label, style=style),
                Text(f"{prediction.probability:.3f}", style=style),
                *([Text("yes" if prediction.applies else "no", style=style)] if several else []),
                result.version if first else "",
            )
    return table


def _why(unknown: Unknown) -> str:
    share = percent(unknown.share)
    match unknown.reason:
        case UnknownReason.OUT_OF_DISTRIBUTION:
            return f"less like the training pictures than {share} of known ones"
        case UnknownReason.LOW_CONFIDENCE if unknown.threshold > 1:
            return f"answers of its most probable label are not right {share} of the time, however probable"
        case UnknownReason.LOW_CONFIDENCE:
            return f"its most probable label has {unknown.score:.3f}, answers that are {share} right have {unknown.threshold:.3f}"
        case UnknownReason.UNSPECIFIED:
            return "for a reason that a newer eyas knows"


def percent(share: float) -> str:
    """Returns a share as per cent, to three digits."""
    return f"{100 * share:.3g} %"


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
    if job.type == "inspection" and job.dataset_report is not None:
        sizes = job.dataset_report.sizes
        return counted(sizes.train + sizes.validation + sizes.test, "picture")
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
    origins: list[RenderableType] = []
    problems: list[RenderableType] = []
    for version in versions:
        if version.serving_error is not None:
            problems.append(Text(f"{version.name} cannot be served: {version.serving_error.message}", style="red"))
        if version.damaged:
            table.add_row(version.name.rpartition("/")[2], *[""] * 6, "damaged")
            continue
        scored = version.evaluation
        table.add_row(
            version.name.rpartition("/")[2],
            _when(version.create_time),
            version.backbone,
            str(len(version.labels)),
            f"{version.size_bytes / 1e6:.1f} MB",
            f"{scored.accuracy:.4f}",
            f"{scored.macro_f1:.4f}",
            served(version),
        )
        if version.base_version is not None:
            origins.append(Text(f"{version.name} started from {version.base_version}"))
        origins += [_plain(f"{version.name} in {describe(variant)}") for variant in version.variants]
    aliases = [
        _plain(f"{alias.name} -> {alias.version}  since {_when(alias.update_time)}, by {alias.actor}") for alias in shown.aliases
    ]
    return Group(table, Text(), *aliases, *origins, *problems)


def served(version: ModelVersion) -> str:
    """Returns what the server does with a version, and in which precision; "" where it does not say."""
    state = version.serving_state.replace("_", " ") if version.serving_state != "unspecified" else ""
    return f"{state} ({version.serving_precision})" if version.serving_precision != "unspecified" else state


def policy(model: str, found: Policy) -> RenderableType:
    """Returns what a model demands, a line each."""
    demands = [f"  {name} at least {value:g}" for name, value in found.at_least.items()]
    demands += [f"  {name} at most {value:g}" for name, value in found.at_most.items()]
    if found.max_label_drop is not None:
        demands.append(f"  no label whose F1 is by more than {found.max_label_drop:g} lower than before")
    if found.no_significant_loss:
        demands.append("  no significant loss of accuracy on the pictures that the version before was tested on, too")
    demands += [f"  a variant in {precision}" for precision in found.required_variants]
    if not demands:
        return _plain(f"{model} demands nothing of its versions: eyas policy --help.")
    set_by = f", set {_when(found.update_time)} by {found.actor}" if found.update_time else ""
    return Group(_plain(f"{' and '.join(f'{model}@{alias}' for alias in found.aliases)} demands{set_by}:"), *map(_plain, demands))


def history(records: Iterable[Alias]) -> Table:
    """Returns where an alias pointed, one row a record."""
    table = Table(show_edge=False, pad_edge=False)
    for name in ("", "since", "version", "before", "by", "why"):
        table.add_column(name, overflow="fold", justify="right" if not name else "left", min_width=10 if name == "since" else None)
    for record in records:
        undone = f"takes back {record.undone_record}" if record.undone_record else ""
        # What a policy found is long; of a move that was forced it is the point.
        forced = f"forced ({'; '.join(record.evidence)})" if record.forced else ""
        why = ": ".join(part for part in (undone, forced, record.reason) if part)
        before = (record.previous_version or "").rpartition("/")[2]
        version = record.version.rpartition("/")[2]
        since = f"{record.update_time.astimezone():%Y-%m-%d %H:%M:%S}"
        table.add_row(str(record.record), since, version, before, _plain(record.actor), _plain(why))
    return table


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


def counted(count: int, noun: str) -> str:
    """Returns how many there are of what a regular noun names: `1 picture`, `2,000 pictures`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


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
