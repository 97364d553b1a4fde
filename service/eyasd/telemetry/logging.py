"""Logs: one constant message with fields, readable on a terminal and JSON elsewhere.

A message never holds a value: values are fields, so that a log can be searched. Fields are escaped by both renderers, so a
file name with control characters cannot forge a line. Lines leave some milliseconds later, together: a write for each took a
twentieth of a busy server. A warning or an error, and the end of the process, take all that waits along at once.
"""

from __future__ import annotations

import atexit
import json
import logging
import sys
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, TextIO

import structlog


class LogFormat(StrEnum):
    """How a line looks; `auto` is `console` on a terminal and `json` elsewhere."""

    AUTO = "auto"
    CONSOLE = "console"
    JSON = "json"


_BUNCH_SECONDS: Final = 0.01
# Kept, because `json.dumps` makes one for every line. Escapes what is not ASCII, so that no terminal takes it for a new line.
_ENCODER: Final = json.JSONEncoder(ensure_ascii=True, default=repr)


def _json(event: object, **_: object) -> str:
    return _ENCODER.encode(event)


def _stamp(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    event["timestamp"] = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return event


class _Lines:
    """A logger of structlog that writes in bunches; any thread may log."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._waiting: list[str] = []
        self._arrived = threading.Event()
        self._lock = threading.Lock()
        threading.Thread(target=self._write_often, name="log", daemon=True).start()
        atexit.register(self.flush)

    def info(self, line: str) -> None:
        """Takes a line, which will be written soon."""
        self._waiting.append(line)
        if not self._arrived.is_set():
            self._arrived.set()

    debug = info

    def warning(self, line: str) -> None:
        """Writes a line, and all before it, at once."""
        self._waiting.append(line)
        self.flush()

    error = critical = warning

    def flush(self) -> None:
        """Writes what waits. A stream that nobody reads any more is no reason to fail a call."""
        with self._lock, suppress(OSError, ValueError):
            lines, self._waiting = self._waiting, []
            self._stream.write("".join(f"{line}\n" for line in lines))
            self._stream.flush()

    def _write_often(self) -> None:
        while self._arrived.wait():
            time.sleep(_BUNCH_SECONDS)
            self._arrived.clear()
            self.flush()


def configure(level: str, log_format: LogFormat) -> None:
    """Sends every log line of this process to standard error, in one format."""
    console = log_format is LogFormat.CONSOLE or (log_format is LogFormat.AUTO and sys.stderr.isatty())
    renderer: structlog.typing.Processor = structlog.dev.ConsoleRenderer() if console else structlog.processors.JSONRenderer(_json)
    lines = _Lines(sys.stderr)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            _stamp,
            *([] if console else [structlog.processors.dict_tracebacks]),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=False,
    )


def logger() -> structlog.typing.FilteringBoundLogger:
    """Returns the process's logger."""
    # Bound now: a lazy logger finds its configuration anew for every line, which takes longer than the line.
    log: structlog.typing.FilteringBoundLogger = structlog.get_logger().bind()
    return log
