"""The content of uploaded datasets, each kept once, under its SHA-256; and what has come of it so far.

Small content comes whole. Large content comes in pieces, into a file of the staging folder; what a broken stream leaves there is
kept, and the next stream goes on behind it, also if the one before has not noticed yet that it is broken. Nothing is content before
its digest is checked. Safe to use from several threads.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Final

from eyasd.core import room
from eyasd.core.datasets import Blob
from eyasd.core.errors import DigestMismatch, InvalidArgument, StorageFailed, UploadConflict
from eyasd.registry.usage import Usage
from eyasd.storage.store import BlobStore

_PIECE_BYTES: Final = 1024 * 1024
_PART: Final = ".part"
# An object store answers one question in tens of milliseconds, and many at a time.
_ASKING: Final = 32
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
        for left in _files(staging):
            if left.suffix != _PART and not _is_held(left):
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
            raise _mismatch(blob)
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
        with _as_storage_failure(self.staging):
            self.staging.mkdir(parents=True, exist_ok=True)
            with self._parts:
                known = self._arriving.get(blob.sha256)
                if offset and known is not None:
                    arrival = known.taken_over(offset)
                else:
                    arrival = Arrival(self, blob, self._place(blob, offset))
                if offset or known is None:
                    self._arriving[blob.sha256] = arrival
            arrival.read_back(offset)
            return arrival

    def left(self, arrival: Arrival) -> None:
        """Keeps what came of content, for a stream to come, unless more of it is kept already."""
        with _as_storage_failure(self.staging), self._parts:
            self._forget(arrival)
            self.usage.release(_keep(arrival.place, self._part(arrival.blob)))

    def ended(self, arrival: Arrival, released: int) -> None:
        """Removes what came of content; so much of it is not content now."""
        with _as_storage_failure(self.staging), self._parts:
            self._forget(arrival)
            self.usage.release(released)
            arrival.place.unlink(missing_ok=True)

    def forget_parts(self, older_than_seconds: float) -> None:
        """Removes what came of content that nobody went on with for so long."""
        with _as_storage_failure(self.staging), self._parts:
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
        if self._arriving.get(arrival.blob.sha256) is arrival:
            del self._arriving[arrival.blob.sha256]

    def _part(self, blob: Blob) -> Path:
        return self.staging / f"{blob.sha256}{_PART}"

    def _count(self) -> int:
        return sum(found.size_bytes for found in self.store.find("blobs")) + sum(_size(file) or 0 for file in _files(self.staging))


class Arrival:
    """Content that comes in pieces, one after another. Belongs to one stream, until another one takes it over."""

    def __init__(self, blobs: Blobs, blob: Blob, place: Path) -> None:
        self._blobs, self.blob, self.place = blobs, blob, place
        self.received = 0
        self._digest = hashlib.sha256()
        self._lock = threading.Lock()
        self._is_over = False
        self._file = FileIO(place, "a+")
        fcntl.flock(self._file, fcntl.LOCK_EX)

    @property
    def is_whole(self) -> bool:
        """Whether all of it has come."""
        return self.received == self.blob.size_bytes

    def taken_over(self, offset: int) -> Arrival:
        """Returns what goes on in its stead. Raises UploadConflict where so many bytes are not there."""
        with self._lock:
            if self._is_over or self.received != offset:
                raise conflict(self.blob, offset)
            self._is_over = True
            self._file.close()
            taken = Arrival(self._blobs, self.blob, self.place)
            taken.received, taken._digest = self.received, self._digest
        return taken

    def read_back(self, size_bytes: int) -> None:
        """Reads what came of it in an earlier stream, if this one does not know that."""
        with self._lock:
            self._file.seek(self.received)
            while self.received < size_bytes and (piece := self._file.read(min(_PIECE_BYTES, size_bytes - self.received))):
                self._note(piece)

    def add(self, content: bytes) -> None:
        """Takes the next piece. Raises DigestMismatch where it is too long, UploadConflict, UploadTooLarge, StorageFailed."""
        if self.received + len(content) > self.blob.size_bytes:
            self.discard()
            raise _mismatch(self.blob)
        with self._lock, _as_storage_failure(self.place.parent):
            if self._is_over:
                raise conflict(self.blob, self.received)
            self._blobs.usage.reserve(len(content))
            try:
                _write(self._file, content)
            except OSError:
                self._blobs.usage.release(len(content))
                self._file.truncate(self.received)
                raise
            self._note(content)

    def finish(self) -> None:
        """Makes it content, now that it is whole. Raises DigestMismatch, UploadConflict, StorageFailed."""
        if self._digest.hexdigest() != self.blob.sha256:
            self.discard()
            raise _mismatch(self.blob)
        if not self._close():
            raise conflict(self.blob, self.received)
        try:
            created = self._blobs.store.create_from(self.blob.key, self.place)
        except StorageFailed:
            self._blobs.left(self)
            raise
        self._blobs.ended(self, 0 if created else self.received)

    def discard(self) -> None:
        """Removes what came of it."""
        if self._close():
            self._blobs.ended(self, self.received)

    def leave(self) -> None:
        """Keeps what came of it, for the next stream."""
        if self._close():
            self._blobs.left(self)

    def _close(self) -> bool:
        """Ends it, and returns whether that was still to be done."""
        with self._lock:
            self._file.close()
            was_over, self._is_over = self._is_over, True
        return not was_over

    def _note(self, piece: bytes) -> None:
        self._digest.update(piece)
        self.received += len(piece)


def conflict(blob: Blob, offset: int) -> UploadConflict:
    """Returns the error for a piece that begins elsewhere than what is there ends."""
    return UploadConflict(f"No {offset:,} bytes of {blob.sha256} are there, or another stream goes on: ask what is missing.")


def _keep(file: Path, part: Path) -> int:
    """Makes a file the part that is kept of some content, or removes it if the other one is larger; returns the bytes removed."""
    size, kept = _size(file) or 0, _size(part)
    if size == 0 or (kept is not None and kept >= size):
        file.unlink()
        return size
    file.replace(part)
    return kept or 0


def _is_held(file: Path) -> bool:
    """Tells whether a daemon is receiving into a file."""
    with FileIO(file, "r") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _size(file: Path) -> int | None:
    try:
        return file.stat().st_size
    except OSError:
        return None


def _write(file: FileIO, content: bytes) -> None:
    if file.write(content) != len(content):  # the disk took a part of it
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _files(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _mismatch(blob: Blob) -> DigestMismatch:
    return DigestMismatch(
        f"What was sent is not the content {blob.sha256} of {blob.size_bytes:,} bytes: send it again, or read the file anew.",
        sha256=blob.sha256,
    )


@contextmanager
def _as_storage_failure(staging: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageFailed(
            f"An upload could not be written: {room.told(error, staging)}. Free or mend the disk of data_dir, then try again."
        ) from error
