"""What the log of a program says of its end. Several attempts of a job write into the same one."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Final

# Room for the last traceback, and for what the drivers of a device and torchrun have to say after it.
_TAIL_BYTES: Final = 64 * 1024
_MOST: Final = 400
_UNCAUGHT: Final = 1  # Python's status where nothing has caught an exception, and torchrun's
_EXCEPTION: Final = re.compile(r"[A-Za-z_][\w.]*: ")
# Before each line of a process's own traceback.
_RANK: Final = re.compile(r"^\[rank\d+\]: ")


def last_words(log: Path, status: int | None) -> str:
    """Returns what a log says of an attempt that has just ended, one line.

    Args:
        log: of this attempt, and before it of earlier ones.
        status: of the program's end.
    """
    tail = _tail(log)
    last = _last_line(tail)
    if status == _UNCAUGHT and not _EXCEPTION.match(last):
        last = exception(tail) or last
    return last[:_MOST] or "it left no word."


def last_line(log: Path) -> str:
    """Returns the last line of a log that says anything; "" where none does."""
    return _last_line(_tail(log))


def exception(log: str) -> str:
    """Returns the first line of the last exception in a log, but for what torchrun has to say of it; "" where there is none.

    The last line is often another: errors of CUDA go on for some, the last of which is advice.
    """
    words, inside = "", False
    for line in (_RANK.sub("", line) for line in log.splitlines()):
        if line.startswith("Traceback (most recent call last)"):
            inside = True
        elif inside and line and not line[0].isspace():
            inside = False
            if "ChildFailedError" not in line:
                words = line[:_MOST]
    return words


def _tail(log: Path) -> str:
    with suppress(FileNotFoundError), log.open("rb") as file:
        file.seek(max(0, file.seek(0, 2) - _TAIL_BYTES))
        return file.read().decode(errors="replace")
    return ""


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2]
