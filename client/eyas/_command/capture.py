"""What the `eyas` command does with captured pictures: which are kept, what they show, and what a person says of them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from eyas._capture import CapturedPicture, CapturePolicy, CaptureReason, Labelling
from eyas._command import captured_page, labelling
from eyas._command.session import Session, connected
from eyas._command.words import counted, percent, plain, when
from eyas._errors import NotFound

_REASONS = [reason.value for reason in CaptureReason if reason is not CaptureReason.UNSPECIFIED]


@click.command()
@click.argument("model")
@click.option("--on/--off", "enabled", default=None, help="Keep instructive pictures of production from now on, or no more.")
@click.option("--percent", type=click.FloatRange(0, 100), help="Share of all pictures that is kept by chance [1].")
@click.option(
    "--reason", "reasons", type=click.Choice(_REASONS), multiple=True, help="Why pictures are kept; may be repeated [for all]."
)
@click.option("--max-margin", type=click.FloatRange(0, 1), help="A first label that leads by less is a low margin [0.2].")
@click.option("--max-images", type=click.IntRange(1, 100_000), help="Most that are kept at a time [1000].")
@click.option("--keep-days", type=click.FloatRange(0.001, 3650), help="How long one is kept [30].")
@connected
def capture(session: Session, *, model: str, enabled: bool | None, **asked: Any) -> None:
    """Show which pictures of production are kept to learn from; or, with --on or --off, set it.

    Kept are those that were wrong by feedback, that the shadow labels otherwise, that are unlike the training pictures or hardly
    decided, and some by chance. What they contain may be personal data: see docs/operations/storage.md before you switch it on.
    """
    given = {name: value for name, value in asked.items() if value not in (None, ())}
    if enabled is None and given:
        raise click.UsageError(
            f"Add --on: {_option(next(iter(given)))} says which pictures are kept, and by itself changes nothing."
        )
    if enabled is False and given:
        raise click.UsageError(f"--off keeps nothing, so {_option(next(iter(given)))} cannot be given beside it.")
    client = session.client
    found = client.get_capture_policy(model) if enabled is None else client.set_capture_policy(model, enabled=enabled, **given)
    session.show(found, lambda: _policy(session, found))


@click.command()
@click.argument("model")
@click.option("--reason", "reasons", type=click.Choice(_REASONS), multiple=True, help="Only those kept for this; may be repeated.")
@click.option("--labelled/--unlabelled", default=None, help="Only those whose labels somebody has named, or nobody.")
@click.option("--predicted", metavar="LABEL", default="", help="Only those that were given this label.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="How many of the newest; see --all.")
@click.option("--all", "everything", is_flag=True, help="All of them.")
@click.option(
    "--page",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="OUT.html",
    help="Write them to a page to look through and to label, which needs nothing beside it.",
)
@click.option(
    "--export",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Write them, and labels.csv to fill in, to a new folder.",
)
@click.option("--jsonl", is_flag=True, help="With --export: labels.jsonl instead.")
@click.option(
    "--labels",
    "named",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Take the labels in a .csv or .jsonl file with the columns id and label.",
)
@click.option("--delete", "gone", multiple=True, metavar="ID", help="Delete a picture for good; may be repeated.")
@connected
def captured(
    session: Session,
    *,
    model: str,
    reasons: Sequence[str],
    labelled: bool | None,
    predicted: str,
    limit: int,
    everything: bool,
    page: Path | None,
    folder: Path | None,
    jsonl: bool,
    named: Path | None,
    gone: Sequence[str],
) -> None:
    """List the pictures of production that are kept of a model, newest first; or show, export, label or delete them."""
    if sum(map(bool, (page, folder, named, gone))) > 1:
        raise click.UsageError("--page, --export, --labels and --delete are four things to do: give one of them.")
    if jsonl and folder is None:
        raise click.UsageError("--jsonl says how a list is exported: add --export FOLDER.")
    if named is not None:
        done = session.client.label_captured(model, labelling.read(named))
        session.show(done, lambda: _labelled(session, model, done))
        return
    if gone:
        count = session.client.delete_captured(model, gone)
        if count == 0:
            raise NotFound(f"None of these pictures is there: list those of {model} with `eyas captured {model}`.")
        session.show({"deleted": count}, lambda: f"{counted(count, 'picture')} {'is' if count == 1 else 'are'} deleted.")
        return
    found = session.client.list_captured(model, reasons=reasons, labelled=labelled, predicted=predicted)
    listed = list(found if everything else itertools.islice(found, limit))
    if page is not None or folder is not None:
        files = ((one, content) for one, content in (_fetched(session, one) for one in listed) if content is not None)
        if page is not None:
            written = captured_page.write(page, model, _labels(session, model), files)
        else:
            written = labelling.export(folder or Path(), files, jsonl=jsonl)
        there = page or folder
        session.show({"pictures": written, "path": str(there)}, lambda: _written(session, model, written, page, there, jsonl=jsonl))
        return
    session.show({"pictures": listed}, lambda: _table(listed) if listed else _none(session, model))


def _labels(session: Session, model: str) -> Sequence[str]:
    """Returns the labels of the version in production; none where there is none."""
    try:
        return session.client.get_model_version(model).labels
    except NotFound:
        return ()


def _fetched(session: Session, one: CapturedPicture) -> tuple[CapturedPicture, bytes | None]:
    """Returns a picture's file; None where it has gone since it was listed."""
    try:
        return one, session.client.get_captured(one.model, one.id)[1]
    except NotFound:
        return one, None


