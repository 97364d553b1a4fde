"""A dataset in a bucket, as whoever put it there has laid it out: its names make folders."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from eyasd.core.errors import DatasetNotFound
from eyasd.core.form import Form, expanded
from eyasd.core.places import Place
from eyasd.core.tasks import Sources
from eyasd.storage.fetching import find_objects, look_at
from eyasd.training.data.fetched import FetchedFiles, open_bucket
from eyasd.training.data.listing import Listing
from eyasd.training.data.tree import NamedFolder
from eyasd.training.journal import Journal


class RemoteDataset:
    """A dataset in a bucket, as a job sees it.

    Attributes:
        root: the folder that it is, or that it lies in.
        name: what it is called there; "" where it is the folder.
    """

    def __init__(self, place: Place, form: Form, folder: Path, journal: Journal, sources: Sources) -> None:
        """Lists the bucket.

        Args:
            place: of the dataset.
            form: of the dataset, as far as its name tells.
            folder: JOB_DIR.
            journal: hears of the fetching.
            sources: where it is kept.

        Raises:
            DatasetNotFound: there is nothing of that name.
            StorageFailed: the bucket cannot be read.
        """
        self._place, self._journal = place, journal
        self._bucket = open_bucket(place.bucket)
        self._files = FetchedFiles(self._bucket, str(place), folder, journal, sources)
        above, _, last = place.key.rpartition("/")
        self._above, self.name = (place.key, "") if form is Form.FOLDER else (above, last)
        objects = self._files.objects
        match form:
            case Form.FOLDER:
                self._list(place.key)
            case Form.SHARDS:
                self._list(above)
                wanted = set(expanded(last))
                for name in objects.keys() - wanted:
                    del objects[name]
            case _:
                try:
                    objects[last] = look_at(self._bucket, place.key)
                except FileNotFoundError:
                    raise self._not_found() from None
        if not objects:
            raise self._not_found()
        self.root = NamedFolder(objects, self._files.folder, self._bring)

    def completed(self, listing: Listing) -> Listing:
        """See `FetchedFiles.completed`."""
        self._know([file.name for file in listing.files])
        return self._files.completed(listing)

    def _list(self, prefix: str) -> None:
        """Adds what lies in a folder of the bucket, by its name relative to the dataset's."""
        start = len(self._above) + 1 if self._above else 0
        self._files.objects |= {found.key[start:]: found for found in find_objects(self._bucket, prefix, self._journal)}

    def _know(self, names: Sequence[str]) -> None:
        """Lists the folder in which all these lie; only what a manifest names has not been listed before."""
        if self.name and not all(name in self._files.objects for name in names):
            folders = {name.rpartition("/")[0] for name in names}
            inside = os.path.commonpath(folders) if all(folders) else ""
            self._list("/".join(filter(None, (self._above, inside))))

    def _bring(self, names: Sequence[str]) -> list[Path]:
        self._know(names)
        return self._files.bring(names)

    def _not_found(self) -> DatasetNotFound:
        return DatasetNotFound(
            f"There is nothing at {str(self._place)!r} that the trainer can see: check the name, and its bucket's.",
            dataset=str(self._place),
        )
