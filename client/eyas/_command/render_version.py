"""What the `eyas` command shows a person of one version: its figures and its lineage, and whether it could be made again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from eyas._command import render_evaluation, render_models, words
from eyas._command.cautions import cautions
from eyas._command.reproduction import Check, Verdict
from eyas._lineage import Lineage
from eyas._settings import SettingValue, format_duration
from eyas._types import ModelVersion
from eyas._unknown import UnknownRules
from eyas._variants import describe

_VERDICT_STYLES = {Verdict.OK: "green", Verdict.DIFFERS: "red", Verdict.UNKNOWN: "yellow"}


def version(shown: ModelVersion) -> RenderableType:
    """Returns what a version is, what it scored, and what it was made of."""
    table = _facts()
    table.add_row("published", f"{shown.create_time.astimezone():%Y-%m-%d %H:%M}")
    table.add_row("served", render_models.served(shown))
    table.add_row("labels", Text(", ".join(shown.labels)))
    table.add_row("network", f"{shown.backbone}, {shown.image_size_px} px")
    table.add_row("started from", Text(shown.weights_source or "random weights"))
    for variant in shown.variants:
        table.add_row("variant", Text(describe(variant)))
    if shown.unknown is not None:
        _add_rules(table, shown.unknown)
    if shown.lineage is not None:
        _add_lineage(table, shown, shown.lineage)
    for file in shown.files:
        table.add_row(Text(file.name), Text(file.problem, style="red") if file.problem else f"SHA-256 {file.sha256}")
    figures = [
        render_evaluation.headline(shown.evaluation),
        *cautions(shown.evaluation),
        *render_evaluation.accepted(shown.evaluation),
    ]
    return Group(Text(shown.name, style="bold"), table, Text(), *figures)


def _add_rules(table: Table, rules: UnknownRules) -> None:
    if rules.distribution is not None:
        known, refused = (words.percent(share) for share in (rules.distribution.known_share, rules.distribution.refused))
        bound = f"a score above {rules.distribution.threshold:.3f}, where {known} of known pictures stay below"
        table.add_row("unknown", Text(f"{bound}; {refused} of the test pictures are above"))
    if rules.confidence is not None:
        least = (f"{label} {f'{value:.3f}' if value <= 1 else 'never'}" for label, value in rules.confidence.thresholds.items())
        table.add_row("or less sure than", Text(f"{', '.join(least)}, for a precision of {rules.confidence.min_precision:g}"))


def _add_lineage(table: Table, shown: ModelVersion, lineage: Lineage) -> None:
    table.add_row("dataset", Text(lineage.dataset))
    table.add_row("its digest", shown.dataset_digest)
    if lineage.split_sizes is not None:
        sizes = lineage.split_sizes
        table.add_row("its split", f"{sizes.train:,} train, {sizes.validation:,} validation, {sizes.test:,} test")
    attempt = f", attempt {lineage.attempt}" if lineage.attempt > 1 else ""
    table.add_row("job", f"{shown.job}{attempt}, {words.clock(lineage.duration)} on {lineage.conditions.device}")
    asked = "not noted" if lineage.settings is None else _settings(lineage.settings) or "nothing"
    table.add_row("asked for", Text(asked))
    table.add_row("recipe", Text(_settings(lineage.recipe)))
    table.add_row("code", f"Eyas {lineage.conditions.code_version}")
    table.add_row("packages", ", ".join(f"{name} {number}" for name, number in lineage.conditions.packages.items()))


def checks(found: Iterable[Check], notes: Iterable[str], conclusion: str) -> RenderableType:
    """Returns a line a check, and what they come to."""
    table = _facts()
    table.add_column(overflow="fold")
    for check in found:
        table.add_row(check.name, Text(check.verdict, style=_VERDICT_STYLES[check.verdict]), Text(check.detail))
    return Group(table, *(Text(note, style="yellow") for note in notes), Text(conclusion))


def _facts() -> Table:
    table = Table(show_header=False, show_edge=False, pad_edge=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    return table


def _settings(settings: Mapping[str, SettingValue]) -> str:
    texts = {name: value if isinstance(value, str | int | float) else format_duration(value) for name, value in settings.items()}
    return ", ".join(f"{name}={text}" for name, text in texts.items())
