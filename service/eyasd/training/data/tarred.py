"""Goes through a tar file's entries, and trusts nothing that it says of itself. Knows nothing of where they go."""

from __future__ import annotations

import errno
import io
import os
import re
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import IO, Final, Self

from eyasd.core.errors import BadDataset, EyasError
from eyasd.training.data.unpacked import PIECE_BYTES
from eyasd.training.journal import Interrupted

# Before Python 3.11.10 tarfile takes 6 s, on one core of an AMD EPYC, for a header of 64 KiB of digits, and there may be many. No
# name has more than 255 bytes.
_DIGITS: Final = re.compile(rb"\d{256}")

_POSIX: Final = b"ustar\0"

Refusal = Callable[[str, str], BadDataset]


def tar_entries(
    opened: IO[bytes], refusal: Refusal, check_size: Callable[[int], None]
) -> Iterator[tuple[tarfile.TarInfo, Callable[[], IO[bytes] | None]]]:
    """Yields each entry, and what opens its content until the next one is asked for; None where it is no file.

    Args:
        opened: the tar, expanded.
        refusal: returns the error that names an entry and says what is wrong with it.
        check_size: refuses a position that lies too far.

    Raises:
        BadDataset: as `refusal` says.
        Exception: nearly any, where the tar is damaged; see `damage_told`.
    """
    stream = Bounded(opened, PIECE_BYTES, check_size)
    with tarfile.TarFile(fileobj=stream, tarinfo=_Entry, encoding="utf-8", errors="surrogateescape") as archive:
        while (entry := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # of every entry so far, for lookups that are not made here
            if entry.size < 0:  # it would lead back to a header that was read before, without end
                raise refusal(entry.name, "whose size is negative; pack it again")
            stream.in_header = False
            yield entry, partial(archive.extractfile, entry)
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


def check_entry(entry: tarfile.TarInfo, refusal: Refusal) -> None:
    """Raises what `refusal` returns where an entry is neither a plain file nor a folder."""
    if entry.islnk() or entry.issym():
        raise refusal(entry.name, "a link; pack the files themselves (tar --dereference --hard-dereference)")
    if entry.issparse() or not (entry.isreg() or entry.isdir()):
        raise refusal(entry.name, "neither a plain file nor a folder; leave it out")


class _Entry(tarfile.TarInfo):
    """An entry whose header is what its own format says.

    Where POSIX has the beginning of a long name, GNU tar has times when it makes a backup (`--listed-incremental`), and star, too:
    tarfile takes them for a folder, which would be the pictures' label.
    """

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Returns the entry of a header."""
        entry = super().frombuf(buf, encoding, errors)
        if not buf[257:].startswith(_POSIX):
            entry.name = bytes(buf[:100]).partition(b"\0")[0].decode(encoding, errors)
        return entry


class Bounded(io.BufferedIOBase):
    """A stream for the standard library's readers, which ask for whatever a header claims.

    No piece may be large, and nothing may lie past what is allowed: what a reader skips has to be expanded, too.

    Attributes:
        in_header: whether what is read next describes files, rather than is what they hold.
    """

    def __init__(self, stream: IO[bytes], max_piece_bytes: int, check_size: Callable[[int], None] | None = None) -> None:
        self._stream = stream
        self._max_piece_bytes = max_piece_bytes
        self._check_size = check_size
        self.in_header = True

    def tell(self) -> int:
        """Returns the position."""
        return self._stream.tell()

    def seekable(self) -> bool:
        """Returns that it can be sought in."""
        return True

    def seek(self, position: int, whence: int = os.SEEK_SET, /) -> int:
        """Goes to a position, if it is allowed."""
        self._check(position)
        return self._stream.seek(position, whence)

    def read(self, size: int | None = -1, /) -> bytes:
        """Reads a piece, if it is not too large."""
        if size == -1:  # zipfile's way to read the tail of the file
            size = self._max_piece_bytes
        if size is None or not 0 <= size <= self._max_piece_bytes:
            raise ValueError(f"a header claims {size} bytes of names")
        self._check(self.tell() + size)
        piece = self._stream.read(size)
        if self._check_size is not None and self.in_header and size > tarfile.BLOCKSIZE and _DIGITS.search(piece):
            raise ValueError("a header has a number of more than 255 digits")
        return piece

    def _check(self, position: int) -> None:
        if self._check_size is not None:
            self._check_size(position)


@contextmanager
def damage_told(archive: str, noun: str = "archive") -> Iterator[None]:
    """Turns what the readers raise on damaged archives, which is nearly anything, into the error to tell."""
    try:
        yield
    except (EyasError, Interrupted, MemoryError):
        raise
    except UnicodeDecodeError as error:
        name = error.object[:200].decode(errors="replace")
        raise BadDataset(f"The {noun} {archive!r} holds {name!r}, whose name is not UTF-8; rename it, and pack it again.") from None
    except NotImplementedError as error:
        raise BadDataset(f"The {noun} {archive!r} is of a kind that is not read ({error}): pack it again.") from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno not in {None, errno.EINVAL}:
            raise  # the disk's fault; the readers' own have no number, or are about a forged position
        reason = str(error) or type(error).__name__
        raise BadDataset(f"The {noun} {archive!r} is damaged or cut short ({reason}): copy it, or pack it, again.") from error
