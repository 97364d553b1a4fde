"""A dataset in a bucket: its names make folders, and what a listing wants of them is fetched into the cache."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from eyasd.core.errors import BadDataset, DatasetNotFound
from eyasd.core.form import Form, expanded
from eyasd.core.places import Place
from eyasd.core.tasks import SharedCache, Sources
from eyasd.storage.cache import ObjectCache, Piece
from eyasd.storage.fetching import fetch, find_objects, look_at
from eyasd.storage.reading import Object, Objects
from eyasd.training.data.listing import Listing
from eyasd.training.data.tree import NamedFolder
from eyasd.training.journal import Journal

_PLACE: Final = "fetched"
# Where the job keeps what it shares with none.
_OWN: Final = SharedCache(folder="objects", max_bytes=2**60)


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
        self._folder = folder / _PLACE
        self._bucket = open_bucket(place.bucket)
        self._shared = sources.fetched or replace(_OWN, folder=str(self._folder / _OWN.folder))
        self._cache = cache_of(self._shared, folder)
        self._objects: dict[str, Object] = {}
        above, _, last = place.key.rpartition("/")
        self._above, self.name = (place.key, "") if form is Form.FOLDER else (above, last)
        match form:
            case Form.FOLDER:
                self._list(place.key)
            case Form.SHARDS:
                self._list(above)
                wanted = set(expanded(last))
                self._objects = {name: found for name, found in self._objects.items() if name in wanted}
            case _:
                try:
                    self._objects[last] = look_at(self._bucket, place.key)
                except FileNotFoundError:
                    raise self._not_found() from None
        if not self._objects:
            raise self._not_found()
        self.root = NamedFolder(self._objects, self._folder, self._bring)

    def completed(self, listing: Listing) -> Listing:
        """Returns the listing with files that can be read; fetches the pictures that it names.

        Raises:
            BadDataset: a picture was changed meanwhile, or none is there.
            StorageFailed: a picture cannot be fetched, or kept.
        """
        self._know([file.name for file in listing.files])
        wanted = [self._objects[file.name] for file in listing.files if file.name in self._objects]
        if not wanted:
            raise BadDataset(
                f"None of the {len(listing.files):,} files that {self.name!r} names is in {self._place.bucket}, such as "
                f"{listing.files[0].name!r}; a path is relative to the manifest's folder."
            )
        pieces = {found.key: piece for found, piece in zip(wanted, self._fetched(wanted), strict=True)}
        files = []
        for file in listing.files:
            found = self._objects.get(file.name)
            if found is None:  # reading it will tell
                files.append(file)
            else:
                piece = pieces[found.key]
                files.append(replace(file, path=piece.path, start=piece.start, size_bytes=piece.size_bytes, sha256=piece.sha256))
        return replace(listing, files=tuple(files))

    def _list(self, prefix: str) -> None:
        """Adds what lies in a folder of the bucket, by its name relative to the dataset's."""
        start = len(self._above) + 1 if self._above else 0
        self._objects |= {found.key[start:]: found for found in find_objects(self._bucket, prefix, self._journal)}

    def _know(self, names: Sequence[str]) -> None:
        """Lists the folder in which all these lie; only what a manifest names has not been listed before."""
        if self.name and not all(name in self._objects for name in names):
            folders = {name.rpartition("/")[0] for name in names}
            inside = os.path.commonpath(folders) if all(folders) else ""
            self._list("/".join(filter(None, (self._above, inside))))

    def _bring(self, names: Sequence[str]) -> list[Path]:
        """Returns where files that are not pictures can be read under their own names."""
        self._know(names)
        if missing := [name for name in names if name not in self._objects]:
            raise BadDataset(f"There is no {missing[0]!r} in {self._place}: check the range, or the manifest, that names it.")
        pieces = self._fetched([self._objects[name] for name in names])
        return [self._brought(name, piece) for name, piece in zip(names, pieces, strict=True)]

    def _brought(self, name: str, piece: Piece) -> Path:
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        if piece.start == 0 and piece.path.stat().st_size == piece.size_bytes:
            path.symlink_to(piece.path.absolute())
        else:
            with piece.path.open("rb") as pack:
                pack.seek(piece.start)
                path.write_bytes(pack.read(piece.size_bytes))
        return path

    def _fetched(self, wanted: Sequence[Object]) -> list[Piece]:
        with self._cache.turn(str(self._place), self._journal.check):
            return fetch(self._bucket, wanted, self._cache, self._shared.max_bytes, self._journal)

    def _not_found(self) -> DatasetNotFound:
        return DatasetNotFound(
            f"There is nothing at {str(self._place)!r} that the trainer can see: check the name, and its bucket's.",
            dataset=str(self._place),
        )


def open_bucket(url: str) -> Objects:
    """Returns a bucket; asks nothing of it yet. Raises StorageFailed."""
    from eyasd.storage.bucket_reader import BucketReader  # noqa: PLC0415 - obstore takes a tenth of a second

    return BucketReader(url)


def cache_of(shared: SharedCache, folder: Path) -> ObjectCache:
    """Returns the cache of fetched objects, as the job of JOB_DIR uses it."""
    return ObjectCache(Path(shared.folder), shared.max_bytes, str(folder.absolute()))


def discard(folder: Path, sources: Sources) -> None:
    """Removes what was fetched into JOB_DIR, and uses nothing of the cache any more."""
    if not (folder / _PLACE).exists():
        return
    if sources.fetched:
        cache = cache_of(sources.fetched, folder)
        cache.release()
        cache.close()
    shutil.rmtree(folder / _PLACE)
