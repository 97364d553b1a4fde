"""The well-known types hold more than times can be."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from eyasd.api.messages.times import datetime_of, duration, timedelta_of, timestamp
from eyasd.core.errors import InvalidArgument

SECONDS, NANOS = st.integers(-(2**63), 2**63 - 1), st.integers(-(2**31), 2**31 - 1)


@given(st.timedeltas(), st.datetimes(timezones=st.just(UTC)))
def test_times_come_back(length: timedelta, when: datetime) -> None:
    limit = timedelta(seconds=315_576_000_000)  # which the well-known type ends at
    if abs(length) <= limit:
        assert timedelta_of(duration(length), "f") == length
    made = timestamp(when)
    assert made is not None
    assert datetime_of(made, "f") == when


@given(SECONDS, NANOS)
def test_any_message_is_a_time_or_a_sentence(seconds: int, nanos: int) -> None:
    with suppress(InvalidArgument):
        timedelta_of(Duration(seconds=seconds, nanos=nanos), "f")
    with suppress(InvalidArgument):
        datetime_of(Timestamp(seconds=seconds, nanos=nanos), "f")


def test_what_no_time_can_be_is_told() -> None:
    with pytest.raises(InvalidArgument, match=r"spec\.budget is 4611686018427387904 s and 0 ns, which is no duration\."):
        timedelta_of(Duration(seconds=2**62), "spec.budget")
    with pytest.raises(InvalidArgument, match="time is 4611686018427387904 s and 0 ns, which is no time of the years 1 to 9999"):
        datetime_of(Timestamp(seconds=2**62), "time")
