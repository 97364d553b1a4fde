"""Times <-> the well-known types, of which a message may hold more than a time can be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from eyasd.core.errors import InvalidArgument


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


def timedelta_of(message: Duration, field: str) -> timedelta:
    """Returns how long a message's field says. Raises InvalidArgument."""
    try:
        return message.ToTimedelta()
    except (ValueError, OverflowError):
        raise InvalidArgument(field, f"{field} is {message.seconds} s and {message.nanos} ns, which is no duration.") from None


def datetime_of(message: Timestamp, field: str) -> datetime:
    """Returns when a message's field says, in UTC. Raises InvalidArgument."""
    try:
        return message.ToDatetime(UTC)
    except (ValueError, OverflowError):
        raise InvalidArgument(
            field, f"{field} is {message.seconds} s and {message.nanos} ns, which is no time of the years 1 to 9999."
        ) from None
