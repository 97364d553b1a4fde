"""Where back-ups are: a folder, or a bucket.

PLACE/blobs/SHA256           content, each once however many back-ups hold it
PLACE/backups/TIME.json      a back-up: what there was under which key, created last
"""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Final

from eyasd.core import document, room
from eyasd.core.bundle import MANIFEST
from eyasd.core.errors import StartupFailed, StorageFailed
from eyasd.storage.address import check_address, open_store
from eyasd.storage.local import LocalStore
from eyasd.storage.store import Store

FORMAT: Final = 1
# No content takes so long to write.
_STALE_SECONDS: Final = 86_400.0
# What leans on what: 0 is content, 1 a version's manifest, which names content, 2 a record that leads to versions or content.
RANKS: Final = (0, 1, 2)


@dataclass(frozen=True, slots=True)
class Kept:
    """One object of a back-up: the store that it is of, its key there, and its content."""

    store: str
    key: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """A back-up.

    Attributes:
        format: of this document.
        time: when it was begun, UTC.
        code_version: version of Eyas.
        objects: everything that the stores had.
        jobs: SHA-256 of what `jobs.export` wrote; "" where there was no database.
        jobs_count: how many there were.
        schema: step of the database's tables.
    """

    format: int
    time: datetime
    code_version: str
    objects: tuple[Kept, ...]
    jobs: str = ""
    jobs_count: int = 0
    schema: str = ""

    def __str__(self) -> str:
        """Returns what it holds, for a person."""
        megabytes = sum(one.size_bytes for one in self.objects) / 1e6
        return f"{len(self.objects):,} objects of {megabytes:,.1f} MB, {self.jobs_count:,} jobs"


class Digest:
    """A sink that keeps nothing of what it is given but the SHA-256."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def write(self, content: bytes) -> None:
        """See `Sink.write`."""
        self._hash.update(content)

    def __str__(self) -> str:
        """Returns it, hexadecimal."""
        return self._hash.hexdigest()


class Place:
    """A place of back-ups. Safe to use from several threads."""

    def __init__(self, name: str) -> None:
        """Connects to nothing yet.

        Args:
            name: a folder, or the address of a store.

        Raises:
            StartupFailed: it is neither.
        """
        self._name = name
        try:
            self._store: Store = open_store(check_address(name), Path()) if "://" in name else LocalStore(Path(name))
        except ValueError as error:
            raise StartupFailed(f"{error}.") from None

    def sweep(self) -> None:
        """Removes what back-ups that were killed have left half."""
        self._store.sweep(_STALE_SECONDS)

    def put(self, path: Path) -> tuple[str, bool]:
        """Returns the SHA-256 of a file's content, which the place gives back undamaged now, and whether it is new there.

        Raises:
            StorageFailed: it cannot be written, or is damaged as soon as it is.
        """
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if self._has(digest):
            return digest, False
        self._store.write_file(f"blobs/{digest}", path)
        if not self._has(digest):
            raise StorageFailed(f"{self._name} gave back something else than was put into it: mend it, then try again.")
        return digest, True

    def fetch(self, digest: str, file: IO[bytes]) -> None:
        """Writes a content to an empty file, and goes back to its beginning. Raises StartupFailed where it is damaged."""
        sink = Digest()
        try:
            self._store.read_into(f"blobs/{digest}", _Both(file, sink))
        except FileNotFoundError:
            raise StartupFailed(f"The back-up is damaged: blobs/{digest} is missing from {self._name}. Restore another.") from None
        if str(sink) != digest:
            raise StartupFailed(f"The back-up is damaged: blobs/{digest} in {self._name} was changed. Restore another.")
        file.flush()
        file.seek(0)

    def add(self, name: str, backup: Backup) -> None:
        """Takes down a back-up whose contents are there. Raises StorageFailed."""
        if not self._store.create(f"backups/{name}.json", document.dump(backup).encode()):
            raise StorageFailed(f"{self._name} has a back-up {name} already: try again.")

    def get(self, name: str | None) -> tuple[str, Backup]:
        """Returns a back-up and its name, None being the newest. Raises StartupFailed where there is none, or it is damaged."""
        names = [key.removesuffix(".json") for key in self._store.children("backups")]
        if name is None and names:
            name = names[-1]
        if name is None or name not in names:
            known = f"the newest are {', '.join(names[-5:])}" if names else "there is none at all"
            raise StartupFailed(f"There is no back-up{f' {name}' if name else ''} in {self._name}; {known}.")
        try:
            backup = document.load(Backup, self._store.read(f"backups/{name}.json"))
        except ValueError as error:
            raise StartupFailed(f"The back-up {name} in {self._name} is damaged ({error}): restore another with --name.") from error
        if backup.format != FORMAT:
            raise StartupFailed(f"The back-up {name} was made by Eyas {backup.code_version}: restore it with that version.")
        return name, backup

    def _has(self, digest: str) -> bool:
        """Returns whether the place has a content, undamaged."""
        sink = Digest()
        try:
            self._store.read_into(f"blobs/{digest}", sink)
        except FileNotFoundError:
            return False
        return str(sink) == digest


def rank(key: str) -> int:
    """Returns which of `RANKS` an object is of."""
    name = key.rpartition("/")[2]
    return 1 if name == MANIFEST else 2 if name.endswith(".json") else 0


def on_the_way(error: OSError) -> StorageFailed:
    """Returns what to tell where the folder in which copies are made on their way could not be used."""
    folder = Path(tempfile.gettempdir())
    return StorageFailed(f"{folder}, which copies go through, cannot be used: {room.told(error, folder)}. Free it, or set TMPDIR.")


class _Both:
    """A sink of two."""

    def __init__(self, file: IO[bytes], digest: Digest) -> None:
        self._file, self._digest = file, digest

    def write(self, content: bytes) -> None:
        self._file.write(content)
        self._digest.write(content)
