"""Traces: what of a call took how long, as spans that are made when it is over, out of times that were measured anyway.

    with tracing.call(name, metadata) as call: ...      the door: one call, which everything in its task finds by `current()`
    call.trace.span("decode", start, end)               whoever measures: a part of it, where the call is traced
    trace_id()                                          exemplars

Knows no OpenTelemetry: spans are plain values until a `Sink` takes them. Where there is none, or a call is not sampled, tracing
costs a look at a variable. Ids of requests, and what a call's line in the log says, are here as well, as they share the way.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from enum import IntEnum
from typing import Final, NamedTuple, Protocol

from eyasd.telemetry.context import Context, new_span_id, new_trace_id, read

Value = str | int | float | bool

# Of one call, so that one with thousands of pictures makes no thousands of spans: those of 32 pictures.
MOST_SPANS: Final = 128
MOST_PREDICTIONS: Final = 8  # whose ids a line names


class Kind(IntEnum):
    """A span's place between processes; numbered as OpenTelemetry does."""

    INTERNAL = 0
    SERVER = 1
    CONSUMER = 4


class Span(NamedTuple):
    """A part of a trace that is over.

    Attributes:
        context: its own.
        parent_id: the span that it is part of, of the same trace; "" is none.
        start_ns: since 1970, as `end_ns`.
        links: spans that it has to do with, of this trace or another one.
        error: what went wrong, for a person; None where nothing did, "" where that is not to be told.
    """

    name: str
    context: Context
    parent_id: str
    start_ns: int
    end_ns: int
    kind: Kind = Kind.INTERNAL
    attributes: Mapping[str, Value] = {}
    links: Sequence[Context] = ()
    error: str | None = None


class Sink(Protocol):
    """Takes spans to where they are looked at."""

    def put(self, spans: Sequence[Span]) -> None:
        """Takes the spans of a call; returns at once, whatever becomes of them. Any thread."""
        ...


class Trace:
    """The part of a trace that is one call's: a span for the call, and spans within it. Belongs to one event loop."""

    __slots__ = ("_offset", "_parent_id", "_spans", "attributes", "context", "kind", "left_out", "links", "name", "start")

    def __init__(self, name: str, kind: Kind, parent: Context | None, links: Sequence[Context] = ()) -> None:
        self.name = name
        self.kind = kind
        self.context = Context(
            parent.trace_id if parent else new_trace_id(), new_span_id(), sampled=True, state=parent.state if parent else ""
        )
        self.links = links
        self.attributes: dict[str, Value] = {}
        self.left_out = 0
        self.start = time.monotonic()
        self._offset = time.time_ns() - int(self.start * 1e9)
        self._parent_id = parent.span_id if parent else ""
        self._spans: list[Span] = []

    def span(
        self,
        name: str,
        start: float,
        end: float,
        attributes: Mapping[str, Value] | None = None,
        *,
        links: Sequence[Context] = (),
        error: str | None = None,
    ) -> Context | None:
        """Adds a part of the call.

        Args:
            name: of few that there are.
            start: on the clock of `time.monotonic`, as `end`.
            end: no earlier.
            attributes: what is to be known of it.
            links: see `Span`.
            error: likewise.

        Returns:
            Its context; None where the call has as many as it may.
        """
        if len(self._spans) >= MOST_SPANS:
            self.left_out += 1
            return None
        trace_id, parent_id, _, state = self.context
        context = Context(trace_id, new_span_id(), True, state)
        begun = int(start * 1e9) + self._offset
        ended = int(end * 1e9) + self._offset if end > start else begun
        self._spans.append(Span(name, context, parent_id, begun, ended, Kind.INTERNAL, attributes or {}, links, error))
        return context

    def finish(self, sink: Sink, error: str | None = None) -> None:
        """Hands everything over: the call is over now."""
        if self.left_out:
            self.attributes["eyas.spans_left_out"] = self.left_out
        end = self._ns(time.monotonic())
        own = Span(
            self.name, self.context, self._parent_id, self._ns(self.start), end, self.kind, self.attributes, self.links, error
        )
        sink.put([own, *self._spans])

    def _ns(self, seconds: float) -> int:
        return int(seconds * 1e9) + self._offset


