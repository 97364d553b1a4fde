"""progress.jsonl as the program writes it: from a thread, so that no disk, full or slow, stops a training or slows it."""

from __future__ import annotations

import os
import threading
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from eyasd.core import document
from eyasd.core.jobdir import ProgressLine
from eyasd.core.jobs import Progress

# Of lines that say how far it is, what waits for a disk; beyond, the oldest is forgotten. Messages are few, and all are kept.
MOST_WAITING: Final = 64
_RETRY_SECONDS: Final = 0.5
_CLOSE_SECONDS: Final = 5.0


class Lines:
    """Appends numbered lines to a file."""

    def __init__(self, path: Path) -> None:
        """Opens nothing yet. Until `start`, each line is written at once, by whoever puts it."""
        self._path = path
        self._news = threading.Condition()
        self._waiting: deque[ProgressLine] = deque()
        self._sequence = 0
        self._begun = b""  # what of the last write is not in the file yet
        self._mended = False
        self._thread: threading.Thread | None = None
        self._closing = False

    def start(self) -> None:
        """Leaves the writing to a thread."""
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
        self._thread.start()

    def put(self, *, progress: Progress | None = None, message: str | None = None) -> None:
        """Has a line written, soon; never fails, and never waits for a disk once the thread has been started."""
        with self._news:
            self._sequence += 1
            self._waiting.append(ProgressLine(datetime.now(UTC), progress, message, self._sequence))
            further = [line for line in self._waiting if line.progress is not None]
            if len(further) > MOST_WAITING:
                self._waiting.remove(further[0])
            self._news.notify()
        if self._thread is None:
            with suppress(OSError):  # with the next line, then
                self._write()

    def close(self) -> None:
        """Writes what waits, if the disk takes it within seconds."""
        if self._thread is None:
            return
        with self._news:
            self._closing = True
            self._news.notify()
        self._thread.join(_CLOSE_SECONDS)

    def _run(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._waiting or self._begun or self._closing)
                if not self._waiting and not self._begun:
                    return
            try:
                self._write()
            except OSError:
                with self._news:
                    self._news.wait_for(lambda: False, _RETRY_SECONDS)

    def _write(self) -> None:
        """Appends what waits. What a full disk has taken half is gone on with when it has room."""
        # One write to a file opened for appending is one piece, whoever reads at the moment.
        file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            if not self._mended and _cut_short(file):  # an earlier attempt died in the middle of a line
                os.write(file, b"\n")
            self._mended = True
            while rest := self._begun or self._taken():
                self._begun = rest
                self._begun = rest[os.write(file, rest) :]
        finally:
            os.close(file)

    def _taken(self) -> bytes:
        with self._news:
            lines = list(self._waiting)
            self._waiting.clear()
        return b"".join(document.dump(line).encode() + b"\n" for line in lines)


def _cut_short(file: int) -> bool:
    size = os.fstat(file).st_size
    return size > 0 and os.pread(file, 1, size - 1) != b"\n"
