"""Files that are known by name, and objects of a bucket until somebody wants them: then they are fetched into the cache."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from eyasd.core.errors import BadDataset
from eyasd.core.tasks import SharedCache, Sources
from eyasd.storage.cache import ObjectCache, Piece
from eyasd.storage.fetching import fetch
from eyasd.storage.reading import Object, Objects
from eyasd.training.data.listing import Listing
from eyasd.training.journal import Journal

_PLACE: Final = "fetched"
# Where the job keeps what it shares with none.
_OWN: Final = SharedCache(folder="objects", max_bytes=2**60)


class FetchedFiles:
    """The files of a dataset in a bucket.

    Attributes:
        objects: of each file what it is in the bucket, by its name in the dataset.
        folder: in JOB_DIR, of files that are wanted under their own names.
    """

    def __init__(self, bucket: Objects, what: str, folder: Path, journal: Journal, sources: Sources) -> None:
        """Fetches nothing yet.

        Args:
            bucket: that holds them.
            what: the dataset, for a message; two jobs do not fetch the same at a time.
            folder: JOB_DIR.
            journal: hears of the fetching.
            sources: where they are kept.

        Raises:
            StorageFailed: the cache cannot be used.
        """
        self.objects: dict[str, Object] = {}
        self.folder = folder / _PLACE
        self._bucket, self._what, self._journal = bucket, what, journal
        self._shared = sources.fetched or replace(_OWN, folder=str(self.folder / _OWN.folder))
        self._cache = cache_of(self._shared, folder)

    def fetch(self, wanted: Sequence[Object]) -> list[Piece]:
        """Returns where the content of objects lies. Raises as `storage.fetching.fetch`."""
        with self._cache.turn(self._what, self._journal.check):
            return fetch(self._bucket, wanted, self._cache, self._shared.max_bytes, self._journal)

    def bring(self, names: Sequence[str]) -> list[Path]:
        """Returns where files that are not pictures can be read under their own names. Raises as `fetch`, and BadDataset."""
        if missing := [name for name in names if name not in self.objects]:
            raise BadDataset(f"There is no {missing[0]!r} in {self._what}: check the range, or the manifest, that names it.")
        pieces = self.fetch([self.objects[name] for name in names])
        return [self._brought(name, piece) for name, piece in zip(names, pieces, strict=True)]

    def completed(self, listing: Listing) -> Listing:
        """Returns the listing with files that can be read; fetches the pictures that it names.

        Raises:
            BadDataset: a picture was changed meanwhile, or none is there.
            StorageFailed: a picture cannot be fetched, or kept.
        """
        wanted = [self.objects[file.name] for file in listing.files if file.name in self.objects]
        if not wanted:
            raise BadDataset(
                f"None of the {len(listing.files):,} files that the manifest of {self._what} names is there, such as "
                f"{listing.files[0].name!r}; a path is relative to the manifest's folder."
            )
        pieces = {found.key: piece for found, piece in zip(wanted, self.fetch(wanted), strict=True)}
        files = []
        for file in listing.files:
            found = self.objects.get(file.name)
            if found is None:  # reading it will tell
                files.append(file)
            else:
                piece = pieces[found.key]
                files.append(replace(file, path=piece.path, start=piece.start, size_bytes=piece.size_bytes, sha256=piece.sha256))
        return replace(listing, files=tuple(files))

    def _brought(self, name: str, piece: Piece) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        if piece.start == 0 and piece.path.stat().st_size == piece.size_bytes:
            path.symlink_to(piece.path.absolute())
        else:
            with piece.path.open("rb") as pack:
                pack.seek(piece.start)
                path.write_bytes(pack.read(piece.size_bytes))
        return path


def open_bucket(url: str) -> Objects:
    """Returns a bucket, or what is below a prefix of it; asks nothing of it yet. Raises StorageFailed."""
    from eyasd.storage.bucket_reader import BucketReader  # noqa: PLC0415 - obstore takes a tenth of a second

    return BucketReader(url)


def discard(folder: Path, sources: Sources) -> None:
    """Removes what was fetched into JOB_DIR, and uses nothing of the cache any more."""
    if not (folder / _PLACE).exists():
        return
    if sources.fetched:
        cache = cache_of(sources.fetched, folder)
        cache.release()
        cache.close()
    shutil.rmtree(folder / _PLACE)


def cache_of(shared: SharedCache, folder: Path) -> ObjectCache:
    """Returns the cache of fetched objects, as the job of JOB_DIR uses it."""
    return ObjectCache(Path(shared.folder), shared.max_bytes, str(folder.absolute()))
