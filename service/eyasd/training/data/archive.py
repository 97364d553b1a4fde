"""Unpacks a dataset's archive into the job's folder, and trusts nothing that it says of itself.

What the headers of an archive claim is checked; what it expands to is counted while it does. Knows nothing of labels.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, cast

from eyasd.core import document
from eyasd.training import durable
from eyasd.training.data.content import opened
from eyasd.training.data.tarred import Bounded, check_entry, damage_told, tar_entries
from eyasd.training.data.unpacked import Unpacked
from eyasd.training.journal import Journal

# A zip's directory is read at once: 2 million entries of 128 bytes.
_MAX_ZIP_PIECE: Final = 256 * 1024**2
_COMPRESSIONS: Final = ((0, b"\x1f\x8b", gzip.open), (4, b"1AY&SY", bz2.open), (0, b"\xfd7zXZ\0", lzma.open))
_MIN_HEADER_BYTES: Final = 30  # of an entry, before its name
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
    stream = cast("IO[bytes]", Bounded(file, _MAX_ZIP_PIECE))
    with zipfile.ZipFile(stream, metadata_encoding="utf-8") as archive:
        _check_apart(archive.infolist(), target)
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


def _check_apart(entries: Sequence[zipfile.ZipInfo], target: Unpacked) -> None:
    """Refuses entries that share bytes, by which a few kilobytes expand to anything. Python itself does so from 3.11.8 on."""
    end = 0
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        if entry.header_offset < end:
            raise target.refusal(entry.orig_filename, "which shares its bytes with another entry; pack it again")
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
