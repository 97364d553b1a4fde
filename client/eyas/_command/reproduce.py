"""`eyas reproduce`: how to train a version again, whether it would be the same, and on request the training itself."""

from __future__ import annotations

from typing import Any

import click

from eyas._command import render_version
from eyas._command.datasets import named
from eyas._command.follow import followed
from eyas._command.reproduction import Verdict, checks, command_of, compared, conclusion, notes_of, settings_of
from eyas._command.session import Session, connected
from eyas._errors import EyasError, InvalidArgument, JobCancelled, JobFailed, NotFound, ServerError, Unsupported
from eyas._types import Job, ModelVersion


@click.command()
@click.argument("version")
@click.option("--dataset", help="Where the dataset lies now, as the trainer reads it [where it was].")
@click.option("--run", is_flag=True, help="Train it again, too, as a further version, and compare the two.")
@connected
def reproduce(session: Session, *, version: str, dataset: str | None, run: bool) -> int:
    """Print the command that trains a version again, and check whether the result would be the same.

    The dataset is read, hashed and split again; the version's files, the weights it started from, and the trainer's code, packages
    and device are compared with what they were. The exit status is 1 if something differs.
    """
    client = session.client
    found = client.get_model_version(version, verify=True)
    if found.lineage is None:
        raise Unsupported("This daemon does not tell what a version was made of: update it.", reason="UNSUPPORTED")
    lineage = found.lineage
    place = named(dataset) if dataset else lineage.dataset
    command, notes = session.hint(command_of(found, lineage, place)), notes_of(lineage)
    if not session.json:
        session.print(command)
    checked = checks(found, lineage, _retraced(session, found.name, place), _base(session, found.base_version))
    again = None
    if run:
        model = found.name.partition("/")[0]
        settings: dict[str, Any] = settings_of(lineage)
        job = followed(session, client.train(place, model, base_version=found.base_version, **settings))
        again = client.get_model_version(job.version or model)
        checked.append(compared(found, again))
    sentence, differs = conclusion(found.name, checked), any(check.verdict is Verdict.DIFFERS for check in checked)
    document = {
        "version": found.name,
        "command": command,
        "notes": notes,
        "checks": checked,
        "reproducible": not differs,
        "conclusion": sentence,
        "again": again,
    }
    session.show(document, lambda: render_version.checks(checked, notes, sentence))
    return int(differs)


def _retraced(session: Session, version: str, dataset: str) -> Job | EyasError:
    """Returns the job that went the way of a version's training up to its split, or what kept it from that."""
    try:
        return followed(session, session.client.retrace(version, dataset))
    except (NotFound, InvalidArgument, JobFailed, JobCancelled, Unsupported) as error:
        return error


def _base(session: Session, version: str | None) -> ModelVersion | EyasError | None:
    if version is None:
        return None
    try:
        return session.client.get_model_version(version, verify=True)
    except (NotFound, ServerError) as error:  # it was deleted, or its manifest is damaged
        return error
