"""A folder of shards that jobs share, bounded in size. A shard is a file of decoded pictures: whole, or not there.

A shard is rows of uint8, an index that is the caller's, and a trailer with the index's length and digest. It is written under a
draft's name, flushed, and renamed. Who writes or maps a file holds a lock on it, in the kernel's sense, so that a crash frees it
and a file in use is told from one that nobody needs. Removing a file that is mapped does no harm on Linux: its pages stay.
Knows bytes, not pictures.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import math
import os
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import numpy as np
from numpy.typing import NDArray

from eyasd.training import durable
from eyasd.training.journal import Journal

_SHARD: Final = ".pictures"
_NOTE: Final = ".note"
_DRAFT: Final = ".draft"
_LOCK: Final = "lock"
# Length of the index, its SHA-256, and that this is a shard of the first format.
_TRAILER: Final = struct.Struct("<Q32s8s")
_MAGIC: Final = b"EYASROW1"
_INDEX_ROW_BYTES: Final = 512  # what is set aside for it; usually half of that is needed
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_LOOK_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class Shard:
    """A whole shard, mapped.

    Attributes:
        images: uint8 [N, H, W, 3], read only; keeps the shard from being removed for as long as it lives.
        index: what its writer noted of the rows.
        path: of its file.
    """

    images: NDArray[np.uint8]
    index: bytes
    path: Path


class Shelf:
    """The folder, as one process sees it."""

    def __init__(self, folder: Path, max_bytes: float = math.inf) -> None:
        """Makes the folder if need be; none but its owner may look into it.

        Args:
            folder: on a local disk.
            max_bytes: of all its files; the least recently used ones go first.
        """
        self._folder, self._max_bytes = folder, max_bytes
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def find(self, name: str, px: int) -> Shard | None:
        """Returns the shard of that name, of pictures of px x px pixels; None where there is none, or it is damaged."""
        try:
            path = self._folder / (name + _SHARD)
            with path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH)  # the mapping holds a copy of the descriptor, and with it the lock
                os.utime(file.fileno())  # now it is the most recently used
                return _read(path, file, px)
        except FileNotFoundError:
            return None

    def shards(self, prefix: str, px: int) -> Iterator[Shard]:
        """Yields the shards whose names begin so, the latest first. They may be removed meanwhile, and stay readable."""
        paths = sorted(self._folder.glob(prefix + "*" + _SHARD), key=_used_ns, reverse=True)
        for path in paths:
            with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
                if shard := _read(path, file, px):
                    yield shard

    @contextlib.contextmanager
    def turn(self, name: str, journal: Journal) -> Iterator[Draft]:
        """Waits until no other process is at the same work, and gives an empty draft, which goes unless it is published."""
        path = self._folder / f".{name}{_DRAFT}"
        waits = False
        while (file := _taken(path)) is None:
            if not waits:
                journal.message("Waits for another job, which decodes the same pictures.")
            waits = True
            journal.check()
            time.sleep(_LOOK_SECONDS)
        draft = Draft(self, path, file)
        try:
            yield draft
        finally:
            draft.close()

    def read(self, name: str) -> bytes | None:
        """Returns the note of that name; None where there is none."""
        path = self._folder / (name + _NOTE)
        try:
            content = path.read_bytes()
            os.utime(path)
        except FileNotFoundError:
            return None
        return content

    def write(self, name: str, content: bytes) -> None:
        """Writes a note: some file beside the shards, which may be removed like them, at any time."""
        with self._alone():
            durable.write(self._folder / (name + _NOTE), content)

    def allocate(self, file: IO[bytes], size_bytes: int) -> None:
        """Makes a draft that large, full of zeros; removes what was not used for long where there is no room.

        Raises:
            OSError: there is no room even so.
        """
        with self._alone():
            found = self._files()
            used = sum(path_bytes for _, path_bytes in found)
            for path, path_bytes in found:
                dead = path.suffix == _DRAFT  # if nobody holds it
                if not dead and used + size_bytes <= self._max_bytes and _allocated(file, size_bytes):
                    return
                if _remove_idle(path):
                    used -= path_bytes
            if used + size_bytes > self._max_bytes:
                raise OSError(
                    errno.EDQUOT,
                    f"{size_bytes / 1e9:.1f} GB are needed, and of training.cache_bytes = {self._max_bytes / 1e9:g} GB other jobs "
                    f"use {used / 1e9:.1f} GB",
                )
            os.posix_fallocate(file.fileno(), 0, size_bytes)

    def publish(self, draft: Path, name: str) -> None:
        """Gives a draft that is whole and flushed its name."""
        with self._alone():
            draft.rename(self._folder / (name + _SHARD))
        durable.sync(self._folder)

    def _files(self) -> list[tuple[Path, int]]:
        """Returns the files and their sizes: drafts, then what was used least recently. Foreign files are none of ours."""
        found = []
        for path in self._folder.iterdir():
            if path.suffix in (_SHARD, _NOTE, _DRAFT):
                with contextlib.suppress(FileNotFoundError):
                    status = path.stat()
                    found.append((path.suffix != _DRAFT, status.st_mtime_ns, path, status.st_size))
        return [(path, size_bytes) for *_, path, size_bytes in sorted(found)]

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keeps other processes from making and removing files for a moment."""
        with (self._folder / _LOCK).open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


