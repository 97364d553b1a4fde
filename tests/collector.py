"""A collector of traces, as far as tests need one: OTLP over gRPC in, spans with their service out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc


@dataclass
class Received:
    """A span that has arrived; times in seconds since 1970."""

    service: str
    name: str
    kind: int
    trace: str
    id: str
    parent: str
    start: float
    end: float
    attributes: dict[str, Any]
    links: list[tuple[str, str]]
    error: str | None
    resource: dict[str, Any] = field(repr=False)


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.spans: list[Received] = []
        self.raw: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.seconds = 0.0  # that each request takes
        self.port = 0
        self.news = threading.Condition()

    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802
        if self.seconds:
            time.sleep(self.seconds)
        with self.news:
            self.raw.append(request.SerializeToString())
            self.headers.append({key: str(value) for key, value in context.invocation_metadata()})
            for group in request.resource_spans:
                resource = _values(group.resource.attributes)
                self.spans += [_received(resource, span) for scope in group.scope_spans for span in scope.spans]
            self.news.notify_all()
        return trace_service_pb2.ExportTraceServiceResponse()

    def wait(self, enough: Callable[[list[Received]], bool], seconds: float = 150.0) -> list[Received]:
        """Returns what has arrived once it is enough."""
        with self.news:
            assert self.news.wait_for(lambda: enough(self.spans), seconds), [(one.name, one.trace) for one in self.spans]
            return list(self.spans)


@contextmanager
def collecting(port: int = 0) -> Iterator[Collector]:
    """Yields a collector that listens."""
    collector = Collector()
    server = grpc.server(ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    collector.port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield collector
    finally:
        server.stop(0).wait()


def _values(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


def _received(resource: dict[str, Any], span: Any) -> Received:
    return Received(
        service=resource["service.name"],
        name=span.name,
        kind=span.kind,
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        start=span.start_time_unix_nano / 1e9,
        end=span.end_time_unix_nano / 1e9,
        attributes=_values(span.attributes),
        links=[(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
        error=span.status.message if span.status.code == 2 else None,
        resource=resource,
    )
