"""What the `eyas` command does with datasets that are uploaded, and how a command's own dataset comes to be one.

A path is the trainer's. Where the server is on another machine, by its address, what a path leads to on this one is uploaded;
where it is on this one, only if the server says that there is nothing at the path, as in a container. --upload and --no-upload
decide it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue

import click
from rich.progress import BarColumn, DownloadColumn, Progress, TaskProgressColumn, TextColumn, TransferSpeedColumn

from eyas._command import render_datasets, words
from eyas._command.follow import Interrupted
from eyas._command.session import Session, connected
from eyas._dataset import Dataset, UploadProgress
from eyas._errors import NotFound
from eyas._types import Job

upload_option = click.option(
    "--upload/--no-upload",
    default=None,
    help="Whether the dataset lies here or on the trainer's machine [here, if it does and the server is on another machine].",
)


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--name", help="Of the dataset [that of the folder or archive].")
@click.option("--follow-links", is_flag=True, help="Let symbolic links lead out of the folder.")
@connected
def upload(session: Session, *, path: Path, name: str | None, follow_links: bool) -> None:
    """Upload a dataset that the trainer cannot read where it lies.

    PATH is a folder as `eyas train` takes it, or an archive. Only what the server lacks is sent: run the command again after it was
    cut short, or when pictures have come. The same files are the same version of the dataset.
    """
    done = uploaded(session, path.expanduser(), name, follow_links=follow_links)
    session.show(done, lambda: f"Train on it with: {session.hint(f'train {done.name} --model NAME')}")


@click.group(invoke_without_command=True)
@connected
def datasets(session: Session) -> None:
    """List uploaded datasets; or show or delete one."""
    listed = list(session.client.list_datasets())
    session.show(
        {"datasets": listed},
        lambda: render_datasets.datasets(listed) if listed else "No datasets are there yet: eyas upload --help.",
    )


@datasets.command("show")
@click.argument("name")
@connected
def show(session: Session, *, name: str) -> None:
    """Show what is in a dataset, NAME for its newest version or NAME/NUMBER."""
    found = session.client.get_dataset(name)
    session.show(found, lambda: render_datasets.dataset(found))


@datasets.command("delete")
@click.argument("name")
@connected
def delete(session: Session, *, name: str) -> None:
    """Delete a version of a dataset, NAME/NUMBER, or with NAME all of them, unless a job uses it."""
    session.client.delete_dataset(name)
    session.show({"deleted": [name]}, lambda: f"{name} is deleted.")


def submitted(session: Session, dataset: str, upload: bool | None, submit: Callable[[str], Job]) -> Job:
    """Returns the job of a command that names a dataset, which is uploaded first if need be.

    Args:
        session: of the command.
        dataset: as the person named it.
        upload: what the person decided; None is nothing.
        submit: starts the job, given the dataset as the server is to see it.
    """
    if _is_named(dataset):
        return submit(dataset)
    there = named(dataset)
    path = Path(there)
    if upload is None and path.exists() and not session.client.is_local:
        upload = True
    if upload:
        return submit(uploaded(session, path).name)
    try:
        return submit(there)
    except NotFound as error:
        if upload is False or error.reason != "DATASET_NOT_FOUND" or not path.exists():
            raise
    return submit(uploaded(session, path).name)


def named(dataset: str) -> str:
    """Returns a dataset as the server names it: an uploaded one's name and a URL as they are, or an absolute path.

    Whether a path leads anywhere only the trainer's machine knows.
    """
    return dataset if _is_named(dataset) else str(Path(dataset).expanduser().resolve())


def uploaded(session: Session, path: Path, name: str | None = None, *, follow_links: bool = False) -> Dataset:
    """Uploads a dataset, with its progress on standard error, and returns it.

    That is done in a thread of its own, where no signal is raised: an interrupt within gRPC's code can leave its locks held.

    Raises:
        Interrupted: the person at the keyboard had enough.
    """
    news: SimpleQueue[UploadProgress | Dataset | Exception] = SimpleQueue()

    def run() -> None:
        try:
            news.put(session.client.upload_dataset(path, name, follow_links=follow_links, on_progress=news.put))
        except Exception as error:  # noqa: BLE001 - it is raised where the news are heard
            news.put(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        with _bar(session) as bar:
            task = bar.add_task(f"upload {path.name}", total=None)
            while isinstance(heard := news.get(), UploadProgress):
                bar.update(task, completed=heard.done_bytes, total=heard.size_bytes)
    except KeyboardInterrupt:
        raise Interrupted("The upload was cut short; the same command goes on where it was.", reason="INTERRUPTED") from None
    if isinstance(heard, Exception):
        raise heard
    if not session.json:
        session.err.print(f"Uploaded {heard.name}: {_extent(heard)}.", markup=False, soft_wrap=True)
    return heard


def _bar(session: Session) -> Progress:
    name = TextColumn("{task.description}", markup=False)
    columns = (name, BarColumn(bar_width=24), TaskProgressColumn(), DownloadColumn(), TransferSpeedColumn())
    return Progress(*columns, console=session.err, disable=session.json or not session.err.is_terminal)


def _extent(dataset: Dataset) -> str:
    return f"{words.counted(dataset.file_count, 'file')}, {dataset.size_bytes / 1e6:,.1f} MB"


def _is_named(dataset: str) -> bool:
    """Tells whether it is no path of any machine: an uploaded dataset's name, or a URL."""
    return dataset.startswith("datasets/") or "://" in dataset
