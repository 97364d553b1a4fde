"""A disk of a few megabytes that a test fills and frees."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

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


@pytest.fixture
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    """A disk of 8 MB, or of as many as a test asks for."""
    mount = tmp_path / "disk"
    mount.mkdir()
    size = f"size={getattr(request, 'param', 8)}m"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", mount], capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.fail(
            f"A disk that becomes full has to be mounted: run this as root, or under `unshare -Urm` ({mounted.stderr.strip()})."
        )
    yield Disk(mount)
    subprocess.run(["umount", "--lazy", mount], check=True)
