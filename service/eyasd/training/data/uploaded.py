"""An uploaded dataset as a folder: names in JOB_DIR that lead to the files of the store. Knows no labels.

The files are read where they are kept: there each has one place for good, and what one job decoded of it is found by the next.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from eyasd.core import document, jobdir
from eyasd.core.datasets import MAX_LINE_BYTES, Blob, UploadedDataset, read_manifest
from eyasd.core.errors import BadDataset
from eyasd.core.form import ARCHIVES, Form
from eyasd.training.data.listing import Listing
from eyasd.training.journal import Journal

_PLACE: Final = "uploaded"


def uploaded_to(folder: Path) -> UploadedDataset | None:
    """Returns the uploaded dataset that a job is to read, as JOB_DIR says; None where it is none."""
    try:
        return document.load(UploadedDataset, (folder / jobdir.UPLOADED).read_bytes())
    except FileNotFoundError:
        return None


def lay_out(uploaded: UploadedDataset, folder: Path, journal: Journal) -> tuple[Path, Form]:
    """Makes the names in JOB_DIR, and returns the dataset and what it is: the folder of them, or the one archive in it.

    Args:
        uploaded: where its files are.
        folder: JOB_DIR.
        journal: is asked whether to stop.

    Raises:
        BadDataset: a file is not where it is kept.
        OSError: the disk is full, or cannot be written.
    """
    place, store = folder / _PLACE, Path(uploaded.store)
    if place.exists():  # of an earlier attempt, which may not have come to its end
        shutil.rmtree(place)
    place.mkdir()
    paths = []
    for file in read_manifest(_lines(store, uploaded.manifest)):
        journal.check()
        path, kept = place / file.path, store / file.blob.key
        if not kept.is_file():
            raise BadDataset(f"The content of {file.path!r} of the uploaded dataset is lost: upload the dataset again.")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(kept)
        paths.append(path)
    packed = len(paths) == 1 and paths[0].name.lower().endswith(ARCHIVES)
    return (paths[0], Form.ARCHIVE) if packed else (place, Form.FOLDER)


def where_kept(listing: Listing) -> Listing:
    """Returns the listing of such a folder with each file where the store keeps it."""
    files = (replace(file, path=Path(os.readlink(file.path))) if file.path.is_symlink() else file for file in listing.files)  # noqa: PTH115 - a tenth of the time
    return replace(listing, files=tuple(files))


def _lines(store: Path, manifest: Blob) -> Iterator[bytes]:
    try:
        with (store / manifest.key).open("rb") as file:
            yield from iter(lambda: file.readline(MAX_LINE_BYTES), b"")
    except FileNotFoundError:
        raise BadDataset("The uploaded dataset is not there any more: upload it again.") from None
