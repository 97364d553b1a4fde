"""The record of changes: who, when, from where, what, and how it ended, as lines of JSON in the log, and in a file if there is one.

A change begins when its first line is safe in the file; where that cannot be, nothing is changed. Its second line, with how it
ended, follows. A line that can then not be written is in the log as an error, whole. Where somebody may not do what he wants to
nothing is changed, so not every attempt has a line, see `refusals`.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import structlog

from eyasd.access.refusals import Refusals
from eyasd.core.errors import StorageFailed
from eyasd.core.threads import pool

_BEGUN: Final = "BEGUN"
_REFUSED: Final = "PERMISSION_DENIED"
_MODE: Final = 0o600
_ENCODER: Final = json.JSONEncoder(ensure_ascii=True)


class Audit:
    """Takes changes down. Belongs to one event loop; a thread of its own writes, one line after the other."""

    def __init__(
        self,
        path: Path | None,
        lines: structlog.typing.FilteringBoundLogger,
        log: structlog.typing.FilteringBoundLogger,
        on_failure: Callable[[], None] = lambda: None,
    ) -> None:
        """Proves that the file can be written to.

        Args:
            path: the file; None is none.
            lines: get a line a change, whatever the level of the log.
            log: hears of lines that the file did not take.
            on_failure: called for each of these.

        Raises:
            OSError: it cannot be written to.
        """
        self._path, self._lines, self._log, self._on_failure = path, lines, log, on_failure
        self._writer = pool(1, "audit")
        self._refusals = Refusals(lambda record: self.end(record, _REFUSED, None))
        if path is not None:
            _append(path, b"")

    async def begin(self, record: Mapping[str, Any]) -> None:
        """Takes down that a change begins.

        Raises:
            StorageFailed: the file does not take it.
        """
        if self._path is None:
            return
        try:
            await asyncio.wrap_future(self._writer.submit(_append, self._path, _line({**record, "result": _BEGUN})))
        except OSError as error:
            self._on_failure()
            self._log.error("a change was refused, as the file of changes does not take it", error=str(error), **_renamed(record))
            raise StorageFailed(
                "The record of changes cannot be written, so nothing is changed: its operator has to see to access.audit_file."
            ) from error

    def end(self, record: Mapping[str, Any], result: str, error: str | None) -> None:
        """Takes down how a change ended."""
        whole = {**record, "result": result, **({"error": error} if error else {})}
        self._lines.info("change", **_renamed(whole))
        if self._path is not None:
            self._writer.submit(_append, self._path, _line(whole)).add_done_callback(lambda done: self._check(done, whole))

    def refuse(self, record: Mapping[str, Any], error: str | None) -> None:
        """Takes down that somebody may not do what he wants to, unless he has tried too often."""
        if self._refusals.take(record):
            self.end(record, _REFUSED, error)

    def close(self) -> None:
        """Waits until everything is written."""
        self._refusals.close()
        self._writer.shutdown()

    def _check(self, done: Future[None], record: Mapping[str, Any]) -> None:
        if (error := done.exception()) is not None:
            self._on_failure()
            self._log.error("the file of changes did not take a line", reason=str(error), **_renamed(record))


def _renamed(record: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a record as fields of the log, which has a time of its own."""
    return {key: value for key, value in record.items() if key != "time"}


def _line(record: Mapping[str, Any]) -> bytes:
    return f"{_ENCODER.encode({'time': datetime.now(UTC).isoformat().replace('+00:00', 'Z'), **record})}\n".encode()


def _append(path: Path, line: bytes) -> None:
    """Adds a line for good, as one write, so that several processes may share the file, and somebody may move it away.

    Raises:
        OSError: it cannot, or not for good.
    """
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _MODE)
    try:
        size = os.fstat(file).st_size
        if size and os.pread(file, 1, size - 1) != b"\n":  # a line that was cut off, as on a disk that was full
            line = b"\n" + line
        if line and os.write(file, line) < len(line):
            raise OSError(28, "the line was cut off")
        os.fsync(file)
    finally:
        os.close(file)
    if not size:
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
