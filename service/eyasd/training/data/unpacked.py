"""The folder into which an archive expands: what may be in it, and how much.

Only folders and plain files are made, each anew, so that nothing can be written through a link or over another file. Knows
nothing of zip and tar.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Final

from eyasd.core.errors import BadDataset
from eyasd.core.names import UNSEEN
from eyasd.training.data.listing import as_text
from eyasd.training.data.tree import MAX_DEPTH, is_hidden
from eyasd.training.journal import Journal

# ImageNet-1k has 1.4 million files; a million more cost the folder's file system and this process's memory about 1 GB each.
MAX_ENTRIES: Final = 2_000_000
# ImageNet-21k has 1.3 TB. Below that, the size of the job's disk is the limit.
MAX_BYTES: Final = 2 * 1024**4
# Pictures are compressed already: an archive of them expands by a few per cent, one of uncompressed bitmaps tenfold. Small
# archives may expand further, as one of plain drawings does; a GiB is written in seconds.
MAX_RATIO: Final = 100
FREE_BYTES: Final = 1024**3
# A header of a tar is read at once, too; those that describe a file in some KiB are rare.
PIECE_BYTES: Final = 64 * 1024


class Unpacked:
    """Where the files go, and how many there may be.

    Attributes:
        place: the folder.
        limit_bytes: what the archive may expand to.
        files: written so far.
        total_bytes: of these.
    """

    def __init__(self, place: Path, archive: str, file: IO[bytes], status: os.stat_result, journal: Journal) -> None:
        self.place = place
        self._archive = archive
        self._file = file
        self._status = status
        self._journal = journal
        self._entries = 0
        self.limit_bytes = min(MAX_BYTES, max(FREE_BYTES, MAX_RATIO * status.st_size))
        self.files = self.total_bytes = 0

    def check_size(self, size_bytes: int) -> None:
        """Refuses an archive that expands to more than it may."""
        if size_bytes > self.limit_bytes:
            raise BadDataset(
                f"The archive {self._archive!r} expands to more than {self.limit_bytes:,} bytes, which none of "
                f"{self._status.st_size:,} bytes may: unpack it yourself, and name the folder."
            )

    def path_of(self, name: str) -> Path | None:
        """Returns where an entry goes; None where it is hidden.

        Args:
            name: as the archive has it; lone surrogates stand for bytes that are not UTF-8.
        """
        self._count()
        self._journal.advance(self._file.tell() / self._status.st_size)
        parts = inner_parts(name, self.refusal)
        if parts is None:
            return None
        return self.place.joinpath(*parts)

    def refusal(self, name: str, why: str) -> BadDataset:
        """Returns the error that names an entry and says what is wrong with it."""
        return BadDataset(f"The archive {self._archive!r} holds {as_text(name)[:200]!r}, {why}.")

    def put(self, path: Path, name: str, content: IO[bytes] | None) -> None:
        """Makes a folder, which may be there already, or a new file; counts what the file is made of.

        Args:
            path: from `path_of`.
            name: the entry's, for a message.
            content: None is a folder.
        """
        try:
            self._make(path if content is None else path.parent)
            if content is not None:
                self._write(path, content)
        except OSError as error:
            if error.errno in {errno.EEXIST, errno.ENOTDIR, errno.EISDIR}:
                raise self.refusal(name, "and something else of that name; remove one") from None
            if error.errno == errno.ENAMETOOLONG:
                raise self.refusal(name, "whose name is too long here; shorten it, and pack it again") from None
            raise

    def _count(self) -> None:
        """Counts what takes a place in the file system, where a folder takes 4 KiB, and the name of a file may make 32."""
        self._entries += 1
        if self._entries > MAX_ENTRIES:
            raise BadDataset(
                f"The archive {self._archive!r} has more than {MAX_ENTRIES:,} entries and folders: unpack it, and name the folder."
            )

    def _make(self, folder: Path) -> None:
        """Makes a folder, and those it lies in, unless they are there."""
        try:
            folder.mkdir()
        except FileNotFoundError:
            self._make(folder.parent)
            folder.mkdir()
        except FileExistsError:
            if not folder.is_dir():
                raise
            return
        self._count()

    def _write(self, path: Path, content: IO[bytes]) -> None:
        with path.open("xb") as file:
            while piece := content.read(PIECE_BYTES):
                self._journal.check()
                self.total_bytes += len(piece)
                self.check_size(self.total_bytes)
                file.write(piece)
        os.utime(path, ns=(self._status.st_mtime_ns, self._status.st_mtime_ns))
        self.files += 1


def inner_parts(name: str, refusal: Callable[[str, str], BadDataset]) -> list[str] | None:
    """Returns the folders that an entry lies in, and its own name; None where it is hidden.

    Args:
        name: as the archive has it; lone surrogates stand for bytes that are not UTF-8.
        refusal: returns the error, from the name and what is wrong with it.

    Raises:
        BadDataset: no file of a folder could be called so.
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        raise refusal(name, "whose name is not UTF-8; rename it, and pack it again") from None
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if name.startswith("/") or ".." in parts:
        raise refusal(name, "which would leave the archive's own folder; pack it again with paths relative to that folder")
    if "\\" in name or UNSEEN.search(name):
        raise refusal(name, "whose name has a character that no path may have; pack it again with '/' between folders")
    if not parts or any(map(is_hidden, parts)):
        return None
    if len(parts) > MAX_DEPTH:
        raise refusal(name, f"which lies in more than {MAX_DEPTH} folders; pack it again without them")
    return parts
