"""What the `eyas` command does with what is published: models and versions, aliases and their histories, deletion, policies."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import click

from eyas._command import render_models, render_version, words
from eyas._command.session import Session, connected
from eyas._command.times import Moment, Time
from eyas._errors import FailedPrecondition


@click.group(invoke_without_command=True)
@connected
def models(session: Session) -> None:
    """List models; or show one, move or roll back an alias, show its history, or delete versions."""
    listed = list(session.client.list_models())
    session.show(
        {"models": listed}, lambda: render_models.models(listed) if listed else "There are no models yet: eyas train --help."
    )


@models.command("show")
@click.argument("model")
@connected
def show(session: Session, *, model: str) -> None:
    """Show a model's versions and aliases; or of NAME/VERSION or NAME@ALIAS, what that version was made of."""
    if "/" in model or "@" in model:
        version = session.client.get_model_version(model)
        session.show(version, lambda: render_version.version(version))
        return
    shown, versions = session.client.get_model(model), list(session.client.list_model_versions(model))
    session.show({"model": shown, "versions": versions}, lambda: render_models.model(shown, versions))


@models.command("alias")
@click.argument("model")
@click.argument("alias")
@click.argument("number", metavar="VERSION", type=click.IntRange(1))
@click.option("--reason", default="", help="Kept in the alias's history.")
@click.option("--force", is_flag=True, help="Even if the model's policy refuses; the history says so.")
@connected
def alias(session: Session, *, model: str, alias: str, number: int, reason: str, force: bool) -> None:
    """Point an alias to a version, such as: eyas models alias clothing production 3."""
    record = session.client.set_alias(model, alias, number, reason=reason, force=force)
    session.show(record, lambda: f"{record.name} -> {record.version}")


@models.command("delete")
@click.argument("model")
@click.argument("number", metavar="VERSION", type=click.IntRange(1))
@connected
def delete(session: Session, *, model: str, number: int) -> None:
    """Delete a version for good, unless an alias points to it or did so not long ago."""
    session.client.delete_model_version(model, number)
    session.show({"deleted": [f"{model}/{number}"]}, lambda: f"{model}/{number} is deleted.")


@models.command("prune")
@click.argument("model")
@click.option("--older-than", type=Time(), required=True, metavar="TIME", help="Versions published longer ago: 90d, 12h.")
@connected
def prune(session: Session, *, model: str, older_than: timedelta) -> None:
    """Delete the old versions that no alias points to, nor pointed to not long ago."""
    deleted, kept = [], []
    for found in list(session.client.list_model_versions(model)):
        if found.damaged and found.serving_error:
            kept.append(f"{found.serving_error.message} Delete {found.name} by its number, or restore it.")
        elif datetime.now(UTC) - found.create_time > older_than:
            try:
                session.client.delete_model_version(model, int(found.name.rpartition("/")[2]))
                deleted.append(found.name)
            except FailedPrecondition as error:
                kept.append(error.message)
    session.show(
        {"deleted": deleted, "kept": kept},
        lambda: "\n".join([f"{words.counted(len(deleted), 'version')} {'is' if len(deleted) == 1 else 'are'} deleted.", *kept]),
    )


@models.command("rollback")
@click.argument("model")
@click.argument("alias", default="production")
@click.option("--reason", default="", help="Kept in the alias's history.")
@click.option("--expected", type=click.IntRange(1), metavar="VERSION", help="Only if it points to this version now.")
@connected
def rollback(session: Session, *, model: str, alias: str, reason: str, expected: int | None) -> None:
    """Point an alias [production] to where it pointed before; again, and it goes one version further back."""
    record = session.client.rollback_alias(model, alias, reason=reason, expected=expected)
    session.show(record, lambda: f"{record.name} -> {record.version}, no longer {record.previous_version}")


@models.command("history")
@click.argument("model")
@click.argument("alias", default="production")
@click.option("--at", type=Moment(), metavar="TIME", help="Only what was in force at 2026-11-25T20:00.")
@connected
def history(session: Session, *, model: str, alias: str, at: datetime | None) -> None:
    """Show where an alias [production] pointed when, who moved it, and why; newest first."""
    records = list(session.client.list_alias_records(model, alias, at=at))
    session.show(
        {"records": records}, lambda: render_models.history(records) if records else f"{model}@{alias} did not exist then."
    )


def _bounds(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, float]:
    bounds: dict[str, float] = {}
    for value in values:
        name, _equals, text = value.partition("=")
        try:
            bounds[name] = float(text)
        except ValueError:
            raise click.BadParameter(f"{value!r} is not FIGURE=VALUE, such as accuracy=0.9.") from None
    return bounds


@click.command()
@click.argument("model")
@click.option("--at-least", multiple=True, metavar="FIGURE=VALUE", callback=_bounds, help="Such as accuracy=0.9; may be repeated.")
@click.option("--at-most", multiple=True, metavar="FIGURE=VALUE", callback=_bounds, help="Such as log_loss=0.3; may be repeated.")
@click.option("--max-label-drop", type=click.FloatRange(0, 1), help="How much lower the F1 of a label may be than before.")
@click.option(
    "--no-significant-loss",
    is_flag=True,
    default=None,
    help="No less accurate than before, as far as the pictures tell that both were tested on.",
)
@click.option(
    "--variant",
    "required_variants",
    type=click.Choice(["fp16", "int8"]),
    multiple=True,
    help="A precision in which the version must be there, too; may be repeated.",
)
@click.option("--alias", "aliases", multiple=True, metavar="NAME", help="The alias that it guards; may be repeated [production].")
@click.option("--clear", is_flag=True, help="Demand nothing any more.")
@connected
def policy(session: Session, *, model: str, aliases: tuple[str, ...], clear: bool, **asked: Any) -> None:
    """Show what a model demands of the versions that its aliases are pointed to; or, with options, set all of it."""
    given = any(value not in ({}, None, ()) for value in asked.values())
    if clear and (given or aliases):
        raise click.UsageError("--clear demands nothing, so nothing can be demanded beside it.")
    if aliases and not given:
        raise click.UsageError(
            "--alias says which alias is guarded, not by what: add --at-least, --at-most, --max-label-drop, --no-significant-loss "
            "or --variant."
        )
    client = session.client
    found = client.set_policy(model, aliases=aliases, **asked) if given or clear else client.get_policy(model)
    session.show(found, lambda: render_models.policy(model, found))
