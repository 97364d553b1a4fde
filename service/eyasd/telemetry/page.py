"""The page of metrics that Prometheus asks for, in the form that it likes best: text, OpenMetrics, or protocol buffers."""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server

from eyasd.core.errors import StartupFailed
from eyasd.telemetry import protobuf

_PROTOBUF: Final = "application/vnd.google.protobuf"
_PATIENCE_SECONDS: Final = 10.0
_PARAMETERS: Final = {"proto=io.prometheus.client.metricfamily", "encoding=delimited"}


def serve_metrics(address: str, registry: CollectorRegistry) -> tuple[int, Callable[[], None]]:
    """Shows metrics to Prometheus; returns the port, and what ends it.

    Raises:
        StartupFailed: the address cannot be listened on.
    """
    host, _, port = address.rpartition(":")
    server: WSGIServer
    thread: threading.Thread
    try:
        server, thread = start_http_server(int(port), host, registry=registry)
    except OSError as error:
        raise StartupFailed(
            f"The metrics address {address} cannot be listened on ({error.strerror}): stop what uses it, or choose another "
            "with --metrics-port."
        ) from error
    server.RequestHandlerClass = _impatient(server.RequestHandlerClass)
    server.set_app(_choosing(server.get_app(), registry))

    def close() -> None:
        # The thread looks twice a second whether it is to end; this wakes it.
        server.socket.shutdown(socket.SHUT_RDWR)
        server.shutdown()
        server.server_close()
        thread.join()

    return int(server.server_port), close


def _impatient(handler: Any) -> Any:
    """Returns a handler that leaves who says nothing: each connection has a thread, of which there would be ever more."""

    class Impatient(handler):  # type: ignore[misc] # a class that is known when it is there
        timeout = _PATIENCE_SECONDS

        def handle(self) -> None:
            with suppress(TimeoutError, ConnectionError):
                super().handle()

    return Impatient


def prefers_protobuf(accept: str) -> bool:
    """Returns whether a header Accept names the protocol buffers, and nothing that we have with more weight.

    Prometheus does so where it keeps native histograms.
    """
    best, other = 0.0, 0.0
    for entry in accept.lower().split(","):
        kind, *parameters = (part.strip() for part in entry.split(";"))
        weight = next((_weight(part.removeprefix("q=")) for part in parameters if part.startswith("q=")), 1.0)
        if kind == _PROTOBUF and {part.replace(" ", "") for part in parameters} >= _PARAMETERS:
            best = max(best, weight)
        elif kind in {"application/openmetrics-text", "text/plain"}:
            other = max(other, weight)
    return best > 0 and best >= other


def _weight(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _choosing(text: Any, registry: CollectorRegistry) -> Any:
    """Returns a WSGI application that answers in protocol buffers who prefers them, and leaves all else to that for text."""

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        wanted = environ["REQUEST_METHOD"] == "GET" and not environ.get("QUERY_STRING")
        if not wanted or not prefers_protobuf(environ.get("HTTP_ACCEPT", "")):
            said: Iterable[bytes] = text(environ, start_response)
            return said
        page = protobuf.page(registry.collect())
        headers = [("Content-Type", protobuf.CONTENT_TYPE)]
        if "gzip" in environ.get("HTTP_ACCEPT_ENCODING", ""):
            page = gzip.compress(page, 1)
            headers.append(("Content-Encoding", "gzip"))
        start_response("200 OK", headers)
        return [page]

    return answer
