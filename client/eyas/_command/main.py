"""The `eyas` command: what it takes, in which order it calls the client, and how it ends.

Exit status: 0; 1 after an error of the service, 2 after a wrong command line, each with one sentence on standard error; 130 when
interrupted. With --json standard output is one JSON document, also when the command fails.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from eyas._command import render_answers, render_jobs
from eyas._command.capture import capture, captured
from eyas._command.datasets import datasets, upload
from eyas._command.explain import places, write
from eyas._command.feedback import feedback
from eyas._command.follow import Interrupted, follow
from eyas._command.label import label
from eyas._command.measure import compare, evaluate
from eyas._command.registry import models, policy
from eyas._command.reproduce import reproduce
from eyas._command.session import Session, connected
from eyas._command.traffic import canary, shadow, traffic
from eyas._command.training import inspect, train
from eyas._convert import to_json
from eyas._errors import EyasError, InvalidArgument
from eyas._report import show_in_browser
from eyas._types import Classification, JobState, Priority

_PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp"}


def run(arguments: Sequence[str]) -> int:
    """Runs the command line, and returns its exit status."""
    try:
        # A group that is called without a command and --help return a status instead of raising.
        status = eyas.main(list(arguments), prog_name="eyas", standalone_mode=False)
    except Interrupted as error:
        return _fail(arguments, error, 130)
    except EyasError as error:  # without a code it was found here, before anything was sent
        return _fail(arguments, error, 2 if isinstance(error, InvalidArgument) and error.code is None else 1)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return 2
    except click.ClickException as error:
        path = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "eyas"
        return _fail(arguments, EyasError(f"{error.format_message()} See {path} --help.", reason="USAGE"), 2)
    except ValueError as error:  # of the client's own arguments
        return _fail(arguments, EyasError(str(error), reason="USAGE"), 2)
    except (KeyboardInterrupt, click.Abort):
        return _fail(arguments, Interrupted("Interrupted.", reason="INTERRUPTED"), 130)
    except BrokenPipeError:  # `eyas jobs | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001 - a traceback helps nobody at a terminal
        return _fail(arguments, EyasError(f"The command failed unexpectedly ({type(error).__name__}: {error}).", reason="BUG"), 1)
    return status if isinstance(status, int) else 0


def _fail(arguments: Sequence[str], error: EyasError, status: int) -> int:
    if "--json" in arguments:
        click.echo(json.dumps({"error": to_json(error)}))
    click.echo(f"eyas: {error.message}", err=True)
    return status


_EXAMPLES = """Trains, evaluates and uses image classifiers.

\b
  eyas inspect ./photos
  eyas train ./photos --model clothing
  eyas evaluate clothing ./photos/test
  eyas compare clothing@production clothing/7 --data ./photos
  eyas classify clothing a.jpg b.png --top-k 3
  eyas report clothing --open
