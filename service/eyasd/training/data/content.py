"""Reads what a file of a dataset holds: all of a file, or a piece of a larger one; never out of the roots. Knows no pictures."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from eyasd.core.errors import StorageFailed
from eyasd.core.places import lies_below
from eyasd.training.data.listing import File


class TooLarge(Exception):
    """It has more bytes than were asked for; the first argument says how many."""


def opened(path: Path, roots: Sequence[str]) -> BinaryIO:
    """Opens a plain file.

    Where it lies is asked of the kernel once it is open, so that no link can be changed in between.

    Args:
        path: of the file.
        roots: folders, free of symbolic links; none is anywhere.

    Raises:
        OSError: it cannot be read, is not a plain file, or lies in none of the roots.
    """
    if not stat.S_ISREG(path.stat().st_mode):  # a manifest may name a folder, a device, or a pipe that never ends
        raise OSError(errno.EINVAL, "it is not a file")
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):  # it was changed in between
        file.close()
        raise OSError(errno.EINVAL, "it is not a file")
    real = os.readlink(f"/proc/self/fd/{file.fileno()}") if roots else ""  # noqa: PTH115 - of no file
    if roots and not lies_below(real, roots):
        file.close()
        raise OSError(errno.EXDEV, "it leads out of what this trainer may read")
    return file


def content_of(file: File, max_bytes: int) -> bytes:
    """Returns what a file holds.

    Raises:
        OSError: see `opened`.
        TooLarge: it has more bytes than that; it is not read.
        StorageFailed: it is a piece that was fetched, and is not what was fetched any more.
    """
    with opened(file.path, file.roots) as source:
        size = os.fstat(source.fileno()).st_size if file.size_bytes is None else file.size_bytes
        if size > max_bytes:
            raise TooLarge(size)
        content = os.pread(source.fileno(), size, file.start)
    if file.sha256 and hashlib.sha256(content).hexdigest() != file.sha256:
        raise StorageFailed(
            f"What was fetched of {file.name!r} is damaged on the trainer's disk: empty training.fetched_dir, and try again."
        )
    return content
