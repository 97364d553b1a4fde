"""Contents by their SHA-256, as files in a folder that several processes and machines may share; bounded in size.

A file is called by its SHA-256, in hexadecimal, and is compared with it whenever it is read: what is cut, spoilt or put there by
somebody else is never returned. So nothing needs an index, nor a lock beyond those of `LocalStore`, and the folder may lie on a
network's file system. What was not used for longest goes for what is new; nobody holds a file, so any may go at any time. Files of
other names are left alone.
"""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from eyasd.core import room
from eyasd.core.errors import StorageFailed
from eyasd.storage.local import LocalStore

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
# A writer at work holds a lock on what he writes; where the file system has none, he adds to it more often than this.
_LEFT_SECONDS: Final = 60.0


class Damaged(Exception):
    """A file was not what its name says, and has been removed."""


@dataclass(frozen=True, slots=True, order=True)
class _Held:
    used: float
    size_bytes: int
    digest: str


class Contents:
    """The contents in one folder. Safe to use from several threads."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        """Touches nothing yet.

        Args:
            folder: is made when something is kept.
            max_bytes: most that is kept, in bytes; several that write at a time may exceed it by what they write.
        """
        self.folder, self.max_bytes = folder, max_bytes
        self._store = LocalStore(folder)

    def find(self, digest: str) -> bytes | None:
        """Returns the content of a SHA-256, hexadecimal; None where it is not kept.

        Raises:
            Damaged: what was kept is something else.
            StorageFailed: the folder cannot be read.
        """
        try:
            content = self._store.read(digest)
        except FileNotFoundError:
            return None
        except StorageFailed as error:
            raise self._failed(error) from error
        if hashlib.sha256(content).hexdigest() != digest:
            with suppress(OSError):
                self._remove(digest)
            raise Damaged(digest)
        with suppress(OSError):  # it has gone by now, or the folder may only be read
            os.utime(self.folder / digest)
        return content

    def keep(self, digest: str, content: bytes) -> None:
        """Keeps the content of a SHA-256, hexadecimal, unless it is larger than all that may be kept.

        Raises:
            StorageFailed: the folder cannot be written, or its disk is full of other things.
        """
        if len(content) > self.max_bytes:
            return
        try:
            self._store.sweep(_LEFT_SECONDS)
            if self._store.size(digest) != len(content):  # else another has kept it meanwhile, and nothing need go for it
                self._make_room(len(content))
                self._write(digest, content)
        except (OSError, StorageFailed) as error:
            raise self._failed(error) from error

    def try_out(self) -> tuple[int, int]:
        """Proves that the folder can be written to; returns how many contents are kept, and their bytes. Raises StorageFailed."""
        nothing = hashlib.sha256().hexdigest()
        self.keep(nothing, b"")
        try:
            self._remove(nothing)
            sizes = [one.size_bytes for one in self._held()]
        except OSError as error:
            raise self._failed(error) from error
        return len(sizes), sum(sizes)

    def _write(self, digest: str, content: bytes) -> None:
        """Writes a content; where the disk is full others go for it, but no more than it takes: the room may be somebody else's."""
        freed = 0
        while True:
            try:
                self._store.create(digest, content)
            except StorageFailed as error:
                is_full = isinstance(error.__cause__, OSError) and error.__cause__.errno in room.FULL
                held = self._held() if is_full and freed < len(content) else []
                if not held:
                    raise
                oldest = min(held)
                self._remove(oldest.digest)
                freed += oldest.size_bytes
            else:
                return

    def _make_room(self, size_bytes: int) -> None:
        """Removes what was not used for longest, until there is that much room below the bound."""
        held = sorted(self._held())
        kept = sum(one.size_bytes for one in held)
        for one in held:
            if kept + size_bytes <= self.max_bytes:
                return
            self._remove(one.digest)
            kept -= one.size_bytes

    def _held(self) -> list[_Held]:
        found = []
        with suppress(FileNotFoundError), os.scandir(self.folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # another has removed it
                    if _DIGEST.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                        status = entry.stat()
                        found.append(_Held(status.st_mtime, status.st_size, entry.name))
        return found

    def _remove(self, digest: str) -> None:
        (self.folder / digest).unlink(missing_ok=True)

    def _failed(self, error: Exception) -> StorageFailed:
        cause = error.__cause__ if isinstance(error, StorageFailed) else error
        said = room.told(cause, self.folder) if isinstance(cause, OSError) else str(error)
        return StorageFailed(f"{self.folder} cannot be used: {said}. Free or mend its disk.")
