"""The commands that begin with a dataset: `eyas train` and `eyas inspect`."""

from __future__ import annotations

from typing import Any

import click

from eyas._command import render_jobs
from eyas._command.datasets import submitted, upload_option
from eyas._command.follow import follow
from eyas._command.session import Session, connected
from eyas._command.times import Time
from eyas._settings import training_spec
from eyas._types import Job, Priority


def _settings(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    settings: dict[str, str] = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not equals:
            raise click.BadParameter(f"{value!r} is not KEY=VALUE, such as epochs=5.")
        settings[name] = text
    training_spec(settings)  # a mistyped setting is told of before anything is sent
    return settings


@click.command()
@click.argument("dataset", required=False)
@upload_option
@click.option("--model", metavar="NAME", help="The model that gets a new version [that of --from].")
@click.option("--preset", type=click.Choice(["fast", "balanced", "best"]), help="How much is done [balanced].")
@click.option(
    "--backbone",
    metavar="NAME",
    help="A classification network of timm, such as resnet50; several with commas, or auto: the best is found out.",
)
@click.option("--budget", type=Time(), metavar="TIME", help="Wall-clock time it may take: 90s, 10m, 1h30m.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Of every random choice [0].")
@click.option("--min-precision", type=float, help="What answers are to have; classify --allow-unknown withholds the others.")
@click.option("--alias", metavar="NAME", help="Point this alias to the version; a first version becomes production by itself.")
@click.option(
    "--from", "base_version", metavar="VERSION", help="Start from the weights of this version, which may know other labels."
)
@click.option(
    "--add",
    "added",
    type=click.Choice(["captured"]),
    help="Train also on what was captured in production and labelled; --from says beside which version, and whose dataset it is.",
)
@click.option(
    "--variant",
    "variants",
    type=click.Choice(["fp16", "int8"]),
    multiple=True,
    callback=lambda _, __, values: ",".join(values) or None,
    help="Also in this precision, if it answers alike: fp16 is for GPUs, int8 for CPUs; may be repeated.",
)
@click.option(
    "--priority", type=click.Choice(["high", "normal", "low"]), default="normal", help="Which jobs it goes before [normal]."
)
@click.option("--no-wait", is_flag=True, help="Return as soon as the job is accepted.")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", callback=_settings, help="Any field of the training specification."
)
@connected
def train(
    session: Session,
    *,
    dataset: str | None,
    upload: bool | None,
    model: str | None,
    alias: str | None,
    base_version: str | None,
    added: str | None,
    priority: str,
    no_wait: bool,
    settings: dict[str, Any],
    **named: Any,
) -> None:
    """Train a model on a dataset of labelled pictures.

    DATASET is a folder that holds one folder a label, or train/ and optionally validation/ and test/ that do; a manifest, .csv or
    .jsonl, with the columns path and label (or labels) and, optionally, split and group; an archive of either (.zip, .tar,
    .tar.gz, .tgz, .tar.bz2, .tar.xz); or tar shards, a folder of them or 'train-{000..099}.tar'. It is read by the trainer: it is
    a path that leads to it there, or s3://BUCKET/..., gs://... or az://.... Where the server is on another machine, what lies here
    is uploaded first. Or it is the name of an uploaded dataset, such as datasets/photos.

    With --from clothing@production --add captured, DATASET is by default what that version was trained on. Its test split stays as
    it is, some of the captured pictures are held out, and the alias moves only if nothing is lost on the one and something gained
    on the other.
    """
    if added is not None:
        settings |= {"add_captured": "labelled"}
        if base_version is None:
            raise click.UsageError("--add captured needs --from, such as --from clothing@production.")
    elif dataset is None:
        raise click.UsageError("Missing argument 'DATASET'.")
    if model is None and base_version is None:
        raise click.UsageError("Missing option '--model'.")
    settings |= {name: value for name, value in named.items() if value is not None}
    asked: dict[str, Any] = {"alias": alias, "base_version": base_version, "priority": Priority(priority), **settings}

    def start(there: str | None) -> Job:
        return session.client.train(there, model, **asked)

    job = submitted(session, dataset, upload, start) if dataset is not None else start(None)
    _follow(session, job, no_wait=no_wait)


@click.command()
@click.argument("dataset")
@upload_option
@click.option("--backbone", metavar="NAME", help="The network of timm whose features judge the labels.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, help="Of every random choice, as in train [0].")
@click.option("--no-wait", is_flag=True, help="Return as soon as the job is accepted.")
@connected
def inspect(session: Session, *, dataset: str, upload: bool | None, backbone: str | None, seed: int, no_wait: bool) -> None:
    """Look for what is wrong with a dataset: copies, leaks, wrong labels, unreadable files.

    Nothing is trained. DATASET is what `eyas train` takes.
    """
    job = submitted(session, dataset, upload, lambda there: session.client.inspect(there, backbone=backbone, seed=seed))
    _follow(session, job, no_wait=no_wait)


def _follow(session: Session, job: Job, *, no_wait: bool) -> None:
    """Shows a job to its end, or how that can be done later."""
    if no_wait:
        session.show(job, lambda: f"{render_jobs.standing(job)} Follow it with: {session.hint(f'jobs watch {job.id}')}")
    else:
        follow(session, job)