class Call:
    """What is known of a call under way.

    Attributes:
        request_id: the caller's, or one of ours.
        caller: who makes it; "" is nobody that is known.
        trace_id: of the trace that it belongs to, whether kept or not; "" is none.
        trace: None where the call is not sampled.
        model: the one asked for; "" is none, or not known yet.
        version: that answered; 0 as long as none has.
        images: pictures that were sent.
        failed: of these, those without labels.
        size_bytes: of the requests.
        job: that it made, or is about; "" is none.
        predictions: ids of the answers that were known first, in that order, `MOST_PREDICTIONS` at most.
        answered: when its last answer was known, on the clock of `time.monotonic`; 0 is not yet.
    """

    # Of the class, as most calls have none of these.
    model = job = caller = ""
    version = images = failed = size_bytes = 0
    answered = 0.0
    predictions: Sequence[str] = ()

    def __init__(self, request_id: str, trace_id: str, trace: Trace | None) -> None:
        self.request_id = request_id
        self.trace_id = trace_id
        self.trace = trace

    def predicted(self, prediction_id: str) -> None:
        """Notes the id of an answer, if there is one."""
        if prediction_id and len(self.predictions) < MOST_PREDICTIONS:
            self.predictions = (*self.predictions, prediction_id)


_current: ContextVar[Call | None] = ContextVar("call", default=None)


def current() -> Call | None:
    """Returns the call that this task works on; None where it works on none."""
    return _current.get()


def leave() -> Trace | None:
    """Has this task, which was made in a call's, work on it no more; returns the call's trace, where it is sampled."""
    origin = trace()
    _current.set(None)
    return origin


def trace() -> Trace | None:
    """Returns the trace of that call, where it is sampled."""
    call = _current.get()
    return call.trace if call is not None else None


def trace_id() -> str:
    """Returns the id of the trace that this task works on, for exemplars; "" where there is none, or it is not sampled."""
    call = _current.get()
    return call.trace.context.trace_id if call is not None and call.trace is not None else ""


class Tracing:
    """Decides which calls are traced, and begins and ends them."""

    def __init__(self, sink: Sink | None = None, ratio: float = 1.0) -> None:
        """Remembers where spans go.

        Args:
            sink: takes them; None traces nothing.
            ratio: of the calls of whose trace nobody has decided, how many are sampled, 0..1.
        """
        self._sink = sink
        self._ratio = ratio

    @property
    def on(self) -> bool:
        """Whether anything is traced at all."""
        return self._sink is not None

    def begin(self, name: str, metadata: Iterable[tuple[str, str | bytes]], *, always: bool = False) -> Call:
        """Begins a call, which `current` returns in this task, and in those that it makes, from now on.

        Args:
            name: of its span.
            metadata: that it came with.
            always: whether it is sampled unless its caller has decided otherwise, as there are few like it.
        """
        request_id, parent = read(metadata)
        trace = self.trace(name, Kind.SERVER, parent, always=always and self._ratio > 0) if self._sink is not None else None
        known = trace.context.trace_id if trace is not None else parent.trace_id if parent is not None else ""
        call = Call(request_id or new_span_id(), known, trace)
        _current.set(call)
        return call

    def trace(
        self, name: str, kind: Kind, parent: Context | None = None, *, links: Sequence[Context] = (), always: bool = False
    ) -> Trace | None:
        """Begins a trace, or a part of one; returns None where it is not sampled, as with `always` only a parent has it."""
        if self._sink is None or not (parent.sampled if parent is not None else always or self._draw()):
            return None
        return Trace(name, kind, parent, links)

    def finish(self, trace: Trace, error: str | None = None) -> None:
        """Hands a trace over that is over.

        Args:
            trace: whose last span ends now.
            error: what went wrong here; None where nothing did.
        """
        if self._sink is not None:
            trace.finish(self._sink, error)

    def put(self, spans: Sequence[Span]) -> None:
        """Hands spans over that were made elsewhere."""
        if self._sink is not None:
            self._sink.put(spans)

    def _draw(self) -> bool:
        return random.random() < self._ratio  # noqa: S311 - a share, no secret


OFF: Final = Tracing()
