"""An uploaded dataset as a folder of its names. Knows no labels.

Where its content is kept in a folder, JOB_DIR has links to it, and each file is read there: it has one place for good, and what one
job decoded of it is found by the next. Of a bucket it is fetched, and is what its SHA-256 says, or not taken.
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
from eyasd.core.tasks import Sources
from eyasd.storage.reading import Object
from eyasd.training.data.fetched import FetchedFiles, open_bucket
from eyasd.training.data.listing import Listing
from eyasd.training.data.tree import NamedFolder
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
        uploaded: where its files are, in a folder.
        folder: JOB_DIR.
        journal: is asked whether to stop.

    Raises:
        BadDataset: a file is not where it is kept.
        OSError: the disk is full, or cannot be written.
    """
    place, store = folder / _PLACE, folder / uploaded.store
    if place.exists():  # of an earlier attempt, which may not have come to its end
        shutil.rmtree(place)
    place.mkdir()
    paths = []
    for file in read_manifest(_lines(store / uploaded.manifest.key, 0, uploaded.manifest.size_bytes)):
        journal.check()
        path, kept = place / file.path, store / file.blob.key
        if not kept.is_file():
            raise BadDataset(f"The content of {file.path!r} of the uploaded dataset is lost: upload the dataset again.")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(kept)
        paths.append(path)
    return (paths[0], Form.ARCHIVE) if _is_archive([path.name for path in paths]) else (place, Form.FOLDER)


def where_kept(listing: Listing) -> Listing:
    """Returns the listing of such a folder with each file where the store keeps it."""
    files = (replace(file, path=Path(os.readlink(file.path))) if file.path.is_symlink() else file for file in listing.files)  # noqa: PTH115 - a tenth of the time
    return replace(listing, files=tuple(files))


class UploadInBucket:
    """An uploaded dataset whose content is kept in a bucket, as a job sees it.

    Attributes:
        root: the folder of its names.
        name: of the archive that is all there is in it; "" where there is none.
        form: what it is.
    """

    def __init__(self, uploaded: UploadedDataset, folder: Path, journal: Journal, sources: Sources) -> None:
        """Fetches the list of its files.

        Args:
            uploaded: where its files are, in a bucket.
            folder: JOB_DIR.
            journal: hears of the fetching.
            sources: where what is fetched is kept.

        Raises:
            BadDataset: the list is lost, or damaged.
            StorageFailed: the bucket cannot be read, or the list not kept.
        """
        what = f"the uploaded dataset {uploaded.manifest.sha256[:12]}"
        self._files = FetchedFiles(open_bucket(uploaded.store), what, folder, journal, sources)
        self._files.folder.mkdir(exist_ok=True)
        (listed,) = self._files.fetch([_object(uploaded.manifest)])
        lines = _lines(listed.path, listed.start, listed.size_bytes)
        self._files.objects |= {file.path: _object(file.blob) for file in read_manifest(lines)}
        names = list(self._files.objects)
        self.name, self.form = (names[0], Form.ARCHIVE) if _is_archive(names) else ("", Form.FOLDER)
        self.root = NamedFolder(names, self._files.folder, self._files.bring)

    def completed(self, listing: Listing) -> Listing:
        """See `FetchedFiles.completed`."""
        return self._files.completed(listing)


def _object(blob: Blob) -> Object:
    return Object(blob.key, blob.size_bytes, "", blob.sha256)


def _is_archive(names: list[str]) -> bool:
    return len(names) == 1 and names[0].lower().endswith(ARCHIVES)


def _lines(path: Path, start: int, size_bytes: int) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            file.seek(start)
            while size_bytes and (line := file.readline(min(MAX_LINE_BYTES, size_bytes))):
                size_bytes -= len(line)
                yield line
    except FileNotFoundError:
        raise BadDataset("The uploaded dataset is not there any more: upload it again.") from None
