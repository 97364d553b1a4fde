"""Uploaded datasets: names with numbered versions, each a list of files whose content is kept once for all.

    blobs/12/12ab...                content by its SHA-256, see `registry.blobs`; a version's list of files is content, too
    names/NAME/00000001.json        a version, a `DatasetRecord`; created if absent, and with it the dataset exists
    names/NAME/00000001.deleted     likewise, of one that was deleted: its number is not given again
    pending/ID                      a list of files that is about to become a version: what it names is not collected
    doomed/ID                       content that is about to be collected, see `registry.collection`

A version is made only of content that is there, and what it names stays for as long as it exists.
"""

from __future__ import annotations

import secrets
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Final

from eyasd.core import document, room
from eyasd.core.datasets import MAX_LINE_BYTES, Blob, DatasetFile, DatasetRecord, UploadedDataset, read_manifest
from eyasd.core.errors import (
    ContentMissing,
    DatasetConflict,
    InvalidArgument,
    StorageFailed,
    Unavailable,
    UploadNotFound,
    UploadTooLarge,
)
from eyasd.core.names import DatasetRef
from eyasd.registry.blobs import Blobs

PENDING: Final = "pending"
DOOMED: Final = "doomed"
# A collection takes a thousand at a time.
_PATIENCE_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 0.05
_ATTEMPTS: Final = 10
_BATCH: Final = 4096
_MORE_FOLDERS: Final = 1000  # than are asked for, before they are sorted


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetLimits:
    """What one dataset may have; see `config.DatasetsSettings`."""

    max_bytes: int
    max_files: int


