"""Logs: one constant message with fields, readable on a terminal and JSON elsewhere.

A message never holds a value: values are fields, so that a log can be searched. Fields are escaped by both renderers, so a
file name with control characters cannot forge a line.
"""

from __future__ import annotations

import json
import logging
import sys
from enum import StrEnum
from typing import Final

import structlog


class LogFormat(StrEnum):
    """How a line looks; `auto` is `console` on a terminal and `json` elsewhere."""

    AUTO = "auto"
    CONSOLE = "console"
    JSON = "json"


# Kept, because `json.dumps` makes one for every line. Escapes what is not ASCII, so that no terminal takes it for a new line.
_ENCODER: Final = json.JSONEncoder(ensure_ascii=True, default=repr)


def _json(event: object, **_: object) -> str:
    return _ENCODER.encode(event)


def configure(level: str, log_format: LogFormat) -> None:
    """Sends every log line of this process to standard error, in one format."""
    console = log_format is LogFormat.CONSOLE or (log_format is LogFormat.AUTO and sys.stderr.isatty())
    renderer: structlog.typing.Processor = structlog.dev.ConsoleRenderer() if console else structlog.processors.JSONRenderer(_json)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([] if console else [structlog.processors.dict_tracebacks]),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


def logger() -> structlog.typing.FilteringBoundLogger:
    """Returns the process's logger."""
    # Bound now: a lazy logger finds its configuration anew for every line, which takes longer than the line.
    log: structlog.typing.FilteringBoundLogger = structlog.get_logger().bind()
    return log
