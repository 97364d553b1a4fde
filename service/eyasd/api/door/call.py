"""One call: what its handler sees of it, and how it ends.

The handlers are coroutines and asynchronous generators as grpc.aio's are, and see what they would see there: a context with
`abort`, `read`, `write`, `time_remaining`, `invocation_metadata`, `set_trailing_metadata` and `peer`; and `certificate_names`
besides. All of it happens in the event loop; only `receive` may be called in another thread.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Hashable, Sequence
from typing import Any, Final, NoReturn, Protocol, TypeAlias

import grpc
from google.protobuf.message import DecodeError
from grpc._cython import cygrpc  # type: ignore[attr-defined] # not in the types of grpcio

from eyasd.api.arrivals import Arrivals, Refused, Turn, crowded
from eyasd.api.door.calls import Shares

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Surprised = Callable[[str, Exception], object]
Metadata = Sequence[tuple[str, str | bytes]]

NO_MESSAGE: Final = "The request is not a message of this method: is the client made for another version?"
UNTAKEN: Final = "Too much of what this connection has asked for waits to be taken: read the answers before asking for more."
UNFORESEEN: Final = "The handler failed in a way it did not foresee."
_NO_FLAGS: Final = 0
_SMALL_BYTES: Final = 65_536  # of a message: the least that HTTP/2 lets come anyway
_MOST_PATH: Final = 200  # characters of a path that its caller is told
_FOREVER_SECONDS: Final = 1e9  # gRPC's own deadlines of calls that have none lie further off


class Aborted(Exception):
    """Ends a call with a status; `ServerCall.abort` raises it."""

    def __init__(self, code: grpc.StatusCode, details: str, trailing_metadata: Metadata) -> None:
        super().__init__(code, details)
        self.code = code
        self.details = details
        self.trailing_metadata = tuple(trailing_metadata)


class Threshold(Protocol):
    """Says who may send his message, before it is taken; of calls of one message."""

    def places(self, call: ServerCall) -> Arrivals | None:
        """Returns where a call asks for its message, None where its caller has to be let in first; is called in any thread."""

    async def admit(self, call: ServerCall) -> Arrivals:
        """Lets a caller in, and returns where his call asks for its message. Raises Aborted."""

    async def give_up(self, call: ServerCall, error: Refused, seconds: float) -> NoReturn:
        """Raises what a caller is told whose message is not waited for any longer, so many seconds after it was asked for."""


class ServerCall:
    """A call, from its arrival to its end.

    Attributes:
        method: its path, such as `/eyas.v1.JobService/GetJob`.
        caller: who makes it, where he is known already; None otherwise.
        was_let_in: whether its caller was asked who he is before its message came.
    """

    def __init__(
        self,
        arrival: Any,
        handler: Handler | None,
        peer: str,
        loop: asyncio.AbstractEventLoop,
        threshold: Threshold,
        untaken: Shares,
        on_surprise: Surprised,
        on_refusal: Callable[[], None],
    ) -> None:
        """Wraps what the completion queue says of a new call.

        Args:
            arrival: the queue's event.
            handler: of its method; None if there is no such method.
            peer: the caller's address, as gRPC has it.
            loop: where the handler runs.
            threshold: says when its message may come.
            untaken: bytes of large answers, of all calls, that wait to be taken.
            on_surprise: called with the method and what its handler raised, where it should have raised nothing.
            on_refusal: called where it answers RESOURCE_EXHAUSTED.
        """
        self.method = path_of(arrival)
        self.caller: Hashable = None
        self.was_let_in = False
        self._call = arrival.call
        self._details = arrival.call_details
        self._metadata = arrival.invocation_metadata
        self._handler = handler
        self._peer = peer
        self._loop = loop
        self._threshold = threshold
        self._untaken = untaken
        self._places: Arrivals | None = None
        self._begun = False
        self._given_up = False
        self._on_surprise = on_surprise
        self._on_refusal = on_refusal
        self._task: asyncio.Task[None] | None = None
        self._reading: asyncio.Future[bytes | None] | None = None
        self._writing = False
        self._metadata_sent = False
        self._trailing: tuple[tuple[str, str | bytes], ...] = ()
        self._ended = False

    def arrive(self) -> Callable[[Any], None] | None:
        """Begins the call as far as any thread can, and returns what is to be done in the event loop, None where nothing is."""
        self._start((cygrpc.ReceiveCloseOnServerOperation(_NO_FLAGS),), self)
        if self._handler is None or self._handler.request_streaming:  # the handlers of streams read for themselves
            return self._begin
        places = self._threshold.places(self)
        return self._meet if places is None else self._ask(places)

    # To an `Arrivals`. A handler is begun when its whole request is there, which is asked for once there is a place for it. Until
    # then HTTP/2 lets its first window of it come.

    @property
    def key(self) -> Hashable:
        """Whose call it is: who its caller is, or else the connection."""
        return self.peer() if self.caller is None else self.caller

    def take(self) -> None:
        """Asks the queue for the request; may be called in any thread."""
        self._start((cygrpc.ReceiveMessageOperation(_NO_FLAGS),), (self,))

    def expel(self, error: Refused, seconds: float) -> None:
        """Ends the call without its message."""
        self._given_up = True
        if not self._ended:
            self._task = self._loop.create_task(self._conclude(lambda: self._threshold.give_up(self, error, seconds)))

    # What the queue tells, in the event loop.

    def _begin(self, _: Any) -> None:
        """Begins the handler of a stream, or refuses a method that does not exist."""
        if self._handler is None:
            self._end(grpc.StatusCode.UNIMPLEMENTED, f"There is no method {self.method[:_MOST_PATH]}.")
        else:
            self._begun = True
            self._task = self._loop.create_task(self._conclude(lambda: self._handle(self._requests())))

    def _meet(self, _: Any) -> None:
        """Has the caller let in, and then asks for his message."""
        if not self._ended:
            self._task = self._loop.create_task(self._conclude(self._admit))

    def came(self, event: Any) -> None:
        """Frees the place of a request that takes no more memory than it would without; may be called in any thread."""
        message = event.batch_operations[0].message()
        places = self._places
        if places is not None and (message is None or len(message) < _SMALL_BYTES):
            self._places = None
            places.left(self, whole=message is not None)

    def received(self, event: Any) -> None:
        """Begins the handler with its request."""
        message = event.batch_operations[0].message()
        if self._places is not None:
            self._places.left(self, whole=message is not None)
        if self._ended or self._given_up:  # its caller has left meanwhile, and nobody would stop the handler any more
            return
        if message is None:  # its caller has left, sent nothing, or too much; of the last, gRPC tells the caller
            self._end(grpc.StatusCode.INVALID_ARGUMENT, "The call ended before its request was there.")
        else:
            self._begun = True
            self._task = self._loop.create_task(self._conclude(lambda: self._handle(message)))

    def cancelled(self, _: Any) -> None:
        """Stops the handler: the caller has left, or the deadline has passed."""
        self._ended = True
        places = self._places  # which another thread may let go of
        if places is not None:
            places.gave_up(self)
        if self._task is not None:
            self._task.cancel()
            self._task = None  # one that has not begun yet keeps this call, by what ends it

    # What the handler sees.

    def invocation_metadata(self) -> Metadata:
        """Returns the metadata that came with the call."""
        metadata: Metadata = self._metadata
        return metadata

    def peer(self) -> str:
        """Returns the caller's address, such as `ipv4:127.0.0.1:50000`."""
        return self._peer

    def certificate_names(self) -> tuple[str, ...] | None:
        """Returns the names in the caller's certificate, which an authority has vouched for; None where he has shown none."""
        known = cygrpc.auth_context(self._call)
        if b"x509_pem_cert" not in known:
            return None
        names = (*known.get(b"x509_subject_alternative_name", ()), *known.get(b"x509_common_name", ()))
        return tuple(name.decode(errors="replace") for name in names if name)

    def time_remaining(self) -> float | None:
        """Returns the seconds until the caller's deadline, 0 if it has passed, None if there is none."""
        seconds: float = self._details.deadline - time.time()
        return None if seconds > _FOREVER_SECONDS else max(seconds, 0.0)

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Metadata = ()) -> NoReturn:
        """Ends the call with a status. Raises what the handler must not catch."""
        raise Aborted(code, details, trailing_metadata)

    async def read(self) -> Any:
        """Returns the next request of a stream, or `grpc.aio.EOF`; what comes after its reader was cancelled is kept."""
        if self._reading is None:
            self._reading = self._loop.create_future()
            self._start((cygrpc.ReceiveMessageOperation(_NO_FLAGS),), self._read_done)
        message = await asyncio.shield(self._reading)
        self._reading = None
        return grpc.aio.EOF if message is None else self._parsed(message)

    async def write(self, response: Any) -> None:
        """Sends a response of a stream, and returns when HTTP/2's window has room for the next."""
        done: asyncio.Future[bool] = self._loop.create_future()
        message = cygrpc.SendMessageOperation(self._serialized(response), _NO_FLAGS)

        def written(event: Any) -> None:
            self._writing = False
            if not done.done():
                done.set_result(event.success)

        self._writing = True
        self._start((*self._initial_metadata(), message), written)
        if not await done:
            raise asyncio.CancelledError  # the caller has left

    async def send_initial_metadata(self, metadata: Metadata) -> None:
        """Tells the caller that the call is being answered, though its first response may be long in coming."""
        self._start(self._initial_metadata(metadata), None)

    def set_trailing_metadata(self, metadata: Metadata) -> None:
        """Tells the caller more with the status, however the call ends."""
        self._trailing = tuple(metadata)

    async def _requests(self) -> AsyncIterator[Any]:
        while (request := await self.read()) is not grpc.aio.EOF:
            yield request

    def _ask(self, places: Arrivals) -> Callable[[Any], None] | None:
        """Asks for the message, as soon as there is a place for it; returns what is to be done in the event loop."""
        self._places = places
        match places.ask(self):
            case Turn.NOW:
                return None
            case Turn.LATER:
                return lambda _: places.look_soon()
            case Turn.NEVER:
                return lambda _: self.expel(crowded(), 0.0)

    async def _admit(self) -> None:
        places = await self._threshold.admit(self)
        self.was_let_in = True
        if not self._ended and (then := self._ask(places)) is not None:
            then(None)

    async def _conclude(self, part: Callable[[], Awaitable[None]]) -> None:
        """Runs a part of the call; what it raises is the call's end."""
        try:
            await part()
        except Aborted as aborted:
            if aborted.code is grpc.StatusCode.RESOURCE_EXHAUSTED and self._begun:
                self._on_refusal()
            self._end(aborted.code, aborted.details, aborted.trailing_metadata)
            _forget(aborted)
        except asyncio.CancelledError:
            # It goes no further: the task would keep it, and with its frames the call, and with that its request and its place
            # among the streams of its connection, until Python looks for cycles.
            self._end(grpc.StatusCode.CANCELLED, "The call was cancelled.")
        except Exception as error:  # noqa: BLE001 - whatever a handler raises ends its call and no other
            self._on_surprise(self.method, error)
            self._end(grpc.StatusCode.INTERNAL, UNFORESEEN)
            _forget(error)

    async def _handle(self, request: Any) -> None:
        handler: Any = self._handler
        parsed = request if handler.request_streaming else self._parsed(request)
        if not handler.response_streaming:
            response = await (handler.stream_unary if handler.request_streaming else handler.unary_unary)(parsed, self)
            self._end(grpc.StatusCode.OK, "", response=self._serialized(response))
            return
        answering = (handler.stream_stream if handler.request_streaming else handler.unary_stream)(parsed, self)
        if isinstance(answering, AsyncIterator):
            try:
                async for response in answering:
                    await self.write(response)
            finally:
                if isinstance(answering, AsyncGenerator):  # one that is left half-way cleans up now, not some time later
                    await answering.aclose()
        else:  # a coroutine that writes for itself
            await answering
        self._end(grpc.StatusCode.OK, "")

    def _parsed(self, message: bytes) -> Any:
        deserialize = self._handler.request_deserializer if self._handler else None
        try:
            return deserialize(message) if deserialize else message
        except DecodeError:
            raise Aborted(grpc.StatusCode.INVALID_ARGUMENT, NO_MESSAGE, ()) from None

    def _serialized(self, response: Any) -> bytes:
        serialize = self._handler.response_serializer if self._handler else None
        message: bytes = serialize(response) if serialize else response
        return message

    def _end(self, code: grpc.StatusCode, details: str, trailing: Metadata = (), response: bytes | None = None) -> None:
        if self._ended:
            return
        self._ended = True
        if self._writing:  # to a caller who takes nothing: a status would wait behind the message for ever
            self._call.cancel(code.value[0], details)
            return
        operations, taken = self._initial_metadata(), None
        if response is not None and len(response) > _SMALL_BYTES:
            if self._untaken.has_room(self._peer):
                taken = self._hold(len(response))
            else:
                response, code, details = None, grpc.StatusCode.RESOURCE_EXHAUSTED, UNTAKEN
        if response is not None:
            operations = (*operations, cygrpc.SendMessageOperation(response, _NO_FLAGS))
        metadata = (*self._trailing, *trailing)
        status = cygrpc.SendStatusFromServerOperation(metadata, code.value[0], details.encode(), _NO_FLAGS)
        self._start((*operations, status), taken)

    def _hold(self, size_bytes: int) -> Callable[[Any], None]:
        """Counts an answer until it is taken, or its caller gone, of which the function that is returned is told."""
        untaken, peer = self._untaken, self._peer
        untaken.entered(peer, size_bytes)
        return lambda _: untaken.left(peer, size_bytes)

    def _initial_metadata(self, metadata: Metadata = ()) -> tuple[Any, ...]:
        """Returns the operation that has to come before the first message or the status, once."""
        if self._metadata_sent:
            return ()
        self._metadata_sent = True
        return (cygrpc.SendInitialMetadataOperation(tuple(metadata), _NO_FLAGS),)

    def _read_done(self, event: Any) -> None:
        if self._reading is not None and not self._reading.done():
            self._reading.set_result(event.batch_operations[0].message())

    def _start(self, operations: tuple[Any, ...], tag: Callable[[Any], None] | ServerCall | tuple[ServerCall] | None) -> None:
        """Asks the queue for something.

        Args:
            operations: what it is to do.
            tag: called with the queue's event in the event loop; the call itself for its end, or in a tuple for its request; None
                where nobody waits for it.
        """
        self._call.start_server_batch(operations, tag)


def _forget(error: BaseException | None) -> None:
    """Lets go of the frames through which an error and those before it have come: one of them may hold what holds the error."""
    while error is not None and error.__traceback__ is not None:
        error.__traceback__ = None
        error = error.__context__


def path_of(arrival: Any) -> str:
    """Returns the path that a call asks for; HTTP/2 lets it be any bytes, and what is no text is the path of no method."""
    path: bytes = arrival.call_details.method
    return path.decode(errors="replace")


def refuse(call: Any, status: Aborted) -> None:
    """Ends a call that has just arrived; may be called in any thread."""
    ending = cygrpc.SendStatusFromServerOperation(
        status.trailing_metadata, status.code.value[0], status.details.encode(), _NO_FLAGS
    )
    start = cygrpc.SendInitialMetadataOperation((), _NO_FLAGS)
    call.start_server_batch((start, cygrpc.ReceiveCloseOnServerOperation(_NO_FLAGS), ending), None)
