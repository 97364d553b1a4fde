"""The W3C's trace context: which trace a call belongs to, as it travels in metadata and headers.

See https://www.w3.org/TR/trace-context/. What is malformed is taken for none, as the recommendation has it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from typing import Final, NamedTuple

TRACE_PARENT: Final = "traceparent"
TRACE_STATE: Final = "tracestate"
REQUEST_ID: Final = "x-request-id"
# A later version may say more behind the flags; the first one says exactly this.
_PARENT: Final = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED: Final = 1
_MOST_STATE: Final = 512  # characters, which the recommendation has everybody pass on
# What stands in a log, a header and a sentence without being quoted.
_WELL_FORMED: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=@-]{0,63}")


class Context(NamedTuple):
    """A span of somebody's, of which others may be parts.

    Attributes:
        trace_id: 32 hexadecimal digits.
        span_id: 16 of them.
        sampled: whether it is kept, and its parts are to be.
        state: what vendors have to say, passed on as it came.
    """

    trace_id: str
    span_id: str
    sampled: bool
    state: str = ""

    @property
    def header(self) -> str:
        """The value of `traceparent`."""
        return f"00-{self.trace_id}-{self.span_id}-{int(self.sampled):02x}"


def parse(parent: str, state: str = "") -> Context | None:
    """Returns what the headers say; None where that is nothing, or malformed."""
    found = _PARENT.fullmatch(parent)
    if found is None or (found[1] == "00" and found[5]):
        return None
    return Context(found[2], found[3], bool(int(found[4], 16) & _SAMPLED), state if len(state) <= _MOST_STATE else "")


def read(metadata: Iterable[tuple[str, str | bytes]]) -> tuple[str, Context | None]:
    """Returns the request id and the context that a call came with, of which "" and None are none."""
    request_id = parent = state = ""
    for key, value in metadata:
        if key == REQUEST_ID:
            request_id = str(value)
        elif key == TRACE_PARENT:
            parent = str(value)
        elif key == TRACE_STATE:
            state = str(value)
    if request_id and not _WELL_FORMED.fullmatch(request_id):
        request_id = ""
    return request_id, parse(parent, state) if parent else None


def new_trace_id() -> str:
    """Returns an id that nobody else has."""
    return "%032x" % (random.getrandbits(128) or 1)


def new_span_id() -> str:
    """Returns an id of a span, or of a request, likewise."""
    return "%016x" % (random.getrandbits(64) or 1)
