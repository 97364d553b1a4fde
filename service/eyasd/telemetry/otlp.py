"""Spans on their way to a collector, by OTLP over gRPC: kept for a moment, sent by a thread, and dropped rather than waited for.

A collector that is away or slow costs what waits for it, 8,192 spans at most, and never a caller's time. OpenTelemetry's exporter
is imported by `open_exporter`; it also heeds those variables that are its own, such as OTEL_EXPORTER_OTLP_CERTIFICATE and
OTEL_RESOURCE_ATTRIBUTES.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from itertools import islice
from typing import Any, Final

import structlog

from eyasd.telemetry.tracing import Kind, Span

MOST_WAITING: Final = 8192
_BATCH: Final = 512  # about 200 KB on the wire
_PERIOD_SECONDS: Final = 1.0
_EXPORT_SECONDS: Final = 5.0  # with its repetitions

_SAMPLED: Final = 1  # of the W3C's flags
_CUT_OFF_MS: Final = 100  # that older exporters wait for what they are at
_LAST_SECONDS: Final = 0.5  # which it takes one that is cut off to say so

Send = Callable[[Sequence[Span]], bool]


class Exporter:
    """A sink whose spans are sent elsewhere. Any thread may put."""

    def __init__(
        self, send: Send, cut_off: Callable[[], None], on_drop: Callable[[int], None], log: structlog.typing.FilteringBoundLogger
    ) -> None:
        """Starts the thread.

        Args:
            send: sends a few spans, and returns whether they have arrived.
            cut_off: has a `send` that is under way return soon.
            on_drop: told how many spans were dropped.
            log: hears when spans begin to be dropped, and when they arrive again.
        """
        self._send = send
        self._cut_off = cut_off
        self._on_drop = on_drop
        self._log = log
        self._waiting: deque[Span] = deque()
        self._news = threading.Condition()
        self._closing = False
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._thread.start()

    def put(self, spans: Sequence[Span]) -> None:
        """See `Sink`."""
        with self._news:
            before = len(self._waiting)
            room = not self._closing and before + len(spans) <= MOST_WAITING
            if room:
                self._waiting.extend(spans)
                if before < _BATCH <= len(self._waiting):
                    self._news.notify()
        if not room:
            self._on_drop(len(spans))

    def close(self, seconds: float) -> None:
        """Sends what waits, within the time; what is left then is dropped. Blocking."""
        with self._news:
            self._closing = True
            self._news.notify()
        self._thread.join(seconds)
        self._cut_off()
        self._thread.join(_LAST_SECONDS)
        with self._news:
            left = len(self._waiting)
            self._waiting.clear()
        if left:
            self._on_drop(left)

    def _run(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._closing or len(self._waiting) >= _BATCH, _PERIOD_SECONDS)
                batch = list(islice(self._waiting, _BATCH))
                for _ in batch:
                    self._waiting.popleft()
                if not batch and self._closing:
                    return
            if batch:
                self._hand_over(batch)

    def _hand_over(self, batch: Sequence[Span]) -> None:
        try:
            arrived, why = self._send(batch), "the collector is away, too slow, or refuses them"
        except Exception as error:  # noqa: BLE001 - whatever a library meets, calls are answered all the same
            arrived, why = False, f"{type(error).__name__}: {error}"
        if not arrived:
            self._on_drop(len(batch))
        if arrived is self._failing:
            self._failing = not arrived
            if arrived:
                self._log.info("traces arrive again")
            else:
                self._log.warning("traces are dropped", error=why, spans=len(batch))


def open_exporter(
    endpoint: str,
    headers: Mapping[str, str],
    resource: Mapping[str, str],
    on_drop: Callable[[int], None],
    log: structlog.typing.FilteringBoundLogger,
) -> Exporter:
    """Returns a sink whose spans a collector gets.

    Args:
        endpoint: http://HOST:PORT, or https://.
        headers: sent along with every request.
        resource: attributes of this process.
        on_drop: see `Exporter`.
        log: likewise.

    Raises:
        ModuleNotFoundError: OpenTelemetry is not installed.
    """
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - see above
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import SpanExportResult  # noqa: PLC0415

    # What it has to say it says with every batch, in a form of its own; `Exporter` says it once.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL + 1)
    known: dict[str, Any] = {"service.version": version("eyas"), "host.name": socket.gethostname(), "process.pid": os.getpid()}
    encode = _encoder(Resource.create({**known, **resource}).attributes)

    class SpanExporter(OTLPSpanExporter):
        """Spans of ours on the library's way, which encodes its own in 28 us each, and makes them in 5; ours take 5 in all."""

        def _translate_data(self, data: Sequence[Any]) -> Any:
            return encode(data)

    exporter = SpanExporter(endpoint=endpoint, headers=tuple(headers.items()) or None, timeout=_EXPORT_SECONDS)

    def send(spans: Sequence[Any]) -> bool:
        return exporter.export(spans) is SpanExportResult.SUCCESS

    return Exporter(send, partial(exporter.shutdown, timeout_millis=_CUT_OFF_MS), on_drop, log)


def _encoder(resource: Mapping[str, Any]) -> Callable[[Sequence[Span]], Any]:
    """Returns what makes spans into a message of OTLP, see opentelemetry/proto/trace/v1/trace.proto."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest  # noqa: PLC0415
    from opentelemetry.proto.trace.v1.trace_pb2 import SpanFlags, Status  # noqa: PLC0415

    known = SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK | _SAMPLED
    remote = known | SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK

    def put(attributes: Any, values: Mapping[str, Any]) -> None:
        for key, value in values.items():
            into = attributes.add(key=key).value
            if isinstance(value, bool):
                into.bool_value = value
            elif isinstance(value, int):
                into.int_value = value
            elif isinstance(value, float):
                into.double_value = value
            else:
                into.string_value = str(value)

    def encode(spans: Sequence[Span]) -> ExportTraceServiceRequest:
        request = ExportTraceServiceRequest()
        group = request.resource_spans.add()
        put(group.resource.attributes, resource)
        scope = group.scope_spans.add()
        scope.scope.name, scope.scope.version = "eyas", version("eyas")
        for span in spans:
            made = scope.spans.add(
                trace_id=bytes.fromhex(span.context.trace_id),
                span_id=bytes.fromhex(span.context.span_id),
                trace_state=span.context.state,
                parent_span_id=bytes.fromhex(span.parent_id),
                name=span.name,
                kind=span.kind + 1,  # 0 is unspecified there
                start_time_unix_nano=span.start_ns,
                end_time_unix_nano=span.end_ns,
                flags=known if span.kind is Kind.INTERNAL else remote,
            )
            put(made.attributes, span.attributes)
            for link in span.links:
                made.links.add(trace_id=bytes.fromhex(link.trace_id), span_id=bytes.fromhex(link.span_id), flags=known)
            if span.error is not None:
                made.status.code, made.status.message = Status.STATUS_CODE_ERROR, span.error
        return request

    return encode
