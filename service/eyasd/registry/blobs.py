"""The content of uploaded datasets, each kept once, under its SHA-256; and what has come of it so far.

Small content comes whole. Large content comes in pieces, into a file of the staging folder; what a broken stream leaves there is
kept, and the next stream goes on behind it, also if the one before has not noticed yet that it is broken. Nothing is content before
its digest is checked. Safe to use from several threads.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from eyasd.core.datasets import Blob
from eyasd.core.errors import InvalidArgument
from eyasd.core.locks import is_held
from eyasd.registry.arrival import Arrival, as_storage_failure, conflict, mismatch
from eyasd.registry.usage import Usage
from eyasd.storage.store import BlobStore

_PART: Final = ".part"
# An object store answers one question in tens of milliseconds, and many at a time.
_ASKING: Final = 64
# A disk answers so many in less time than it takes to hand one to a thread.
_CHUNK: Final = 8


class Blobs:
    """The content in a store, and the folder in which it arrives."""

    def __init__(self, store: BlobStore, staging: Path, max_bytes: int) -> None:
        """Takes up what an earlier daemon was receiving when it ended; what another one is receiving now holds a lock.

        Args:
            store: that keeps it.
            staging: folder that content arrives in; made when it is needed.
            max_bytes: of all content together, what is arriving included; 0 takes none.
        """
        self.store, self.staging = store, staging
        self.usage = Usage(max_bytes, self._count)
        self._parts = threading.Lock()
        self._arriving: dict[str, Arrival] = {}  # SHA-256 -> what receives it, and may be taken over
        self._open = set[Arrival]()  # the others, too
        for left in _files(staging):
            if left.suffix != _PART and not is_held(left):
                _keep(left, left.with_suffix(_PART))

    def missing(self, wanted: Sequence[Blob]) -> list[tuple[int, int]]:
        """Returns the place of each blob that is not there, and how many bytes of it have come.

        Raises:
            InvalidArgument: one that is there has another size.
            UploadTooLarge: there is no room for all that is missing.
        """
        found = []
        for place, (blob, size) in enumerate(zip(wanted, self.sizes(wanted), strict=True)):
            if size is None:
                found.append((place, self._received(blob)))
            elif size != blob.size_bytes:
                raise InvalidArgument(
                    "blobs",
                    f"The content {blob.sha256} has {size:,} bytes, not {blob.size_bytes:,}: one of the two is wrong.",
                )
        if found:
            self.usage.check(sum(wanted[place].size_bytes - received for place, received in found))
        return found

    def sizes(self, blobs: Sequence[Blob]) -> Iterator[int | None]:
        """Yields of each blob how many bytes are kept of it; None where it is not. Many are asked for at a time."""

        def some(start: int) -> list[int | None]:
            return [self.store.size(blob.key) for blob in blobs[start : start + _CHUNK]]

        with ThreadPoolExecutor(_ASKING) as pool:
            for sizes in pool.map(some, range(0, len(blobs), _CHUNK)):
                yield from sizes

    def put(self, blob: Blob, content: bytes) -> None:
        """Keeps content that came whole.

        Raises:
            DigestMismatch: it is not what its digest and size say.
            UploadTooLarge: there is no room for it.
            StorageFailed: the store could not be written.
        """
        if len(content) != blob.size_bytes or hashlib.sha256(content).hexdigest() != blob.sha256:
            raise mismatch(blob)
        self.usage.reserve(blob.size_bytes)
        created = False
        try:
            created = self.store.create(blob.key, content)
        finally:
            if not created:
                self.usage.release(blob.size_bytes)

    def arrive(self, blob: Blob, offset: int) -> Arrival:
        """Begins to receive content in pieces, the first of which begins at `offset`.

        Raises:
            UploadConflict: so many bytes of it are not there.
            UploadTooLarge: there is no room for the rest.
            StorageFailed: the staging folder could not be used.
        """
        self.usage.check(blob.size_bytes - offset)
        with as_storage_failure(self.staging):
            self.staging.mkdir(parents=True, exist_ok=True)
            with self._parts:
                known = self._arriving.get(blob.sha256)
                if offset and known is not None:
                    arrival = known.taken_over(offset)
                    self._open.discard(known)
                else:
                    arrival = Arrival(self, blob, self._place(blob, offset))
                if offset or known is None:
                    self._arriving[blob.sha256] = arrival
                self._open.add(arrival)
            arrival.read_back(offset)
            return arrival

    def left(self, arrival: Arrival) -> None:
        """Keeps what came of content for a stream to come, unless more of it is kept, or another stream has brought all."""
        with as_storage_failure(self.staging), self._parts:
            self._forget(arrival)
            if arrival.is_needless:
                self.usage.release(_removed(arrival.place))
            else:
                self.usage.release(_keep(arrival.place, self._part(arrival.blob)))

    def finished(self, arrival: Arrival, released: int) -> None:
        """Does what `ended` does of content that is whole, and leaves nothing of it to a stream to come."""
        self.ended(arrival, released)
        with as_storage_failure(self.staging), self._parts:
            self.usage.release(_removed(self._part(arrival.blob)))
            for other in self._open:
                other.is_needless |= other.blob == arrival.blob

    def ended(self, arrival: Arrival, released: int) -> None:
        """Removes what came of content; so much of it is not content now."""
        with as_storage_failure(self.staging), self._parts:
            self._forget(arrival)
            self.usage.release(released)
            arrival.place.unlink(missing_ok=True)

    def forget_parts(self, older_than_seconds: float) -> None:
        """Removes what came of content that nobody went on with for so long."""
        with as_storage_failure(self.staging), self._parts:
            for file in _files(self.staging):
                status = file.stat()
                if file.suffix == _PART and time.time() - status.st_mtime > older_than_seconds:
                    file.unlink()
                    self.usage.release(status.st_size)

    def delete(self, blobs: Sequence[Blob]) -> None:
        """Removes content, if it is there; many at a time."""

        def remove(blob: Blob) -> None:
            if self.store.exists(blob.key):
                self.store.delete(blob.key)
                self.usage.release(blob.size_bytes)

        with ThreadPoolExecutor(_ASKING) as pool:
            list(pool.map(remove, blobs))

    def _received(self, blob: Blob) -> int:
        with self._parts:
            known = self._arriving.get(blob.sha256)
            return known.received if known is not None else _size(self._part(blob)) or 0

    def _place(self, blob: Blob, offset: int) -> Path:
        """Returns a new stream's own file, which is the part that is kept where it goes on behind that."""
        place, part = self.staging / f"{blob.sha256}.{secrets.token_hex(4)}", self._part(blob)
        if offset:
            if _size(part) != offset:
                raise conflict(blob, offset)
            part.rename(place)
        return place

    def _forget(self, arrival: Arrival) -> None:
        self._open.discard(arrival)
        if self._arriving.get(arrival.blob.sha256) is arrival:
            del self._arriving[arrival.blob.sha256]

    def _part(self, blob: Blob) -> Path:
        return self.staging / f"{blob.sha256}{_PART}"

    def _count(self) -> int:
        return sum(found.size_bytes for found in self.store.find("blobs")) + sum(_size(file) or 0 for file in _files(self.staging))


def _removed(file: Path) -> int:
    """Removes a file, if there is one; returns how many bytes it had."""
    size = _size(file) or 0
    file.unlink(missing_ok=True)
    return size


def _keep(file: Path, part: Path) -> int:
    """Makes a file the part that is kept of some content, or removes it if the other one is larger; returns the bytes removed."""
    size, kept = _size(file) or 0, _size(part)
    if size == 0 or (kept is not None and kept >= size):
        file.unlink()
        return size
    file.replace(part)
    return kept or 0


def _size(file: Path) -> int | None:
    try:
        return file.stat().st_size
    except OSError:
        return None


def _files(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []
