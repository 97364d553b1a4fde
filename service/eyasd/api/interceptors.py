"""What happens around every call but health checks: identity, parsing, metrics, trace and access line, and the mapping of errors.

Requests reach this code as bytes and are parsed here, so that a malformed one is the caller's mistake, told in a sentence. An error
of the tree leaves as its status; any other is logged, and the caller is told the request's id only.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Mapping
from contextlib import ExitStack
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Final, NamedTuple, NoReturn
from urllib.parse import unquote

import grpc
import structlog
from google.protobuf.message import DecodeError, Message
from google.rpc import status_pb2

from eyasd.access.credentials import NO_TOKEN
from eyasd.api.arrivals import Refused, Streams
from eyasd.api.asking import CALLER_KEY, host_of
from eyasd.api.dialogue import dialogue
from eyasd.api.door import Aborted, Refusal, ServerCall
from eyasd.api.door.call import NO_MESSAGE, Handler
from eyasd.api.errors import status_of, status_of_surprise, trailers_of
from eyasd.api.gate import Caller, Gate, authorization_of, caller, check_models
from eyasd.api.permissions import OPEN, Rule, rule_of
from eyasd.api.recording import record
from eyasd.core.errors import EyasError, InvalidArgument, Overloaded, PermissionDenied, Unauthenticated
from eyasd.telemetry.context import REQUEST_ID
from eyasd.telemetry.logging import access
from eyasd.telemetry.metrics import Metrics
from eyasd.telemetry.names import OTHER
from eyasd.telemetry.redaction import redacted
from eyasd.telemetry.tracing import OFF, Call, Trace, Tracing, current

_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}
# What makes jobs is rare, and a trace of a training that begins with its stages would lack who wanted it.
_ALWAYS_TRACED: Final = "/eyas.v1.TrainingService/"
# Of a server's span, by the semantic conventions of gRPC: the other codes are the caller's doing.
_SERVER_ERRORS: Final = frozenset(
    {
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)


class CallInterceptor:
    """Wraps each handler of the service."""

    def __init__(
        self,
        *,
        gate: Gate,
        metrics: Metrics,
        log: structlog.typing.FilteringBoundLogger,
        streams: Streams,
        idle_seconds: float,
        own: Mapping[str, Callable[[str], bool]] = MappingProxyType({}),
        tracing: Tracing = OFF,
    ) -> None:
        """Remembers what calls are checked against and reported to.

        Args:
            gate: lets callers in.
            metrics: counts and times each call.
            log: gets one access line a call.
            streams: in which callers send.
            idle_seconds: how long one of them may be silent.
            own: by the path of a method that has tokens of its own, and takes no other, whether a token is one.
            tracing: makes a trace of those calls that are sampled.
        """
        self._own, self._streams, self._idle_seconds = own, streams, idle_seconds
        self._intercepted: set[str] = set()
        self.tracing = tracing
        self.gate = gate
        self._metrics = metrics
        self._log = log
        self._access = access(log)

    def intercept(self, path: str, handler: Handler) -> Handler:
        """Returns the handler to use for a method, once for all of its calls."""
        if rule_of(path) is OPEN:
            return handler
        self._intercepted.add(path)
        inner: Any = handler
        method = _Method.of(path)
        if handler.request_streaming and asyncio.iscoroutinefunction(inner.stream_stream):
            conversation = self._conversation(method, handler, inner.stream_stream)
            return grpc.stream_stream_rpc_method_handler(conversation, None, handler.response_serializer)
        if handler.request_streaming and not handler.response_streaming:
            gathering = self._gathering(method, handler, inner.stream_unary)
            return grpc.stream_unary_rpc_method_handler(gathering, None, handler.response_serializer)
        if handler.request_streaming:
            conversation = self._conversation(method, handler, dialogue(inner.stream_stream, self._idle_seconds))
            return grpc.stream_stream_rpc_method_handler(conversation, None, handler.response_serializer)
        if handler.response_streaming:
            responses = self._responses(method, handler, inner.unary_stream)
            return grpc.unary_stream_rpc_method_handler(responses, None, handler.response_serializer)
        return grpc.unary_unary_rpc_method_handler(
            self._response(method, handler, inner.unary_unary), None, handler.response_serializer
        )

    def _response(self, method: _Method, handler: Handler, behaviour: Any) -> Callable[[bytes, Any], Awaitable[Message]]:
        async def call(request: bytes, context: Any) -> Message:
            async with (around := _Call(self, method, context)) as made:
                await around.admit()
                made.size_bytes = len(request)
                parsed = _parse(handler, request)
                await around.enter(parsed)
                response: Message = await behaviour(parsed, context)
                return response

        return call

    def _responses(self, method: _Method, handler: Handler, behaviour: Any) -> Callable[[bytes, Any], AsyncIterator[Message]]:
        async def call(request: bytes, context: Any) -> AsyncIterator[Message]:
            async with (around := _Call(self, method, context)):
                await around.admit()
                parsed = _parse(handler, request)
                await around.enter(parsed)
                async for response in behaviour(parsed, context):
                    yield response

        return call

    def _gathering(self, method: _Method, handler: Handler, behaviour: Any) -> Callable[[Any, Any], Awaitable[Message]]:
        async def call(requests: Any, context: Any) -> Message:
            async with (around := _Call(self, method, context)) as made:
                await around.admit()
                with around.reading():
                    await around.begin(None)
                    response: Message = await behaviour(_parse_each(handler, requests, made, method.rule), context)
                return response

        return call

    def _conversation(self, method: _Method, handler: Handler, behaviour: Any) -> Callable[[Any, Any], Awaitable[None]]:
        """Is for a handler that writes for itself."""

        async def call(requests: Any, context: Any) -> None:
            async with (around := _Call(self, method, context)) as made:
                await around.admit()
                with around.reading():
                    await behaviour(_parse_each(handler, requests, made, method.rule), context)

        return call

    async def admit(self, method: _Method, context: Any) -> Caller | None:
        """Lets a call in before its request is parsed; returns who makes it, None where that is an attempt of a job.

        Raises:
            Unauthenticated: nobody knows who calls.
            PermissionDenied: he may not.
        """
        authorization = authorization_of(context.invocation_metadata())
        own = self._own.get(method.path)
        if own is not None:
            if not own(authorization.removeprefix("Bearer ")):
                raise Unauthenticated(NO_TOKEN)
            return None
        names = context.certificate_names() if self.gate.asks_certificates else None
        return await self.gate.admit(method.rule, authorization, names, host_of(context), again=context.was_let_in)

    async def admit_early(self, call: ServerCall) -> Hashable:
        """Lets a call in before its request comes; returns whose it is. Raises Aborted, and then it is reported."""
        async with (around := _Call(self, _Method.of(call.method), call, is_whole=False)):
            await around.admit()
        return caller().key

    async def give_up(self, call: ServerCall, error: Refused, seconds: float) -> NoReturn:
        """Raises and reports what a caller is told of whose call no request came."""
        self._metrics.refusals.labels(OTHER, error.metadata["cause"]).inc()
        async with _Call(self, _Method.of(call.method), call, seconds=seconds):
            raise error

    def place_of_stream(self) -> ExitStack:
        """Returns a place among the streams for `caller`. Raises Overloaded."""
        try:
            return self._streams.place(caller().key)
        except Overloaded as error:
            self._metrics.refusals.labels(OTHER, error.metadata["cause"]).inc()
            raise

    def report(self, method: str, code: grpc.StatusCode, seconds: float, peer: str, message: str | None, call: Call) -> None:
        """Counts and logs one finished call, and ends its trace."""
        self._metrics.rpcs.labels(method, code.name).inc()
        self._metrics.rpc_seconds.labels(method).observe(seconds, call.trace.context.trace_id if call.trace is not None else "")
        # A refusal is ours in every word, and there may be thousands a second.
        told = message if message is None or code is grpc.StatusCode.RESOURCE_EXHAUSTED else redacted(message)
        self._access(method, code.name, seconds, peer, told, call)
        if call.trace is not None:
            self._end(call.trace, call, code, peer, told)

    def _end(self, trace: Trace, call: Call, code: grpc.StatusCode, peer: str, message: str | None) -> None:
        known: dict[str, str | int] = {"eyas.request_id": call.request_id, "network.peer.address": _address(peer)}
        known |= {"eyas.model": call.model} if call.model else {}
        known |= {"eyas.version": call.version} if call.version else {}
        known |= {"eyas.images": call.images} if call.images else {}
        known |= {"eyas.job": call.job} if call.job else {}
        known |= {"error.type": code.name} if code is not grpc.StatusCode.OK else {}
        trace.attributes |= known
        if call.answered:
            trace.span("reply", call.answered, time.monotonic())
        self.tracing.finish(trace, message or "" if code in _SERVER_ERRORS else None)

    @property
    def refusal(self) -> Refusal:
        """How calls are refused where the server is too busy to refuse them properly; health checks are not."""
        status = status_of(
            Overloaded("More calls come than the server can as much as refuse: try again later.", retry_after=timedelta(seconds=1))
        )
        aborted = Aborted(_CODES[status.code], status.message, trailers_of(status))
        return Refusal(lambda path: rule_of(path) is not OPEN, aborted, self._refused)

    def _refused(self, path: str) -> None:
        # A method that nobody has called before may be one that a caller has made up.
        method = _name(path) if path in self._intercepted else OTHER
        self._metrics.rpcs.labels(method, grpc.StatusCode.RESOURCE_EXHAUSTED.name).inc()
        self._metrics.refusals.labels(OTHER, "calls").inc()

    def surprise(self, method: str, error: Exception) -> str:
        """Logs an error nobody foresaw, and returns what the caller is told: the id under which it can be found."""
        call = current()
        request_id = call.request_id if call is not None else secrets.token_hex(8)
        trace = {"trace_id": call.trace_id} if call is not None and call.trace_id else {}
        self._log.error("unexpected error", method=method, request_id=request_id, **trace, exc_info=error)
        return f"Eyas failed in a way it did not foresee. The server's log says more under the id {request_id}."


class _Call:
    """One call: what its block raises becomes the call's status, and how it ended is reported once."""

    def __init__(
        self, interceptor: CallInterceptor, method: _Method, context: Any, *, is_whole: bool = True, seconds: float = 0.0
    ) -> None:
        """Takes a call.

        Args:
            interceptor: reports it.
            method: that is called.
            context: of its handler.
            is_whole: whether its request is there; one that is not is reported only if it ends.
            seconds: for which it has been waited for.
        """
        self._interceptor = interceptor
        self._method = method
        self._context = context
        self._is_whole = is_whole
        self._start = time.monotonic() - seconds
        self._record: Mapping[str, Any] | None = None  # of a change that has begun
        self._refused: Mapping[str, Any] | None = None  # of one that its caller may not make

    async def admit(self) -> None:
        """See `CallInterceptor.admit`; that somebody may not change what he wants to is taken down, too."""
        try:
            made = await self._interceptor.admit(self._method, self._context)
        except PermissionDenied:
            self._call.caller = caller().identity.name
            self._refused = self._described(None)
            raise
        self._call.caller = made.identity.name if made is not None else ""

    async def enter(self, request: Message) -> None:
        """Looks at what the request is about. Raises PermissionDenied, StorageFailed."""
        try:
            check_models(self._method.rule, request)
        except PermissionDenied:
            self._refused = self._described(request)
            raise
        await self.begin(request)

    def reading(self) -> ExitStack:
        """Returns what holds a stream's place while its requests are read. Raises Overloaded."""
        return self._interceptor.place_of_stream()

    async def begin(self, request: Message | None) -> None:
        """Takes down that a change begins, if it is one, and from now on how it ends. Raises StorageFailed."""
        if (described := self._described(request)) is not None:
            await self._interceptor.gate.audit.begin(described)
            self._record = described

    def _described(self, request: Message | None) -> Mapping[str, Any] | None:
        """Returns the record of a change; None of what is none."""
        if not self._method.rule.changes:
            return None
        says = next((str(value) for key, value in self._context.invocation_metadata() if key == CALLER_KEY), "")
        return record(self._method.name, self._context.peer(), says, self._call.request_id, request)

    async def __aenter__(self) -> Call:
        method, context = self._method, self._context
        call = self._call = self._interceptor.tracing.begin(method.span, context.invocation_metadata(), always=method.always_traced)
        if call.trace is not None:
            service, _, name = method.span.partition("/")
            call.trace.attributes |= {"rpc.system": "grpc", "rpc.service": service, "rpc.method": name}
        context.set_trailing_metadata(((REQUEST_ID, call.request_id),))
        return call

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if error is None:
            if self._is_whole:
                self._report(grpc.StatusCode.OK, None)
        elif isinstance(error, Aborted):
            self._report(error.code, error.details)
        elif isinstance(error, EyasError):
            await self._abort(status_of(error, self._call.request_id))
        elif isinstance(error, asyncio.CancelledError | GeneratorExit):  # the caller left, or its deadline passed
            self._report(grpc.StatusCode.CANCELLED, None)
        elif isinstance(error, Exception):
            message = self._interceptor.surprise(self._method.name, error)
            await self._abort(status_of_surprise(message, self._call.request_id))

    async def _abort(self, status: status_pb2.Status) -> None:
        code = _CODES[status.code]
        self._report(code, status.message)
        await self._context.abort(code, status.message, trailers_of(status))

    def _report(self, code: grpc.StatusCode, message: str | None) -> None:
        if self._call.trace is not None:
            self._call.trace.attributes["rpc.grpc.status_code"] = code.value[0]
        audit, told = self._interceptor.gate.audit, redacted(message) if message and (self._record or self._refused) else None
        if self._refused is not None:
            audit.refuse({**self._refused, "bytes": self._call.size_bytes}, told)
        if self._record is not None:
            job = {"job": self._call.job} if self._call.job else {}
            audit.end({**self._record, **job, "bytes": self._call.size_bytes}, code.name, told)
        seconds = time.monotonic() - self._start
        self._interceptor.report(self._method.name, code, seconds, self._context.peer(), message, self._call)


