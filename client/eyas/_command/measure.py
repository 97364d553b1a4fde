"""The commands that measure versions: `eyas evaluate` and `eyas compare`."""

from __future__ import annotations

import click

from eyas._command.datasets import submitted, upload_option
from eyas._command.follow import follow
from eyas._command.session import Session, connected
from eyas._types import Job

_data = click.option("--data", metavar="DATASET", help="What to measure on: as `eyas train` takes it.")
_split = click.option(
    "--split",
    type=click.Choice(["train", "validation", "test"]),
    help="Only the pictures of this split of the training; without a dataset, where the training found them.",
)


@click.command()
@click.argument("model")
@click.argument("others", nargs=-1, metavar="[OTHER]... [DATASET]")
@_data
@_split
@upload_option
@connected
def evaluate(
    session: Session, *, model: str, others: tuple[str, ...], data: str | None, split: str | None, upload: bool | None
) -> None:
    """Measure a model version on a dataset of labelled pictures, and others beside it.

    The dataset is the last argument, unless --data or --split names it. Where it has splits, its test split is scored. Each OTHER
    version is compared with MODEL on the same pictures.
    """
    if data is None and split is None:
        if not others:
            raise click.UsageError("What shall it be measured on? Name a dataset, or a --split of its training.")
        *named, last = others
        others, data = tuple(named), last

    def submit(dataset: str | None) -> Job:
        return session.client.evaluate(model, dataset, others=others, split=split)

    follow(session, submitted(session, data, upload, submit) if data else submit(None))


@click.command()
@click.argument("first")
@click.argument("second")
@_data
@_split
@upload_option
@connected
def compare(session: Session, *, first: str, second: str, data: str | None, split: str | None, upload: bool | None) -> None:
    """Measure two model versions on the same pictures: what changed, and whether chance explains it.

    Without --data and --split the pictures are the test split of FIRST. Those that one alone was trained on are left out.
    """

    def submit(dataset: str | None) -> Job:
        return session.client.compare(first, second, dataset, split=split)

    follow(session, submitted(session, data, upload, submit) if data else submit(None))
