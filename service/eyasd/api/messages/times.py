"""Times -> the well-known types."""

from __future__ import annotations

from datetime import datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp


def duration(value: timedelta) -> Duration:
    """Returns the well-known type."""
    message = Duration()
    message.FromTimedelta(value)
    return message


def timestamp(value: datetime | None) -> Timestamp | None:
    """Returns the well-known type, or None, which leaves a field unset."""
    if value is None:
        return None
    message = Timestamp()
    message.FromDatetime(value)
    return message