class _Method(NamedTuple):
    """A method, as it is called in several places.

    Attributes:
        path: in a call, such as `/eyas.v1.JobService/GetJob`.
        name: in metrics and the log, such as `JobService/GetJob`.
        span: in traces, such as `eyas.v1.JobService/GetJob`.
        always_traced: see `Tracing.begin`.
        rule: who may call it.
    """

    path: str
    name: str
    span: str
    always_traced: bool
    rule: Rule

    @classmethod
    def of(cls, path: str) -> _Method:
        """Returns the method of a path."""
        return cls(path, _name(path), path.removeprefix("/"), path.startswith(_ALWAYS_TRACED), rule_of(path))


def _address(peer: str) -> str:
    """Returns the address alone of `ipv4:10.0.0.7:50000`, `ipv6:%5B::1%5D:50000` or what aiohttp calls a caller."""
    family, _, place = peer.partition(":")
    return unquote(place.rpartition(":")[0]).strip("[]") if family in {"ipv4", "ipv6"} else peer


def _name(path: str) -> str:
    return path.removeprefix("/").split(".")[-1]


def _parse(handler: Any, request: bytes) -> Message:
    try:
        message: Message = handler.request_deserializer(request)
    except DecodeError:
        raise InvalidArgument("", NO_MESSAGE) from None
    return message


async def _parse_each(handler: Any, requests: AsyncIterator[bytes], call: Call, rule: Rule) -> AsyncIterator[Message]:
    async for request in requests:
        call.size_bytes += len(request)
        parsed = _parse(handler, request)
        check_models(rule, parsed)
        yield parsed