def _option(name: str) -> str:
    return "--reason" if name == "reasons" else f"--{name.replace('_', '-')}"


def _policy(session: Session, found: CapturePolicy) -> RenderableType:
    if not found.enabled:
        lines = [f"No picture of {found.model} is kept: {session.hint(f'capture {found.model} --on')}"]
    else:
        kinds = {
            CaptureReason.WRONG: "wrong by feedback",
            CaptureReason.SHADOW: "labelled otherwise by the shadow",
            CaptureReason.DRIFT: "unlike the training pictures",
            CaptureReason.LOW_MARGIN: f"led by less than {found.max_margin:g}",
            CaptureReason.SAMPLE: f"{found.percent:g} % by chance",
            CaptureReason.UNSPECIFIED: "for a reason that only a newer client knows",
        }
        lines = [
            f"Of the pictures of {found.model} are kept: {', '.join(kinds[reason] for reason in found.reasons)}",
            f"  at most {counted(found.max_images, 'picture')}, the least instructive go first; each for {found.keep_days:g} days",
        ]
    if found.update_time is not None:
        lines.append(f"set {when(found.update_time)} by {found.actor}")
    return Group(*map(plain, lines))


def _table(listed: Sequence[CapturedPicture]) -> Table:
    table = Table(show_edge=False, pad_edge=False)
    for name in ("id", "when", "why", "predicted", "confidence", "label"):
        table.add_column(name, overflow="fold", no_wrap=name == "id", justify="right" if name == "confidence" else "left")
    for one in listed:
        best = one.predictions[0]
        label = ", ".join(one.labels.labels) or "none" if one.labels else ""
        table.add_row(
            one.id, when(one.create_time), ", ".join(one.reasons), plain(best.label), percent(best.probability), plain(label)
        )
    return table


def _none(session: Session, model: str) -> str:
    return f"No such picture of {model} is kept; {session.hint(f'capture {model}')} says which are."


def _written(session: Session, model: str, count: int, page: Path | None, there: Path | None, *, jsonl: bool) -> str:
    if page is not None:
        how = "Label them there, save the list, and"
    else:
        how = f"Fill in the labels of {'labels.jsonl' if jsonl else 'labels.csv'}, and"
    file = "FILE" if page is not None else (there or Path()) / ("labels.jsonl" if jsonl else "labels.csv")
    return f"{counted(count, 'picture')} in {there}. {how} give it back: {session.hint(f'captured {model} --labels {file}')}"


def _labelled(session: Session, model: str, done: Labelling) -> RenderableType:
    lines = [
        plain(f"{counted(done.labelled, 'picture')} of {model} {'has its' if done.labelled == 1 else 'have their'} label now.")
    ]
    if done.new_labels:
        names = ", ".join(map(repr, done.new_labels))
        lines.append(Text(f"New to the model: {names}. It learns what you have named by enough pictures.", style="yellow"))
    if done.missing:
        were = f"{counted(len(done.missing), 'picture')} {'was' if len(done.missing) == 1 else 'were'} not there any more"
        lines.append(Text(f"{were}: {', '.join(done.missing[:5])}{' ...' if len(done.missing) > 5 else ''}", style="yellow"))
    if done.labelled:
        lines.append(plain(f"Train with them: {session.hint(f'train --from {model}@production --add captured')}"))
    return Group(*lines)