class Draft:
    """A shard that is being written, by this process alone."""

    def __init__(self, shelf: Shelf, path: Path, file: IO[bytes]) -> None:
        self._shelf, self._path, self._file = shelf, path, file
        self._images: NDArray[np.uint8] | None = None
        self._once = threading.Lock()
        self._published = False

    def images(self, count: int, px: int) -> NDArray[np.uint8]:
        """Returns uint8 [count, px, px, 3] to write to, black at first; the first call takes the space for it.

        Raises:
            OSError: there is none. Without this a full disk would show itself as a bus error in the middle of a write.
        """
        with self._once:
            if self._images is None:
                self._shelf.allocate(self._file, count * (px * px * 3 + _INDEX_ROW_BYTES) + _TRAILER.size)
                self._images = np.memmap(self._file, np.uint8, "r+", shape=(count, px, px, 3))
            return self._images

    def publish(self, name: str, index: bytes) -> None:
        """Makes the shard whole, and then known under its name."""
        if self._images is None:
            raise ValueError("nothing was written")
        self._file.seek(self._images.nbytes)
        self._file.write(index + _TRAILER.pack(len(index), hashlib.sha256(index).digest(), _MAGIC))
        self._file.truncate()
        self._images.flush()  # type: ignore[attr-defined]  # a memmap has it
        os.fsync(self._file.fileno())
        self._shelf.publish(self._path, name)
        self._published = True
        fcntl.flock(self._file, fcntl.LOCK_SH)  # whoever waits for it may read it now

    def close(self) -> None:
        """Removes the draft unless it was published, and lets the next one have its turn."""
        try:
            if not self._published:
                self._path.unlink(missing_ok=True)
        finally:
            if (
                not self._published
            ):  # a mapping that somebody still has would hold the lock, and keep this process, too, from the turn
                fcntl.flock(self._file, fcntl.LOCK_UN)
            self._file.close()


def _read(path: Path, file: IO[bytes], px: int) -> Shard | None:
    """Returns the shard, if all of it is there; what can be told without reading the rows."""
    status = os.fstat(file.fileno())
    row_bytes = px * px * 3
    if status.st_nlink == 0 or status.st_size < row_bytes + _TRAILER.size:
        return None
    file.seek(-_TRAILER.size, os.SEEK_END)
    index_bytes, digest, magic = _TRAILER.unpack(file.read())
    rows_bytes = status.st_size - _TRAILER.size - index_bytes
    if magic != _MAGIC or rows_bytes <= 0 or rows_bytes % row_bytes:
        return None
    file.seek(rows_bytes)
    index = file.read(index_bytes)
    if hashlib.sha256(index).digest() != digest:
        return None
    return Shard(np.memmap(file, np.uint8, "r", shape=(rows_bytes // row_bytes, px, px, 3)), index, path)


def _taken(path: Path) -> IO[bytes] | None:
    """Returns the file at the path, empty and locked; None where another process has it."""
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(file.fileno()), path.stat()):
            file.truncate(0)
            return file
    except (BlockingIOError, FileNotFoundError):
        pass
    except OSError:  # of the disk: else whoever holds the error holds the lock
        file.close()
        raise
    file.close()  # or it was published, or removed, before it was locked
    return None


def _allocated(file: IO[bytes], size_bytes: int) -> bool:
    """Takes space for a file; returns whether the disk had it."""
    try:
        os.posix_fallocate(file.fileno(), 0, size_bytes)
    except OSError as error:
        file.truncate(0)
        if error.errno not in _FULL:
            raise
        return False
    return True


def _remove_idle(path: Path) -> bool:
    """Removes a file that nobody uses; returns whether it did."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            idle = os.path.samestat(os.fstat(file.fileno()), path.stat())  # else it was replaced before it was locked
            if idle:
                path.unlink()
            return idle
    except (BlockingIOError, FileNotFoundError):
        return False


def _used_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0
