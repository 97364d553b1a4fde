"""Unpacks a dataset's archive into the job's folder, and trusts nothing that it says of itself.

What the headers of an archive claim is checked; what it expands to is counted while it does. Knows nothing of labels.
"""

from __future__ import annotations

import bz2
import gzip
import os
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, cast

from eyasd.core import document
from eyasd.core.errors import BadDataset
from eyasd.training import durable
from eyasd.training.data import unpacked, xz
from eyasd.training.data.content import opened
from eyasd.training.data.tarred import Bounded, check_entry, damage_told, tar_entries
from eyasd.training.data.unpacked import Unpacked
from eyasd.training.journal import Journal

# A zip's directory is read at once: 2 million entries of 128 bytes.
_MAX_ZIP_PIECE: Final = 256 * 1024**2
_COMPRESSIONS: Final = ((0, b"\x1f\x8b", gzip.open), (4, b"1AY&SY", bz2.open), (0, b"\xfd7zXZ\0", xz.open_))
_MIN_HEADER_BYTES: Final = 30  # of an entry, before its name
_DIRECTORY_ENTRY: Final = b"PK\1\2"
_IS_UTF_8: Final = 0x800
_UNICODE_PATH: Final = 0x7075  # Info-ZIP's extra field: a version, the CRC-32 of the name that it replaces, the name in UTF-8
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


def unpack(archive: Path, folder: Path, journal: Journal, roots: tuple[str, ...] = ()) -> Path:
    """Unpacks an archive, or finds it unpacked by an earlier attempt.

    The files get the archive's own time of change: unpacked again, they are the same to whoever compares times.

    Args:
        archive: a zip file by its suffix `.zip`, else a tar file, whose compression shows in its first bytes.
        folder: JOB_DIR.
        journal: hears of the progress, and is asked whether to stop.
        roots: see `content.opened`.

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
        with opened(archive, roots) as file, damage_told(archive.name):
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
    stream = cast("IO[bytes]", _Zip(file, _MAX_ZIP_PIECE))
    with zipfile.ZipFile(stream) as archive:
        _check_apart(archive.infolist(), target)
        for entry in archive.infolist():
            name = _name(entry)
            path = target.path_of(name)
            if path is None:
                continue
            if stat.S_IFMT(entry.external_attr >> 16) not in {0, stat.S_IFREG, stat.S_IFDIR}:
                raise target.refusal(name, "a link or a device; pack the files themselves")
            if entry.flag_bits & 0x1:
                raise target.refusal(name, "which is encrypted; pack it again without a password")
            if name.endswith("/"):
                target.put(path, name, None)
                continue
            # Of others zipfile expands a piece as far as it goes: 4 KB of bzip2 to gigabytes.
            if entry.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
                raise target.refusal(name, "whose compression is not read; pack it again with Deflate, which is what most tools do")
            target.check_size(target.total_bytes + entry.file_size)
            with archive.open(entry) as content:
                target.put(path, name, content)


class _Zip(Bounded):
    """The bytes of a zip, of whose directory zipfile makes some 600 bytes an entry before anybody could count them."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Reads a piece, if it does not hold a directory of too many entries."""
        piece = super().read(size)
        if piece.count(_DIRECTORY_ENTRY) > unpacked.MAX_ENTRIES:
            raise BadDataset(f"The archive has more than {unpacked.MAX_ENTRIES:,} entries: unpack it, and name the folder.")
        return piece


def _name(entry: zipfile.ZipInfo) -> str:
    """Returns the name of an entry, which is UTF-8 whatever its flag says; lone surrogates stand for bytes that are not.

    Tools of Windows write there what its old code pages have room for, and the true name beside it: two may be alike but for that.
    """
    encoded = entry.orig_filename.encode("utf-8" if entry.flag_bits & _IS_UTF_8 else "cp437")  # as zipfile decoded it
    fields = entry.extra
    while len(fields) > 4:
        kind, size = struct.unpack_from("<HH", fields)
        held, fields = fields[4 : 4 + size], fields[4 + size :]
        if kind == _UNICODE_PATH and held[:5] == struct.pack("<BL", 1, zlib.crc32(encoded)):
            encoded = held[5:]
            break
    return encoded.decode(errors="surrogateescape")


def _check_apart(entries: Sequence[zipfile.ZipInfo], target: Unpacked) -> None:
    """Refuses entries that share bytes, by which a few kilobytes expand to anything. Python itself does so from 3.11.8 on."""
    end = 0
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        if entry.header_offset < end:
            raise target.refusal(_name(entry), "which shares its bytes with another entry; pack it again")
        end = entry.header_offset + _MIN_HEADER_BYTES + entry.compress_size


def _untar(file: IO[bytes], target: Unpacked) -> None:
    head = file.read(16)
    file.seek(0)
    expanded = next((open_(file) for offset, magic, open_ in _COMPRESSIONS if head[offset:].startswith(magic)), file)
    for entry, content in tar_entries(cast("IO[bytes]", expanded), target.refusal, target.check_size):
        path = target.path_of(entry.name)
        if path is None:
            continue
        check_entry(entry, target.refusal)
        if hasattr(tarfile, "data_filter"):  # Python 3.11.4 and later: a second pair of eyes
            tarfile.data_filter(entry, str(target.place))
        target.put(path, entry.name, content())
