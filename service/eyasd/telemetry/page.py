"""The page of metrics that Prometheus asks for."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server

from eyasd.core.errors import StartupFailed


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

    def close() -> None:
        # The thread looks twice a second whether it is to end; this wakes it.
        server.socket.shutdown(socket.SHUT_RDWR)
        server.shutdown()
        server.server_close()
        thread.join()

    return int(server.server_port), close
