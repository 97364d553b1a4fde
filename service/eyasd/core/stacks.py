"""Where the threads of a training program are: it is asked by SIGUSR1, and says so in its log, whatever holds it up."""

from __future__ import annotations

import os
import re
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from eyasd.core import kin

_PATIENCE_SECONDS: Final = 2.0
_QUIET_SECONDS: Final = 0.1
_MOST_BYTES: Final = 64 * 1024
_FRAME: Final = re.compile(r'  File "(?P<file>[^"]+)", line (?P<line>\d+) in (?P<name>\S+)')


def ask(parent: int, log: Path) -> str:
    """Returns what the processes below one say of their threads, one after the other; "" where none says anything.

    Blocks for up to two seconds a process.

    Args:
        parent: whose descendants are asked, as far as they hear.
        log: where they write.
    """
    hear = [process for process in kin.descendants(parent) if kin.catches(process, signal.SIGUSR1)]
    said = {process: _ask(process, log) for process in hear}
    return "\n".join(f"Process {process}:\n{told}" for process, told in said.items() if told)


def place(stacks: str) -> str:
    """Returns where the main thread of the first process is, in words; "" where that was not said."""
    first = re.split(r"^Process \d+:$", stacks, flags=re.MULTILINE)[1:2]
    threads = re.split(r"^(?:Current thread|Thread) .*\(most recent call first\):$", "".join(first), flags=re.MULTILINE)
    frames = list(_FRAME.finditer(threads[-1]))  # the main thread is the last
    if not frames:
        return ""
    own = next((frame for frame in frames if "eyasd" in frame["file"]), None)
    called = f", called in {_words(own)}" if own is not None and own is not frames[0] else ""
    return f"{_words(frames[0])}{called}"


def _ask(process: int, log: Path) -> str:
    with suppress(OSError):
        start = seen = log.stat().st_size
        os.kill(process, signal.SIGUSR1)
        limit = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < limit:
            time.sleep(_QUIET_SECONDS)
            size = log.stat().st_size
            if size == seen > start:
                break
            seen = size
        with log.open("rb") as file:
            file.seek(start)
            return file.read(_MOST_BYTES).decode(errors="replace")
    return ""


def _words(frame: re.Match[str]) -> str:
    return f"{frame['name']} ({Path(frame['file']).name}:{frame['line']})"
