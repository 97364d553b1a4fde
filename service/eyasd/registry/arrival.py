"""Content that comes in pieces, into a file of the staging folder, until it is whole and what its SHA-256 says."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Final

from eyasd.core import room
from eyasd.core.datasets import Blob
from eyasd.core.errors import DigestMismatch, StorageFailed, UploadConflict

if TYPE_CHECKING:
    from eyasd.registry.blobs import Blobs

_PIECE_BYTES: Final = 1024 * 1024


class Arrival:
    """Content that comes in pieces, one after another. Belongs to one stream, until another one takes it over.

    Attributes:
        blob: what it is to be.
        place: file that it comes into.
        received: how many bytes have come.
        is_needless: whether another stream has brought all of it meanwhile.
    """

    def __init__(self, blobs: Blobs, blob: Blob, place: Path) -> None:
        self._blobs, self.blob, self.place = blobs, blob, place
        self.received = 0
        self.is_needless = False
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
            taken.received, taken._digest, taken.is_needless = self.received, self._digest, self.is_needless
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
            raise mismatch(self.blob)
        with self._lock, as_storage_failure(self.place.parent):
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
            raise mismatch(self.blob)
        if not self._close():
            raise conflict(self.blob, self.received)
        try:
            created = self._blobs.store.create_from(self.blob.key, self.place)
        except StorageFailed:
            self._blobs.left(self)
            raise
        self._blobs.finished(self, 0 if created else self.received)

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


def mismatch(blob: Blob) -> DigestMismatch:
    """Returns the error for content that is not what it is called by."""
    return DigestMismatch(
        f"What was sent is not the content {blob.sha256} of {blob.size_bytes:,} bytes: send it again, or read the file anew.",
        sha256=blob.sha256,
    )


@contextmanager
def as_storage_failure(staging: Path) -> Iterator[None]:
    """Tells of a disk that fails in a sentence."""
    try:
        yield
    except OSError as error:
        raise StorageFailed(
            f"An upload could not be written: {room.told(error, staging)}. Free or mend the disk of data_dir, then try again."
        ) from error


def _write(file: FileIO, content: bytes) -> None:
    if file.write(content) != len(content):  # the disk took a part of it
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
