"""Opens a dataset, whatever it is and wherever it lies: a folder, a manifest, tar shards, or an archive of the first two."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from eyasd.core.errors import BadDataset
from eyasd.core.form import MANIFESTS, SHARD, Form, expanded, form_at
from eyasd.core.places import is_remote, place_of, real_roots
from eyasd.core.tasks import Sources
from eyasd.training.data import archive, fetched
from eyasd.training.data.listing import SPLIT_NAMES, Listing, is_picture, list_folder, names, split_of
from eyasd.training.data.remote import RemoteDataset
from eyasd.training.data.shards import Shard, read_shards, split_of_shard
from eyasd.training.data.table import MAX_ROWS, read_shard_table, read_table
from eyasd.training.data.tree import Folder, LocalFolder
from eyasd.training.data.uploaded import UploadInBucket, lay_out, uploaded_to, where_kept
from eyasd.training.journal import Journal

_CHECKED_FILES: Final = 1000
_SAID_FILES: Final = 100_000


@dataclass(frozen=True, slots=True)
class _Way:
    """How a dataset is read.

    Attributes:
        journal: hears of the progress.
        roots: see `File`.
        confined: whether a manifest may name nothing outside of its folder.
        known: whether the folder's pictures are names so far, of which only the reader of the bucket knows whether they exist.
    """

    journal: Journal
    roots: tuple[str, ...] = ()
    confined: bool = False
    known: bool = False


class _Count:
    """How many files were found so far, for whoever waits for millions."""

    def __init__(self, journal: Journal) -> None:
        self._journal, self._files = journal, 0

    def __call__(self) -> None:
        """Counts a file; says so now and then, and stops where that is wanted. Raises BadDataset where there are too many."""
        self._files += 1
        if self._files % _CHECKED_FILES == 0:
            self._journal.check()
        if self._files % _SAID_FILES == 0:
            self._journal.message(f"Found {self._files:,} files so far.")
        if self._files > MAX_ROWS:
            raise BadDataset(f"The dataset holds more than {MAX_ROWS:,} files: make several datasets of it.")


def open_dataset(dataset: str, folder: Path, journal: Journal, sources: Sources) -> Listing:
    """Lists the files of a dataset, those of a bucket once they are fetched, and begins the stage `audit`.

    Args:
        dataset: name of a folder, a manifest, shards or an archive; of no matter where JOB_DIR says that it was uploaded.
        folder: JOB_DIR, into which an archive is unpacked.
        journal: hears of the fetching and unpacking.
        sources: where datasets may lie, and where what is fetched is kept.

    Raises:
        DatasetNotFound: there is nothing of that name.
        InvalidArgument: it is none of these, or may not be read.
        BadDataset: it holds nothing that can be trained on or scored, or what it holds is wrong.
        StorageFailed: it cannot be fetched, or kept.
    """
    if uploaded := uploaded_to(folder):
        if is_remote(uploaded.store):
            journal.stage("fetch")
            upload = UploadInBucket(uploaded, folder, journal, sources)
            return _fetched(upload, upload.form, folder, journal)
        journal.stage("audit")
        path, form = lay_out(uploaded, folder, journal)
        root = LocalFolder(path if form is Form.FOLDER else path.parent)
        return where_kept(_open(root, path.name, form, folder, _Way(journal, confined=True)))
    place = place_of(dataset)
    form = form_at(place, sources.roots)
    if place.remote:
        journal.stage("fetch")
        return _fetched(RemoteDataset(place, form, folder, journal, sources), form, folder, journal)
    journal.stage("audit")
    path, roots = Path(place.path), real_roots(sources.roots)
    root = LocalFolder(path if form is Form.FOLDER else path.parent, roots)
    return _open(root, path.name, form, folder, _Way(journal, roots))


def discard(folder: Path, sources: Sources) -> None:
    """Removes from JOB_DIR what opening a dataset left there; the decoded pictures are all that is read from now on."""
    archive.discard(folder)
    fetched.discard(folder, sources)


def _fetched(there: RemoteDataset | UploadInBucket, form: Form, folder: Path, journal: Journal) -> Listing:
    listing = _open(there.root, there.name, form, folder, _Way(journal, confined=True, known=True))
    if form is not Form.ARCHIVE and listing.files[0].size_bytes is None:  # neither unpacked, nor pieces of shards
        listing = there.completed(listing)
    journal.stage("audit")
    return listing


def _open(root: Folder, name: str, form: Form, folder: Path, way: _Way) -> Listing:
    """Lists a dataset: the folder `root` itself, or what is called `name` in it."""
    match form:
        case Form.FOLDER:
            return _read_folder(root, way)
        case Form.MANIFEST:
            return _read_manifest(root, name, way)
        case Form.SHARDS:
            return _read_shards(root, [(shard, None) for shard in expanded(name)], way)
        case Form.ARCHIVE:
            (packed,) = root.bring([name])
            unpacked = archive.unpack(packed, folder, way.journal, way.roots)
            return _read_folder(_top(LocalFolder(unpacked)), _Way(way.journal, confined=True))


def _read_folder(root: Folder, way: _Way) -> Listing:
    """Lists a folder of class folders, or of shards, or what the one manifest says that lies in a folder without them.

    One folder alone is where a manifest's pictures lie, not a label. Two are labels, and a split's folder is one: they were read
    before there were manifests, so a table beside them changes nothing.
    """
    tables = _ending(root, MANIFESTS)
    inside = root.folders()
    if tables and len(inside) < 2 and not any(map(split_of, inside)):
        if len(tables) > 1:
            raise BadDataset(f"The dataset holds {len(tables)} manifests, {names(tables)}: name one, or leave one.")
        return _read_manifest(root, tables[0], way)
    if shards := _shards_in(root):
        return _read_shards(root, shards, way)
    listing = list_folder(root, way.roots, _Count(way.journal))
    if not tables:
        return listing
    warning = f"Left out {names(tables)}, beside class folders: to read a manifest, name it as the dataset."
    return replace(listing, warnings=(*listing.warnings, warning))


def _read_manifest(root: Folder, name: str, way: _Way) -> Listing:
    (path,) = root.bring([name])
    try:
        shards = read_shard_table(path, confined=way.confined, roots=way.roots)
        if shards is not None:
            return _read_shards(root, shards, way)
        return read_table(path, confined=way.confined, roots=way.roots, exists=(lambda _: True) if way.known else None)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        raise BadDataset(f"The manifest {name!r} is a link out of what this trainer may read: put the file in its place.") from None


def _shards_in(root: Folder) -> list[tuple[str, str | None]]:
    """Returns the shards of a folder that holds nothing else: in it, or in the folders of its splits."""
    inside = root.folders()
    if not inside:
        return [(name, None) for name in _ending(root, (SHARD,))]
    if all(folder.name.lower() in SPLIT_NAMES and not folder.folders() and _ending(folder, (SHARD,)) for folder in inside):
        return [(f"{folder.name}/{name}", None) for folder in inside for name in _ending(folder, (SHARD,))]
    return []


def _read_shards(root: Folder, shards: Sequence[tuple[str, str | None]], way: _Way) -> Listing:
    """Lists the pictures in shards: each a name relative to the folder, or absolute, and the split that a manifest gives it."""
    paths = root.bring([name for name, _ in shards])
    # A split is told by the names of all shards, or of none.
    told = [split_of_shard(name) for name, _ in shards]
    known = all(told)
    return read_shards(
        [
            Shard(name, path, split or (by_name if known else None))
            for (name, split), path, by_name in zip(shards, paths, told, strict=True)
        ],
        way.roots,
        way.journal,
    )


def _top(root: LocalFolder) -> LocalFolder:
    """Returns the folder of an archive that is the dataset: the one in which everything lies, as when a folder was packed."""
    while len(inside := root.folders()) == 1 and split_of(inside[0]) is None:
        loose = _ending(root, MANIFESTS) or any(map(is_picture, root.files()))
        # Else it is a label, or a manifest's folder of pictures.
        if loose or not (inside[0].folders() or _ending(inside[0], (*MANIFESTS, SHARD))):
            break
        root = inside[0]
    return root


def _ending(folder: Folder, suffixes: Sequence[str]) -> list[str]:
    return [name for name in folder.files() if name.lower().endswith(tuple(suffixes))]
