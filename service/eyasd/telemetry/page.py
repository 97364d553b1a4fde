"""The page of metrics that Prometheus asks for, in the form that it likes best: text, OpenMetrics, or protocol buffers."""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from socketserver import ThreadingMixIn
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

from eyasd.core.errors import StartupFailed
from eyasd.telemetry import protobuf

_PROTOBUF: Final = "application/vnd.google.protobuf"
_PATIENCE_SECONDS: Final = 10.0
# Each has a thread. Prometheus, its replicas and a person or two ask for some milliseconds each.
_MOST_CONNECTIONS: Final = 32
_PARAMETERS: Final = {"proto=io.prometheus.client.metricfamily", "encoding=delimited"}


def serve_metrics(address: str, registry: CollectorRegistry) -> tuple[int, Callable[[], None]]:
    """Shows metrics to Prometheus; returns the port, and what ends it.

    Raises:
        StartupFailed: the address cannot be listened on.
    """
    host, _, port = address.rpartition(":")
    try:
        server = make_server(host.strip("[]"), int(port), _choosing(make_wsgi_app(registry), registry), _server(host), _Impatient)
    except OSError as error:
        raise StartupFailed(
            f"The metrics address {address} cannot be listened on ({error.strerror}): stop what uses it, or choose another "
            "with --metrics-port."
        ) from error
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()

    def close() -> None:
        # The thread looks twice a second whether it is to end; this wakes it.
        server.socket.shutdown(socket.SHUT_RDWR)
        server.shutdown()
        server.server_close()
        thread.join()

    return int(server.server_port), close


class _Server(ThreadingMixIn, WSGIServer):
    """A thread a connection, and so many at most: where there are more, one that has not asked yet makes room."""

    daemon_threads = True
    request_queue_size = 128  # which a crowd fills; of 5, as Python has it, Prometheus' own connection may be lost

    def __init__(self, *arguments: Any) -> None:
        self._silent: dict[socket.socket, bool] = {}  # of each connection, the first of them first
        self._lock = threading.Lock()
        super().__init__(*arguments)

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002 - socketserver's form
        """Returns whether there is room for a connection that has come."""
        with self._lock:
            if len(self._silent) >= _MOST_CONNECTIONS:
                longest = next((one for one, is_silent in self._silent.items() if is_silent), None)
                if longest is None:
                    return False
                del self._silent[longest]
                with suppress(OSError):  # it has gone by itself
                    longest.shutdown(socket.SHUT_RDWR)
            self._silent[request] = True
        return True

    def asked(self, request: socket.socket) -> None:
        """Notes that a request has come whole."""
        with self._lock:
            if request in self._silent:
                self._silent[request] = False

    def shutdown_request(self, request: Any) -> None:
        """Ends a connection."""
        with self._lock:
            self._silent.pop(request, None)
        super().shutdown_request(request)


class _ServerOfIPv6(_Server):
    address_family = socket.AF_INET6


def _server(host: str) -> type[_Server]:
    return _ServerOfIPv6 if ":" in host else _Server


class _Impatient(WSGIRequestHandler):
    """Leaves who says nothing, and says nothing itself."""

    server: _Server

    def setup(self) -> None:
        super().setup()
        self.connection.settimeout(_PATIENCE_SECONDS)

    def handle(self) -> None:
        with suppress(TimeoutError, ConnectionError):
            super().handle()

    def parse_request(self) -> bool:
        is_whole = super().parse_request()
        self.server.asked(self.connection)
        return is_whole

    def log_message(self, *arguments: Any) -> None:
        """Writes no line for a request."""


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
