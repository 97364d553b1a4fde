"""What the `eyas` command does with the requests for a model: canary, shadow, and what is in force."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click
from rich.console import Group, RenderableType
from rich.table import Table

from eyas._command.session import Session, connected
from eyas._command.words import plain, when
from eyas._errors import FailedPrecondition
from eyas._traffic import Canary, Shadow, Traffic

_PERCENT = click.FloatRange(0.01, 100)
_REASON = click.option("--reason", default="", help="Kept in the history.")


@click.command()
@click.argument("model")
@click.option("--history", is_flag=True, help="Show what was in force when, who set it, and why; newest first.")
@connected
def traffic(session: Session, *, model: str, history: bool) -> None:
    """Show a model's canary and shadow."""
    if history:
        records = list(session.client.list_traffic_records(model))
        session.show({"records": records}, lambda: _history(records) if records else f"{model} never had a canary or a shadow.")
        return
    found = session.client.get_traffic(model)
    session.show(found, lambda: _shown(found))


@click.command()
@click.argument("model")
@click.argument("target", required=False)
@click.option("--percent", type=_PERCENT, help="Its share of the requests for production.")
@click.option("--max-error-rate", type=float, help="Rolled back above this share of failed requests [0.02].")
@click.option("--max-latency-ratio", type=float, help="Rolled back above this multiple of production's latency [1.5].")
@click.option("--min-requests", type=int, help="Requests before it is judged [50].")
@click.option("--end", is_flag=True, help="Route nothing to it any more.")
@click.option("--promote", is_flag=True, help="Point production to its version, which ends it.")
@_REASON
@connected
def canary(session: Session, *, model: str, target: str | None, end: bool, promote: bool, reason: str, **asked: Any) -> None:
    """Let a version (or an alias) answer some of the requests: eyas canary clothing 7 --percent 5.

    It is rolled back by itself if it does worse than production. Without TARGET, changes the canary that there is.
    """
    changes = {name: value for name, value in asked.items() if value is not None}
    _check_alone(target, changes, end=end, promote=promote)
    client = session.client
    now = client.get_traffic(model)
    if promote:
        version = _running(now).version
        if version is None:
            raise FailedPrecondition(
                f"The canary of {model} leads to no version any more: end it with `eyas canary {model} --end`."
            )
        record = client.set_alias(model, "production", int(version.rpartition("/")[2]), reason=reason)
        session.show(record, lambda: f"{record.name} -> {record.version}; the canary has ended.")
        return
    wanted = None
    if not end:
        named = _target(model, target) if target else _running(now).target
        before = now.canary if now.canary and now.canary.target == named else None
        if before is None and "percent" not in changes:
            raise click.UsageError("A new canary needs a share: add --percent, such as --percent 5.")
        wanted = replace(before, **changes) if before else Canary(named, **changes)
    found = client.set_traffic(model, canary=wanted, shadow=now.shadow, reason=reason, expected_record=now.record)
    session.show(found, lambda: _shown(found))


@click.command()
@click.argument("model")
@click.argument("target", required=False)
@click.option("--percent", type=_PERCENT, help="Share of the requests for production that it is shown.")
@click.option("--end", is_flag=True, help="Show it nothing any more.")
@_REASON
@connected
def shadow(session: Session, *, model: str, target: str | None, percent: float | None, end: bool, reason: str) -> None:
    """Show a version (or an alias) some of the requests that production answers, and count where it says something else."""
    if end in (target is not None, percent is not None):
        raise click.UsageError("Give a version or an alias with --percent, or --end.")
    now = session.client.get_traffic(model)
    wanted = Shadow(_target(model, target), percent) if target and percent else None
    found = session.client.set_traffic(model, canary=now.canary, shadow=wanted, reason=reason, expected_record=now.record)
    session.show(found, lambda: _shown(found))


def _check_alone(target: str | None, changes: dict[str, Any], *, end: bool, promote: bool) -> None:
    """Raises UsageError where the options contradict each other, or ask for nothing."""
    if end + promote + bool(target or changes) != 1:
        raise click.UsageError(
            "Give a version or an alias with --percent, or other bounds for the canary there is, or --end or --promote."
        )


def _running(now: Traffic) -> Canary:
    if now.canary is None:
        raise FailedPrecondition(f"{now.model} has no canary: start one with `eyas canary {now.model} VERSION --percent 5`.")
    return now.canary


def _target(model: str, target: str) -> str:
    """Returns `NAME/VERSION` or `NAME@ALIAS`, of which the command takes the last part alone, too."""
    if "/" in target or "@" in target:
        return target
    return f"{model}/{target}" if target.isdecimal() else f"{model}@{target}"


def _led(target: str, version: str | None) -> str:
    return target if version in (None, target) else f"{target} ({version})"


def _shown(found: Traffic) -> RenderableType:
    lines = []
    if found.canary:
        one = found.canary
        lines.append(f"{_led(one.target, one.version)} answers {one.percent:g} % of the requests for {found.model}@production")
        lines.append(
            f"  rolled back above {one.max_error_rate:g} failed, or {one.max_latency_ratio:g} times the latency, "
            f"from {one.min_requests} requests on"
        )
        if one.stopped:
            lines.append(f"  this server routes nothing to it any more: {one.stopped}")
    if found.shadow:
        two = found.shadow
        lines.append(f"{_led(two.target, two.version)} is shown {two.percent:g} % of the requests for {found.model}@production")
    if not lines:
        lines.append(f"{found.model}@production answers all of its requests by itself: eyas canary --help.")
    if found.update_time:
        lines.append(f"set {when(found.update_time)} by {found.actor}" + (f": {found.reason}" if found.reason else ""))
    return Group(*map(plain, lines))


def _history(records: list[Traffic]) -> Table:
    table = Table(show_edge=False, pad_edge=False)
    for name in ("", "since", "canary", "shadow", "by", "why"):
        table.add_column(name, overflow="fold", justify="right" if not name else "left", min_width=10 if name == "since" else None)
    for record in records:
        parts = [f"{part.target} {part.percent:g} %" if part else "" for part in (record.canary, record.shadow)]
        since = f"{record.update_time.astimezone():%Y-%m-%d %H:%M:%S}" if record.update_time else ""
        table.add_row(str(record.record), since, *parts, plain(record.actor), plain(record.reason))
    return table
