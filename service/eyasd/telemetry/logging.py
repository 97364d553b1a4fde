"""Logs: one constant message with fields, readable on a terminal and JSON elsewhere.

A message never holds a value: values are fields, so that a log can be searched. Fields are escaped by both renderers, so a
file name with control characters cannot forge a line; what looks like a credential is left out (`redaction`). Lines leave some
milliseconds later, together: a write for each took a twentieth of a busy server. A warning or an error, and the end of the process,
take all that waits along at once.
"""

from __future__ import annotations

import atexit
import json
import logging
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from enum import StrEnum
from json.encoder import encode_basestring_ascii as _quoted
from typing import Final, TextIO

import structlog

from eyasd.telemetry import redaction
from eyasd.telemetry.tracing import Call


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


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def _stamp(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    event["timestamp"] = _now()
    return event


def _plain(exc_info: structlog.typing.ExcInfo) -> str:
    return "".join(traceback.format_exception(*exc_info))


def _redact(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    for key, value in event.items():
        if not isinstance(value, int | float | None):
            event[key] = redaction.fields(value)
    return event


class _Lines:
    """A logger of structlog that writes in bunches; any thread may log."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._waiting: deque[str] = deque()
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
            self._stream.write("".join(f"{self._waiting.popleft()}\n" for _ in range(len(self._waiting))))
            self._stream.flush()

    def _write_often(self) -> None:
        while self._arrived.wait():
            time.sleep(_BUNCH_SECONDS)
            self._arrived.clear()
            self.flush()


Access = Callable[[str, str, float, str, str | None, Call], None]


def access(log: structlog.typing.FilteringBoundLogger) -> Access:
    """Returns what logs a finished call, told its method, status code, seconds, the caller's address, any error's text, and itself.

    Where lines are JSON it puts them together itself, to the same text: the way through structlog took an eighth of a busy server.
    """
    lines = _access_lines
    bound = "".join(f"{_quoted(key)}: {_json(value)}, " for key, value in structlog.get_context(log.bind()).items())

    def silent(*_: object) -> None:
        """Is for who logs warnings only: to put the line together would take longer than all else."""

    def through_structlog(method: str, code: str, seconds: float, peer: str, error: str | None, call: Call) -> None:
        log.info("rpc", method=method, code=code, ms=round(seconds * 1000, 2), peer=peer, error=error, **_known(call))

    def straight(method: str, code: str, seconds: float, peer: str, error: str | None, call: Call) -> None:
        assert lines is not None  # noqa: S101 - for mypy
        lines.info(
            f'{{{bound}"method": {_quoted(method)}, "code": "{code}", "ms": {round(seconds * 1000, 2)}, "peer": {_quoted(peer)}, '
            f'"error": {"null" if error is None else _quoted(error)}, "request_id": "{call.request_id}", "bytes": {call.size_bytes}'
            f'{_written(call)}, "event": "rpc", "level": "info", "timestamp": "{_now()}"}}'
        )

    if lines is not None:
        return straight
    return through_structlog if _calls_are_logged else silent


def _written(call: Call) -> str:
    """Returns what `_known` says of a call, as it stands in a line."""
    told = f', "trace_id": "{call.trace_id}"' if call.trace_id else ""
    if call.model:
        told += f', "model": {_quoted(call.model)}'
        if call.version:
            told += f', "version": {call.version}'
    if call.images:
        told += f', "images": {call.images}'
        if call.failed:
            told += f', "failed": {call.failed}'
    if call.job:
        told += f', "job": {_quoted(call.job)}'
    if call.caller:
        told += f', "caller": {_quoted(call.caller)}'
    if call.predictions:
        told += f', "predictions": {_json(call.predictions)}'
    return told


def _known(call: Call) -> dict[str, object]:
    """Returns what a line says of a call besides how it ended; what there is nothing of is left out."""
    known = {
        "trace_id": call.trace_id,
        "model": call.model,
        "version": call.version,
        "images": call.images,
        "failed": call.failed,
        "job": call.job,
        "caller": call.caller,
        "predictions": call.predictions,
    }
    return {"request_id": call.request_id, "bytes": call.size_bytes, **{name: value for name, value in known.items() if value}}


_calls_are_logged = True
_access_lines: _Lines | None = None  # where calls are logged as JSON


def configure(level: str, log_format: LogFormat) -> None:
    """Sends every log line of this process to standard error, in one format."""
    console = log_format is LogFormat.CONSOLE or (log_format is LogFormat.AUTO and sys.stderr.isatty())
    renderer: structlog.typing.Processor = structlog.processors.JSONRenderer(_json)
    # Without the values of variables, as structlog would have them: pictures, tokens.
    tracebacks: structlog.typing.ExceptionTransformer = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    if console:
        renderer, tracebacks = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback), _plain
    threshold = logging.getLevelNamesMapping()[level]
    lines = _Lines(sys.stderr)
    global _access_lines, _calls_are_logged  # noqa: PLW0603 - as structlog's own configuration, there is one a process
    _calls_are_logged = threshold <= logging.INFO
    _access_lines = None if console or threshold > logging.INFO else lines
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            _stamp,
            structlog.processors.ExceptionRenderer(tracebacks),
            _redact,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=False,
    )


def unfiltered(log: structlog.typing.FilteringBoundLogger) -> structlog.typing.FilteringBoundLogger:
    """Returns a logger of the same lines that no level silences."""
    free = structlog.wrap_logger(None, wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET))
    bound: structlog.typing.FilteringBoundLogger = free.bind(**structlog.get_context(log.bind()))
    return bound


def logger() -> structlog.typing.FilteringBoundLogger:
    """Returns the process's logger."""
    # Bound now: a lazy logger finds its configuration anew for every line, which takes longer than the line.
    log: structlog.typing.FilteringBoundLogger = structlog.get_logger().bind()
    return log
