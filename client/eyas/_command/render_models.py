"""What the `eyas` command shows of models: their versions and aliases, histories and policies."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from eyas._command.words import plain, when
from eyas._policy import Policy
from eyas._types import Alias, Model, ModelVersion
from eyas._variants import describe


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
            when(version.create_time),
            version.backbone,
            str(len(version.labels)),
            f"{version.size_bytes / 1e6:.1f} MB",
            f"{scored.accuracy:.4f}",
            f"{scored.macro_f1:.4f}",
            served(version),
        )
        if version.base_version is not None:
            origins.append(Text(f"{version.name} started from {version.base_version}"))
        origins += [plain(f"{version.name} in {describe(variant)}") for variant in version.variants]
    aliases = [
        plain(f"{alias.name} -> {alias.version}  since {when(alias.update_time)}, by {alias.actor}") for alias in shown.aliases
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
        return plain(f"{model} demands nothing of its versions: eyas policy --help.")
    set_by = f", set {when(found.update_time)} by {found.actor}" if found.update_time else ""
    return Group(plain(f"{' and '.join(f'{model}@{alias}' for alias in found.aliases)} demands{set_by}:"), *map(plain, demands))


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
        table.add_row(str(record.record), since, version, before, plain(record.actor), plain(why))
    return table