class Datasets:
    """The datasets in a store."""

    def __init__(self, blobs: Blobs, limits: DatasetLimits) -> None:
        self.blobs = blobs
        self._store = blobs.store
        self._limits = limits
        self._known: dict[str, DatasetRecord] = {}  # by their keys; a record never changes, and its key is not given again

    def check_limits(self, files: int, size_bytes: int) -> None:
        """Refuses a dataset that has more than it may. Raises UploadTooLarge."""
        if files > self._limits.max_files:
            raise UploadTooLarge(
                f"The dataset has {files:,} files, and may have {self._limits.max_files:,}: pack them into an archive, or have the "
                "operator raise datasets.max_files."
            )
        if size_bytes > self._limits.max_bytes:
            raise UploadTooLarge(
                f"The dataset has {size_bytes:,} bytes, and may have {self._limits.max_bytes:,}: upload a part of it, or have the "
                "operator raise datasets.max_dataset_bytes."
            )

    def create(
        self, name: str, manifest: Blob, actor: str, made: Callable[[int], AbstractContextManager[object]] = nullcontext
    ) -> DatasetRecord:
        """Makes a version of content that has been uploaded; or returns the one that has the same files.

        Args:
            name: of the dataset; made where there is none.
            manifest: the list of its files.
            actor: who asks for it.
            made: of the bytes of all files and of the list: is around the making of a new version, and may refuse it.

        Raises:
            InvalidArgument: the list is wrong.
            ContentMissing: not all of its content is there.
            UploadTooLarge: it has more than it may.
            DatasetConflict: others were quicker, again and again.
        """
        with self._held(manifest):
            self._wait_while(lambda doomed: manifest.sha256 in doomed)
            if self._store.size(manifest.key) != manifest.size_bytes:
                raise ContentMissing(f"The list of files {manifest.sha256} is not there: upload it first.")
            files = size_bytes = 0
            for file in self.files(manifest, self._limits.max_files):
                files, size_bytes = files + 1, size_bytes + file.blob.size_bytes
            self.check_limits(files, size_bytes)
            self._wait_while(lambda doomed: any(file.blob.sha256 in doomed for file in self.files(manifest)))
            self._refuse_missing(manifest)
            for _ in range(_ATTEMPTS):
                if (same := self._of_content(name, manifest)) is not None:
                    return same
                number = max(self._numbers(name, ".json", ".deleted"), default=0) + 1
                record = DatasetRecord(number, manifest, files, size_bytes, datetime.now(UTC), actor)
                with made(size_bytes + manifest.size_bytes):
                    is_made = self._store.create(_key(name, number), document.dump(record).encode())
                if is_made:
                    return record
        raise DatasetConflict(f"Others make versions of the dataset {name!r} at the same moment: try again.")

    def names(self) -> list[str]:
        """Returns the datasets that have a version, sorted."""
        return sorted({name for name, _ in self._all()})

    def versions(self, name: str) -> list[DatasetRecord]:
        """Returns the versions of a dataset, oldest first; none where there is no such dataset."""
        records = (self._read(_key(name, number)) for number in self._numbers(name, ".json"))
        return [record for record in records if record is not None]

    def everything(self) -> Iterator[DatasetRecord]:
        """Yields the versions of all datasets."""
        for name, number in self._all():
            if (record := self._read(_key(name, number))) is not None:
                yield record

    def get(self, ref: DatasetRef) -> DatasetRecord:
        """Returns the version that is meant. Raises UploadNotFound."""
        numbers = self._numbers(ref.dataset, ".json")
        number = ref.version or (numbers[-1] if numbers else 0)
        record = self._read(_key(ref.dataset, number)) if number in numbers else None
        if record is None and ref.version and self._store.exists(_deleted(_key(ref.dataset, ref.version))):
            raise UploadNotFound(
                f"Version {ref.version} of the uploaded dataset {ref.dataset!r} was deleted: upload it again (`eyas upload`), or "
                "name another one (`eyas datasets`).",
                dataset=str(ref),
            )
        if record is None:
            known = ", ".join(self.names()[:10]) or "none yet"
            what = f"{ref.dataset!r} has no version {number}" if numbers else f"There is no uploaded dataset {ref.dataset!r}"
            raise UploadNotFound(
                f"{what}; the datasets are: {known}. Upload it (`eyas upload`); a folder of that name is ./datasets/{ref.dataset}.",
                dataset=str(ref),
            )
        return record

    def locate(self, ref: DatasetRef) -> UploadedDataset:
        """Returns where the files of a version are, for the training program. Raises UploadNotFound."""
        return UploadedDataset(self._store.address, self.get(ref).manifest)

    def files(self, manifest: Blob, max_files: int | None = None) -> Iterator[DatasetFile]:
        """Yields the files of a list. Raises InvalidArgument where it is none, or too long, StorageFailed where it is lost."""
        try:
            with tempfile.TemporaryFile() as content:  # it may be long
                self._store.read_into(manifest.key, content)
                content.seek(0)
                yield from read_manifest(iter(lambda: content.readline(MAX_LINE_BYTES), b""), max_files)
        except FileNotFoundError as error:
            raise StorageFailed(f"The list of files {manifest.sha256} is lost: upload the dataset again.") from error
        except OSError as error:
            folder = Path(tempfile.gettempdir())
            raise StorageFailed(
                f"{folder}, which lists of files go through, cannot be used: {room.told(error, folder)}. Free it, or set TMPDIR."
            ) from error

    def folders(self, manifest: Blob, most: int) -> list[tuple[str, int]]:
        """Returns the first folders that files lie in, sorted, and how many lie in each; "" is the dataset's own."""
        counts: Counter[str] = Counter()
        for file in self.files(manifest):
            counts[file.path.rpartition("/")[0]] += 1
            if len(counts) > most + _MORE_FOLDERS:  # there may be a million; those behind so many others stay there
                counts = Counter(dict(sorted(counts.items())[:most]))
        return sorted(counts.items())[:most]

    def delete(self, ref: DatasetRef) -> None:
        """Deletes a version, or all versions of a dataset; its content stays until it is collected. Raises UploadNotFound."""
        newest = self.get(ref)
        for record in [newest] if ref.version else self.versions(ref.dataset):
            key = _key(ref.dataset, record.version)
            self._store.create(_deleted(key), document.dump(record).encode())
            self._store.delete(key)

    def deleted(self) -> Iterator[DatasetRecord]:
        """Yields what is known of the versions that were deleted."""
        for name in self._store.children("names"):
            for number in self._numbers(name, ".deleted"):
                if (record := self._read(_deleted(_key(name, number)))) is not None:
                    yield record

    def _all(self) -> Iterator[tuple[str, int]]:
        """Yields the name and number of every version, by one listing: of an object store each takes tens of milliseconds."""
        for key in self._store.keys("names"):
            _, name, record = key.split("/")
            number, ending = record.split(".")
            if ending == "json":
                yield name, int(number)

    def _numbers(self, name: str, *endings: str) -> list[int]:
        return sorted(int(child.partition(".")[0]) for child in self._store.children(f"names/{name}") if child.endswith(endings))

    def _of_content(self, name: str, manifest: Blob) -> DatasetRecord | None:
        return next((record for record in self.versions(name) if record.manifest == manifest), None)

    def _read(self, key: str) -> DatasetRecord | None:
        if (known := self._known.get(key)) is not None:
            return known
        try:
            return self._known.setdefault(key, document.load(DatasetRecord, self._store.read(key)))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise StorageFailed(f"The record {key} is damaged ({error}): restore it from a copy.") from error

    @contextmanager
    def _held(self, manifest: Blob) -> Iterator[None]:
        """Is a block in which nothing that the list names is collected, unless that has begun already."""
        key = f"{PENDING}/{secrets.token_hex(8)}"
        self._store.create(key, document.dump(manifest).encode())
        try:
            yield
        finally:
            self._store.delete(key)

    def _wait_while(self, concerned: Callable[[set[str]], bool]) -> None:
        """Returns when none of the content that one is concerned about is doomed any more; some of it may be missing then."""
        end = time.monotonic() + _PATIENCE_SECONDS
        while (doomed := self._doomed()) and concerned(doomed):
            if time.monotonic() > end:
                raise Unavailable("Content that no dataset names is being removed, and some of this one with it: try again.")
            time.sleep(_LOOK_SECONDS)

    def _doomed(self) -> set[str]:
        found: set[str] = set()
        for child in self._store.children(DOOMED):
            try:
                found.update(self._store.read(f"{DOOMED}/{child}").decode().split())
            except FileNotFoundError:  # that part of the collection is over
                continue
        return found

    def _refuse_missing(self, manifest: Blob) -> None:
        missing = 0
        first = ""
        files = self.files(manifest)
        while some := list(islice(files, _BATCH)):
            for file, size in zip(some, self.blobs.sizes([file.blob for file in some]), strict=True):
                if size is None:
                    missing, first = missing + 1, first or file.path
                elif size != file.blob.size_bytes:
                    raise InvalidArgument(
                        "manifest_sha256",
                        f"The content of {file.path!r} has {size:,} bytes, not {file.blob.size_bytes:,} as listed.",
                    )
        if missing:
            raise ContentMissing(
                f"The content of {missing:,} files of the dataset is not there, such as that of {first!r}: upload it first."
            )


def _key(name: str, number: int) -> str:
    return f"names/{name}/{number:08d}.json"


def _deleted(key: str) -> str:
    return f"{key.removesuffix('.json')}.deleted"
