"""The shim, built and spoken to; `shim.c` says what it does."""

from __future__ import annotations

import ctypes
import errno
import shutil
import subprocess
from enum import Enum
from pathlib import Path
from typing import Final

_NOTE: Final = "note\t"


class Action(Enum):
    """What happens to a call: how the shim does it, with which error, and whether to writes alone."""

    KILL = ("the process is killed before it", 1, 0, False)
    TORN = ("half is written, then the process is killed", 2, 0, True)
    ENOSPC = ("it fails once, as on a full disk", 3, errno.ENOSPC, False)
    EIO = ("it fails once, as on a broken disk", 3, errno.EIO, False)
    SHORT = ("half is written, and it says so", 4, 0, True)
    FULL = ("it and all that follow fail, as on a disk that stays full", 5, 0, False)

    def __init__(self, says: str, code: int, error: int, of_writes: bool) -> None:
        self.says, self.code, self.error, self.of_writes = says, code, error, of_writes

    @property
    def kills(self) -> bool:
        """Whether nothing of the process is left."""
        return self in (Action.KILL, Action.TORN)


def build(folder: Path) -> Path:
    """Returns the shim, compiled."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise RuntimeError("The tests of crash points need a C compiler: `apt-get install gcc libc6-dev`.")
    made = folder / "shim.so"
    source = Path(__file__).with_name("shim.c")
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", made, source, "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"The shim does not compile; are gcc and libc6-dev installed? {done.stderr.strip()[-500:]}")
    return made


class Shim:
    """The shim of this process, which was started with it."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None)
        self._library.crash_arm.argtypes = [ctypes.c_char_p, ctypes.c_long, ctypes.c_int, ctypes.c_int, ctypes.c_int]

    def arm(self, folder: Path, at: int, action: Action | None, log: int) -> None:
        """Counts from now on what changes the folder; the call of that number, from 1, goes wrong."""
        code, error = (action.code, action.error) if action else (0, 0)
        self._library.crash_arm(str(folder).encode(), at, code, error, log)

    def note(self, text: str) -> None:
        """Writes a line between those of the calls."""
        self._library.crash_note((_NOTE + text).encode())

    def disarm(self, folder: Path) -> None:
        """Lets everything happen from now on, but for flushes."""
        self._library.crash_arm(str(folder).encode(), 0, 0, 0, -1)


class Call(tuple[str, str, str]):
    """A line of the log: what was called, of which path, and the other path; or what was noted."""

    __slots__ = ()

    @property
    def what(self) -> str:
        return self[0]

    @property
    def path(self) -> str:
        return self[1]

    @property
    def other(self) -> str:
        return self[2]

    @property
    def is_note(self) -> bool:
        return self[0] == _NOTE.strip()


def read_log(text: str) -> list[Call]:
    return [Call((*line.split("\t"), "", "")[:3]) for line in text.splitlines()]
