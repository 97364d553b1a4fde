"""A clock that can be set, for some processes of this machine."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest


class Clock:
    """A machine's clock, for processes that are started with its environment; see `clock.c`."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        library = folder / "clock.so"
        compiler = shutil.which("gcc") or shutil.which("cc")
        if compiler is None:
            pytest.fail("This test needs a C compiler, which is not installed here: `apt-get install gcc libc6-dev` brings it.")
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, Path(__file__).with_name("clock.c")], check=True)
        self._file.write_bytes(struct.pack("q", 0))
        self.environment = {"LD_PRELOAD": str(library), "EYAS_TEST_CLOCK": str(self._file)}

    def set(self, seconds: int) -> None:
        """Sets the clock so far from the machine's."""
        with self._file.open("r+b") as file:  # which is mapped, so it stays the same file
            file.write(struct.pack("q", seconds))
