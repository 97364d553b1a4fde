"""What was in each file when it was read, for as long as the file is the same: no file is read twice to learn its digest."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from eyasd.core import document
from eyasd.training.data.listing import File, as_text
from eyasd.training.data.shelf import Shelf


@dataclass(frozen=True, slots=True)
class Stamp:
    """What changes when a file does. The time of its last change of any kind cannot be set back, that of its content can."""

    size_bytes: int
    modified_ns: int
    changed_ns: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> Stamp | None:
        """Returns the stamp of a file; None where there is none."""
        try:
            status = path.stat()
        except OSError:
            return None
        if not stat.S_ISREG(status.st_mode):
            return None
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


@dataclass(frozen=True, slots=True)
class _Sighting:
    stamp: Stamp
    sha256: str


@dataclass(frozen=True, slots=True)
class _Note:
    files: Mapping[str, _Sighting]


def location(file: File) -> str:
    """Returns where a file lies, and where in it, as text."""
    path = as_text(str(file.path.absolute()))
    return path if file.size_bytes is None else f"{path}/{file.start}+{file.size_bytes}"


class Digests:
    """The SHA-256 of files, from a note on the shelf: one for each place where datasets lie."""

    def __init__(self, files: Sequence[File], shelf: Shelf) -> None:
        """Looks at the files, and at what is known of them.

        Args:
            files: of one dataset.
            shelf: of the note.
        """
        self._shelf = shelf
        self._paths = list(map(location, files))
        looked = {path: Stamp.of(path) for path in {file.path for file in files}}  # once for all pieces of a file
        self._stamps = [looked[file.path] for file in files]
        place = os.path.commonpath(self._paths)  # the same when a file comes or goes
        self._name = hashlib.sha256(place.encode()).hexdigest()[:32]
        self._known = self._read()
        sightings = map(self._known.get, self._paths)
        self.known = [seen.sha256 if seen and seen.stamp == now else "" for seen, now in zip(sightings, self._stamps, strict=True)]
        """Of each file: hexadecimal, "" where the file is new or has changed."""

    def learn(self, digests: Sequence[str]) -> None:
        """Notes the digest of each file, "" where it could not be read; of no use if that fails, and no harm."""
        seen = zip(self._paths, self._stamps, digests, strict=True)
        files = {path: _Sighting(stamp, sha256) for path, stamp, sha256 in seen if stamp and sha256}
        if files != self._known:
            with contextlib.suppress(OSError):
                self._shelf.write(self._name, document.dump(_Note(files)).encode())

    def _read(self) -> Mapping[str, _Sighting]:
        try:
            content = self._shelf.read(self._name)
            return document.load(_Note, content).files if content else {}
        except ValueError:  # it is damaged
            return {}
