"""Unpacks a dataset's archive into the job's folder, and trusts nothing that it says of itself.

What the headers of an archive claim is checked; what it expands to is counted while it does. Knows nothing of labels.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import lzma
import os
import re
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, cast

from eyasd.core import document
from eyasd.core.errors import BadDataset, EyasError
from eyasd.training import durable
from eyasd.training.data.unpacked import PIECE_BYTES, Unpacked
from eyasd.training.journal import Interrupted, Journal

# A zip's directory is read at once: 2 million entries of 128 bytes.
_MAX_ZIP_PIECE: Final = 256 * 1024**2
_COMPRESSIONS: Final = ((0, b"\x1f\x8b", gzip.open), (4, b"1AY&SY", bz2.open), (0, b"\xfd7zXZ\0", lzma.open))
# Before Python 3.11.10 tarfile takes 6 s, on one core of an AMD EPYC, for a header of 64 KiB of digits, and there may be many. No
# name has more than 255 bytes.
_DIGITS: Final = re.compile(rb"\d{256}")
_PLACE: Final = "unpacked"
_MARK: Final = "unpacked.json"


@dataclass(frozen=True, slots=True)
class _Mark:
    """Says that an archive has been unpacked whole; written last.

    Attributes:
        size_bytes: of the archive.
        modified_ns: when the archive was last changed, nanoseconds since 1970.
        files: how many were written.
        total_bytes: of these.
    """

    size_bytes: int
    modified_ns: int
    files: int
    total_bytes: int


def unpack(archive: Path, folder: Path, journal: Journal) -> Path:
    """Unpacks an archive, or finds it unpacked by an earlier attempt.

    The files get the archive's own time of change: unpacked again, they are the same to whoever compares times.

    Args:
        archive: a zip file by its suffix `.zip`, else a tar file, whose compression shows in its first bytes.
        folder: JOB_DIR.
        journal: hears of the progress, and is asked whether to stop.

    Returns:
        The folder of the unpacked files, in JOB_DIR.

    Raises:
        BadDataset: the archive is damaged, cut short, encrypted or over a limit, or holds what a dataset does not. Nothing of it
            is left.
        OSError: the disk is full, or cannot be written.
    """
    place = folder / _PLACE
    status = archive.stat()
    if _unpacked_before(folder, status):
        journal.message(f"Took the files of {archive.name!r} from an earlier attempt.")
        return place
    discard(folder)
    try:
        place.mkdir()
        with archive.open("rb") as file, _damage_told(archive.name):
            target = Unpacked(place, archive.name, file, status, journal)
            (_unzip if archive.suffix.lower() == ".zip" else _untar)(file, target)
    except BaseException:
        discard(folder)
        raise
    mark = _Mark(status.st_size, status.st_mtime_ns, target.files, target.total_bytes)
    durable.write(folder / _MARK, document.dump(mark).encode())
    journal.message(f"Unpacked {mark.files:,} files of {mark.total_bytes / 1e6:,.1f} MB from {archive.name!r}.")
    return place


def discard(folder: Path) -> None:
    """Removes what `unpack` left in JOB_DIR, if it did."""
    (folder / _MARK).unlink(missing_ok=True)
    if (folder / _PLACE).exists():
        shutil.rmtree(folder / _PLACE)


def _unpacked_before(folder: Path, status: os.stat_result) -> bool:
    """Tells whether all files of this very archive are there, as far as their sizes say: power may have gone before they were."""
    try:
        mark = document.load(_Mark, (folder / _MARK).read_bytes())
    except (OSError, ValueError):
        return False
    sizes = [path.stat().st_size for path in (folder / _PLACE).rglob("*") if path.is_file()]
    return mark == _Mark(status.st_size, status.st_mtime_ns, len(sizes), sum(sizes))


def _unzip(file: IO[bytes], target: Unpacked) -> None:
    stream = cast("IO[bytes]", _Bounded(file, _MAX_ZIP_PIECE))
    with zipfile.ZipFile(stream, metadata_encoding="utf-8") as archive:
        for entry in archive.infolist():
            name = entry.orig_filename
            path = target.path_of(name)
            if path is None:
                continue
            if stat.S_IFMT(entry.external_attr >> 16) not in {0, stat.S_IFREG, stat.S_IFDIR}:
                raise target.refusal(name, "a link or a device; pack the files themselves")
            if entry.flag_bits & 0x1:
                raise target.refusal(name, "which is encrypted; pack it again without a password")
            if entry.is_dir():
                target.put(path, name, None)
                continue
            target.check_size(target.total_bytes + entry.file_size)
            with archive.open(entry) as content:
                target.put(path, name, content)


def _untar(file: IO[bytes], target: Unpacked) -> None:
    head = file.read(16)
    file.seek(0)
    opened = next((open_(file) for offset, magic, open_ in _COMPRESSIONS if head[offset:].startswith(magic)), file)
    stream = _Bounded(cast("IO[bytes]", opened), PIECE_BYTES, target)
    with tarfile.TarFile(fileobj=stream, encoding="utf-8", errors="surrogateescape") as archive:
        while (entry := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # of every entry so far, for lookups that are not made here
            if entry.size < 0:  # it would lead back to a header that was read before, without end
                raise target.refusal(entry.name, "whose size is negative; pack it again")
            path = target.path_of(entry.name)
            if path is None:
                continue
            if entry.islnk() or entry.issym():
                raise target.refusal(entry.name, "a link; pack the files themselves (tar --dereference --hard-dereference)")
            if entry.issparse() or not (entry.isreg() or entry.isdir()):
                raise target.refusal(entry.name, "neither a plain file nor a folder; leave it out")
            if hasattr(tarfile, "data_filter"):  # Python 3.11.4 and later: a second pair of eyes
                tarfile.data_filter(entry, str(target.place))
            stream.in_header = False
            target.put(path, entry.name, archive.extractfile(entry))
            stream.in_header = True
        stream.seek(archive.offset)
    # tarfile takes a damaged header for the end. The true end is a block of zeros, and more of them.
    rest = stream.read(tarfile.BLOCKSIZE)
    if len(rest) < tarfile.BLOCKSIZE:
        raise tarfile.ReadError("it has no end")
    while rest:
        if rest.strip(b"\0"):
            raise tarfile.ReadError("there is more after a bad header, or after its end")
        rest = stream.read(PIECE_BYTES)


class _Bounded(io.BufferedIOBase):
    """A stream for the standard library's readers, which ask for whatever a header claims.

    No piece may be large, and nothing may lie past what a target allows: what a reader skips has to be expanded, too.

    Attributes:
        in_header: whether what is read next describes files, rather than is what they hold.
    """

    def __init__(self, stream: IO[bytes], max_piece_bytes: int, target: Unpacked | None = None) -> None:
        self._stream = stream
        self._max_piece_bytes = max_piece_bytes
        self._target = target
        self.in_header = True

    def tell(self) -> int:
        return self._stream.tell()

    def seekable(self) -> bool:
        return True

    def seek(self, position: int, whence: int = os.SEEK_SET, /) -> int:
        self._check(position)
        return self._stream.seek(position, whence)

    def read(self, size: int | None = -1, /) -> bytes:
        if size == -1:  # zipfile's way to read the tail of the file
            size = self._max_piece_bytes
        if size is None or not 0 <= size <= self._max_piece_bytes:
            raise ValueError(f"a header claims {size} bytes of names")
        self._check(self.tell() + size)
        piece = self._stream.read(size)
        if self._target is not None and self.in_header and size > tarfile.BLOCKSIZE and _DIGITS.search(piece):
            raise ValueError("a header has a number of more than 255 digits")
        return piece

    def _check(self, position: int) -> None:
        if self._target is not None:
            self._target.check_size(position)


@contextmanager
def _damage_told(archive: str) -> Iterator[None]:
    """Turns what the readers raise on damaged archives, which is nearly anything, into the error to tell."""
    try:
        yield
    except (EyasError, Interrupted, MemoryError):
        raise
    except UnicodeDecodeError as error:
        name = error.object[:200].decode(errors="replace")
        raise BadDataset(
            f"The archive {archive!r} holds {name!r}, whose name is not UTF-8; rename it, and pack it again."
        ) from None
    except NotImplementedError as error:
        raise BadDataset(f"The archive {archive!r} is of a kind that is not read ({error}): pack it again.") from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno not in {None, errno.EINVAL}:
            raise  # the disk's fault; the readers' own have no number, or are about a forged position
        reason = str(error) or type(error).__name__
        raise BadDataset(f"The archive {archive!r} is damaged or cut short ({reason}): copy it, or pack it, again.") from error
