"""How much room a disk has, in words, for who is told that it has too little."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_SQLITE_DISK: Final = (13, 10)  # SQLITE_FULL, SQLITE_IOERR; the latter where its shared memory has no room


def told(error: OSError, at: Path) -> str:
    """Returns what a disk said, such as `No space left on device (4,096 bytes of 2.0 GB are free)`.

    Args:
        error: of the disk.
        at: where it was to be written; need not exist.
    """
    said = error.strerror or str(error)
    return f"{said} ({room(at)})" if error.errno in FULL else said


def told_by_sqlite(error: BaseException | None, said: str, at: Path) -> str:
    """Returns what SQLite said of a file, and how much room its disk has where that is in the way.

    Args:
        error: SQLite's own.
        said: what it says.
        at: the file.
    """
    return f"{said}; {room(at)}" if getattr(error, "sqlite_errorcode", 0) & 0xFF in _SQLITE_DISK else said


def room(at: Path) -> str:
    """Returns how much room there is for a file, which need not exist, on its disk."""
    place = next((path for path in (at, *at.absolute().parents) if path.exists()), Path("/"))
    try:
        disk = os.statvfs(place)
    except OSError:
        return "how much is free cannot be told"
    if disk.f_files and not disk.f_favail:
        return f"none of {disk.f_files:,} files is free"
    return f"{_words(disk.f_bavail * disk.f_frsize)} of {_words(disk.f_blocks * disk.f_frsize)} are free"


def _words(size_bytes: int) -> str:
    for unit, name in ((10**9, "GB"), (10**6, "MB")):
        if size_bytes >= unit:
            return f"{size_bytes / unit:,.1f} {name}"
    return f"{size_bytes:,} bytes"
