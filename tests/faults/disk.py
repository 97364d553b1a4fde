"""A disk of a few megabytes that is filled and freed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PAGE = 4096
_FILLER = "filler"


class Disk:
    """A file system of its own, in memory.

    Attributes:
        folder: on it, in which a test does what it does.
    """

    def __init__(self, mount: Path) -> None:
        self._mount = mount
        self.folder = mount / "data"
        self.folder.mkdir()

    @property
    def free_bytes(self) -> int:
        status = os.statvfs(self._mount)
        return status.f_bavail * status.f_frsize

    def fill(self, left_bytes: int = 0) -> None:
        """Takes all its room but that much."""
        self.free()
        with (self._mount / _FILLER).open("wb") as file:
            if self.free_bytes > left_bytes:
                os.posix_fallocate(file.fileno(), 0, self.free_bytes - left_bytes)

    def free(self) -> None:
        (self._mount / _FILLER).unlink(missing_ok=True)

    def files(self) -> dict[str, bytes]:
        """What lies in its folder, hidden files included."""
        return {str(one.relative_to(self.folder)): one.read_bytes() for one in sorted(self.folder.rglob("*")) if one.is_file()}


@contextmanager
def mounted(mount: Path, megabytes: int) -> Iterator[Disk]:
    """Makes a disk of so many megabytes in a folder that it makes, too.

    Raises:
        PermissionError: only root may.
    """
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", mount]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PermissionError(
            f"A disk that becomes full has to be mounted: run this as root, or under `unshare -Urm` ({done.stderr.strip()})."
        )
    try:
        yield Disk(mount)
    finally:
        subprocess.run(["umount", "--lazy", mount], check=True)