"""


@click.group(help=_EXAMPLES, epilog="Model references: NAME (its alias production), NAME@ALIAS, NAME/VERSION.")
@click.version_option(version("eyas"), prog_name="eyas")
@connected
def eyas(_: Session) -> None:
    """Is the command itself; what it does is in the commands below."""


@eyas.command()
@click.argument("model")
@click.argument("pictures", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--top-k", type=click.IntRange(1), help="Labels for each picture [those that apply].")
@click.option("--allow-unknown", is_flag=True, help="Say so of pictures unlike those trained on, and of doubtful answers.")
@click.option(
    "--priority", type=click.Choice(["high", "normal", "low"]), default="normal", help="Who goes first if not all can [normal]."
)
@click.option(
    "--explain",
    "out",
    type=click.Path(path_type=Path),
    metavar="OUT",
    help="Draw where the first label was seen: into this .png file or, of several pictures, this folder.",
)
@click.option("--ids", is_flag=True, help="Show the id of each answer, by which eyas feedback says what would have been right.")
@connected
def classify(
    session: Session,
    *,
    model: str,
    pictures: tuple[Path, ...],
    top_k: int | None,
    allow_unknown: bool,
    priority: str,
    out: Path | None,
    ids: bool,
) -> int:
    """Label pictures; a folder stands for the pictures in it."""
    paths = [path for given in pictures for path in _expand(given)]
    files = places(out, paths) if out else {}
    asked = {"top_k": top_k or 0, "allow_unknown": allow_unknown, "explain": out is not None, "priority": Priority(priority)}
    answers = label(session, model, paths, **asked)
    write((files[path], answer) for path, answer in zip(paths, answers, strict=True) if files)
    results = list(zip(map(str, paths), answers, strict=True))
    failed = [(path, result) for path, result in results if isinstance(result, EyasError)]
    said = [_said(path, answer, files.get(path)) for path, answer in zip(paths, answers, strict=True)]
    session.show({"results": said}, lambda: render_answers.classifications(results, ids=ids))
    if files and not session.json:
        session.out.print(f"Where each first label was seen is drawn in {out}.", markup=False, soft_wrap=True)
    if failed:
        path, error = failed[0]
        rest = f" ({len(failed)} of {len(results)} pictures failed)" if len(failed) > 1 else ""
        session.err.print(f"eyas: {path}: {error.message}{rest}", markup=False, soft_wrap=True)
    return 1 if failed else 0


def _said(path: Path, answer: Classification | EyasError, file: Path | None) -> dict[str, Any]:
    """Returns an answer for a script; of its explanation, the file in which it is."""
    if isinstance(answer, EyasError):
        return {"path": str(path), "error": to_json(answer)}
    return {"path": str(path), **to_json(replace(answer, explanation=None)), "explanation": str(file) if file else None}


def _expand(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(inner for inner in path.iterdir() if inner.suffix.lower() in _PICTURES)
    if not found:
        raise click.UsageError(f"There is no picture in the folder {str(path)!r}.")
    return found


@eyas.group(invoke_without_command=True)
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="How many of the newest are listed.")
@connected
def jobs(session: Session, *, limit: int) -> None:
    """List jobs, newest first; or watch, pause, resume or cancel one."""
    listed = list(itertools.islice(session.client.list_jobs(), limit))
    session.show({"jobs": listed}, lambda: render_jobs.jobs(listed) if listed else "There are no jobs yet.")


@jobs.command("watch")
@click.argument("job")
@connected
def watch(session: Session, *, job: str) -> None:
    """Follow a job to its end."""
    follow(session, session.client.get_job(job))


@jobs.command("cancel")
@click.argument("job")
@connected
def cancel(session: Session, *, job: str) -> None:
    """Ask a job to end."""
    cancelled = session.client.cancel_job(job)
    session.show(cancelled, lambda: f"Job {cancelled.id} {'is cancelled' if cancelled.state.ended else 'is ending'}.")


@jobs.command("pause")
@click.argument("job")
@connected
def pause(session: Session, *, job: str) -> None:
    """Let a job wait, and its device be free, until it is resumed."""
    paused = session.client.pause_job(job)
    state = "is paused" if paused.state is JobState.INTERRUPTED else "is pausing"
    session.show(paused, lambda: f"Job {paused.id} {state}; go on with it by: {session.hint(f'jobs resume {paused.id}')}")


@jobs.command("resume")
@click.argument("job")
@connected
def resume(session: Session, *, job: str) -> None:
    """Let a job that was paused, or waits for another attempt, go on."""
    resumed = session.client.resume_job(job)
    session.show(resumed, lambda: render_jobs.standing(resumed))


@eyas.command()
@click.argument("model")
@click.option("--open", "opens", is_flag=True, help="Show it in the browser.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write it [MODEL-VERSION.html; a temporary file with --open].",
)
@connected
def report(session: Session, *, model: str, opens: bool, out: Path | None) -> None:
    """Fetch the report of a model version: figures, mistakes, dataset and origin on one page that opens offline."""
    found = session.client.get_report(model)
    path = found.save(out, passing=opens)
    if opens:
        show_in_browser(path)
    session.show({"version": found.version, "path": str(path)}, lambda: f"The report of {found.version} is in {path}")


for _command in (
    train,
    inspect,
    models,
    policy,
    canary,
    shadow,
    traffic,
    feedback,
    capture,
    captured,
    evaluate,
    compare,
    reproduce,
    upload,
    datasets,
):
    eyas.add_command(_command)
