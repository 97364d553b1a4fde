"""How the synchronous client carries calls out: over one connection, with deadlines and retries."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc

from eyas import _tracing
from eyas._calls import Call, Page
from eyas._channel import DEFAULT_ADDRESS, DEFAULT_TIMEOUT_SECONDS, Connection, in_seconds
from eyas._errors import from_rpc
from eyas._patience import pause_seconds

T = TypeVar("T")


class Carrier:
    """A connection that calls are carried out over."""

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        timeout: float | timedelta = DEFAULT_TIMEOUT_SECONDS,
        retries: bool = True,
        tls: bool = False,
        root_certificates: bytes | None = None,
        certificate: bytes | None = None,
        private_key: bytes | None = None,
        token: str | None = None,
        tracing: bool | None = None,
    ) -> None:
        """Makes the connection; nothing is sent yet.

        Args:
            address: `HOST:PORT`; of several servers `ipv4:HOST:PORT,HOST:PORT`, or `dns:///NAME:PORT`, which is all that the
                name resolves to: calls are spread over those that say they are SERVING.
            timeout: deadline of a call, in seconds or as a timedelta.
            retries: whether calls that change nothing when repeated are repeated while no server answers, and what a full server
                refuses is sent again when it says, up to five times within the deadline.
            tls: whether to encrypt, and to check the server's certificate.
            root_certificates: PEM of the authorities to trust; None is those gRPC brings.
            certificate: PEM of a certificate of this client's, for a server that asks for one; needs tls.
            private_key: PEM of its key.
            token: sent as a bearer token; without TLS only to this machine.
            tracing: whether calls are spans of OpenTelemetry, and what the server does for them parts of the same trace; None is
                where a span of the caller's is current. True needs opentelemetry-api.

        Raises:
            ValueError: a value could not work; says which.
        """
        self._connection = Connection(
            address=address,
            timeout_seconds=in_seconds(timeout),
            retries=retries,
            tls=tls,
            root_certificates=root_certificates,
            certificate=certificate,
            private_key=private_key,
            token=token,
            tracing=tracing,
        )
        credentials, options = self._connection.credentials, self._connection.options
        self._channel = (
            grpc.secure_channel(address, credentials, options) if credentials else grpc.insecure_channel(address, options)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def address(self) -> str:
        """The server's `HOST:PORT`."""
        return self._connection.address

    @property
    def is_local(self) -> bool:
        """Whether the server is on this machine, as far as its address tells."""
        return self._connection.is_local

    def close(self) -> None:
        """Ends the connection; calls in flight fail."""
        self._channel.close()

    def _run(self, call: Call[T], timeout: float | timedelta | None = None) -> T:
        with _tracing.span(self._connection.tracing, call.method):
            return self._try(call, self._connection.timeout_seconds if timeout is None else in_seconds(timeout))

    def _try(self, call: Call[T], seconds: float) -> T:
        method: Any = self._channel.unary_unary(call.method, None, call.response.FromString)
        request = call.request.SerializeToString()
        deadline = time.monotonic() + seconds
        for attempt in itertools.count(1):
            left = deadline - time.monotonic()
            try:
                return call.convert(method(request, timeout=left, metadata=self._connection.metadata))
            except grpc.RpcError as rpc:
                error = from_rpc(rpc, self._connection.address)
            pause = pause_seconds(error, attempt, deadline - time.monotonic()) if self._connection.retries else None
            if pause is None:
                raise error
            time.sleep(pause)
        raise AssertionError  # never reached

    def _pages(self, page: Callable[[str], Call[Page[T]]]) -> Iterator[T]:
        token = ""
        while True:
            items, token = self._run(page(token))
            yield from items
            if not token:
                return
