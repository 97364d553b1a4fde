"""A server of coroutines on gRPC's completion queue.

One thread waits for the queue and hands what comes to the event loop, a bunch at a time: while the loop is busy, the next bunch
gathers, and wakes it once. The queue is that of grpcio's own synchronous server (`grpc._server`), with which `grpc._cython.cygrpc`
has kept its form for years; the version of grpcio is bounded above in pyproject.toml all the same.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import grpc
from grpc._cython import cygrpc  # type: ignore[attr-defined] # not in the types of grpcio

from eyasd.api.door.call import UNFORESEEN, Aborted, Handler, ServerCall, Surprised, Threshold, path_of, refuse
from eyasd.api.door.calls import MOST_CALLS, MOST_PROBES, MOST_UNTAKEN_BYTES, Calls, Shares

_ARRIVAL: Final = "arrival"
_SHUT: Final = "shut"

Guard = Callable[[str, Handler], Handler]
# So far the loop is behind, with so much to hear, where calls come faster than it can as much as refuse them. A loop that 128 calls
# keep busy comes around every 50 ms; one that waits for another program to leave the core may have a few calls to hear.
_PATIENCE_SECONDS: Final = 0.1
_CROWD: Final = 32
# A handler's refusal takes three times as long as one of the queue's thread. Where handlers refuse this many within this time, the
# thread refuses all that come in the next milliseconds; then some get in again, and whose turn it is decides for most of the time.
_REFUSALS: Final = 10
_REFUSALS_WITHIN_SECONDS: Final = 0.05
_SHUT_SECONDS: Final = 0.02


class Refusal(NamedTuple):
    """How a call is refused without the event loop, where that is hopelessly behind, or busy with refusing.

    Attributes:
        applies: to which methods' paths.
        status: what the caller is told.
        told: called with the path of each that was refused, in another thread than the loop's.
    """

    applies: Callable[[str], bool]
    status: Aborted
    told: Callable[[str], None]


class _CallDetails(NamedTuple):
    """What generated code asks to find a handler: the method's path; it never looks at the metadata."""

    method: str
    invocation_metadata: tuple[()] = ()


class Door:
    """Listens, and runs a handler for each call. Belongs to one event loop from `start` on."""

    def __init__(
        self,
        options: Sequence[tuple[str, int | str]],
        guard: Guard,
        threshold: Threshold,
        on_surprise: Surprised,
        refusal: Refusal,
    ) -> None:
        """Makes a server without an address.

        Args:
            options: of gRPC's core.
            guard: returns the handler to use for a method, given its path and the handler of the service.
            threshold: says whose message is taken.
            on_surprise: told the method and what its handler should not have raised.
            refusal: of calls that come while the loop is behind, or has much to refuse.
        """
        self._server = cygrpc.Server([(name.encode(), value) for name, value in options], False)
        self._queue = cygrpc.CompletionQueue()
        self._server.register_completion_queue(self._queue)
        self._guard = guard
        self._threshold = threshold
        self._on_surprise = on_surprise
        self._refusal = refusal
        self._services: list[grpc.GenericRpcHandler] = []
        self._handlers: dict[str, Handler] = {}
        self._calls: dict[ServerCall, Calls] = {}
        self._asked, self._probing = Calls(MOST_CALLS), Calls(MOST_PROBES)
        self._untaken = Shares(MOST_UNTAKEN_BYTES)
        self._ready: deque[tuple[Callable[[Any], None], Any]] = deque()
        self._woken = False
        self._woken_at = 0.0
        self._refusals: deque[float] = deque(maxlen=_REFUSALS)
        self._shut_until = 0.0
        self._loop: asyncio.AbstractEventLoop
        self._open = False
        self._lock = threading.Lock()  # between what the queue is still asked for by its thread and the end of asking
        self._thread = threading.Thread(target=self._poll, name="grpc", daemon=True)
        self._shut = asyncio.Event()

    # What generated code calls to register a service.

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Adds services, each of which knows the handlers of its methods."""
        self._services += handlers

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Handler]) -> None:
        """Adds the handlers of a service's methods, which `add_generic_rpc_handlers` was told of too."""

    def listen(self, address: str, credentials: grpc.ServerCredentials | None = None) -> int:
        """Binds an address, and returns the port.

        Raises:
            RuntimeError: it cannot be bound.
        """
        secure = () if credentials is None else (vars(credentials)["_credentials"],)  # as grpc's own servers do
        port = int(self._server.add_http2_port(address.encode(), *secure))
        if port == 0:
            raise RuntimeError(f"{address} cannot be bound")
        return port

    async def start(self) -> None:
        """Answers calls from now on."""
        self._loop = asyncio.get_running_loop()
        self._server.start()
        self._open = True
        self._await_arrival()
        self._thread.start()

    async def stop(self, grace_seconds: float) -> None:
        """Refuses new calls, lets those in flight finish within the grace, and cancels the rest."""
        with self._lock:
            stopped, self._open = not self._open, False
            if stopped:
                return
            self._server.shutdown(self._queue, _SHUT)
        try:
            await asyncio.wait_for(self._shut.wait(), grace_seconds)
        except TimeoutError:
            self._server.cancel_all_calls()
            await self._shut.wait()
        with self._lock:
            self._queue.shutdown()
        await asyncio.to_thread(self._thread.join)
        self._server.destroy()

    def _poll(self) -> None:
        """Waits for the queue; runs in a thread of its own."""
        while True:
            event = self._queue.poll()
            if event.completion_type == cygrpc.CompletionType.queue_shutdown:
                return
            tag = event.tag
            if tag is _ARRIVAL:
                if event.success:
                    self._admit(event)
            elif tag is _SHUT:
                self._tell(lambda _: self._shut.set(), None)
            elif isinstance(tag, ServerCall):  # it has ended; few are worth waking the loop
                self._leave(tag)
                if event.batch_operations[0].cancelled():
                    self._tell(tag.cancelled, event)
            elif isinstance(tag, tuple):
                with self._lock:  # the next whose turn it is asks for his message: of a queue that is shut, that ends the process
                    tag[0].came(event)
                self._tell(tag[0].received, event)
            elif tag is not None:
                self._tell(tag, event)
            # An event holds its call; gRPC spins if one outlives the next poll.
            del event, tag

    def _admit(self, event: Any) -> None:
        """Begins a call, whatever it brings: what it might meet here ends it, and not the thread on which all others wait."""
        self._await_arrival()
        path = path_of(event)
        try:
            self._arrive(path, event)
        except Exception as error:  # noqa: BLE001 - as of a handler
            self._on_surprise(path, error)
            event.call.cancel(grpc.StatusCode.INTERNAL.value[0], UNFORESEEN)

    def _arrive(self, path: str, event: Any) -> None:
        is_refusable = self._refusal.applies(path)
        peer, calls = event.call.peer().decode(), self._asked if is_refusable else self._probing
        came_seldom = calls.came(peer)
        if not calls.has_room(peer) or (is_refusable and not came_seldom and self._is_shut()):
            self._refusal.told(path)  # before the caller knows: who asks for the count then finds it
            refuse(event.call, self._refusal.status)
            return
        handler = self._find(path)
        call = ServerCall(event, handler, peer, self._loop, self._threshold, self._untaken, self._on_surprise, self._count_refusal)
        self._calls[call] = calls
        calls.entered(peer)
        if (then := call.arrive()) is not None:
            self._tell(then, event)

    def _leave(self, call: ServerCall) -> None:
        if (calls := self._calls.pop(call, None)) is not None:
            calls.left(call.peer())

    def _is_shut(self) -> bool:
        now = time.monotonic()
        behind = self._woken and now - self._woken_at > _PATIENCE_SECONDS and len(self._ready) >= _CROWD
        return behind or now < self._shut_until

    def _count_refusal(self) -> None:
        now = time.monotonic()
        self._refusals.append(now)
        if len(self._refusals) == _REFUSALS and now - self._refusals[0] < _REFUSALS_WITHIN_SECONDS:
            self._shut_until = now + _SHUT_SECONDS

    def _await_arrival(self) -> None:
        with self._lock:
            if self._open:
                self._server.request_call(self._queue, self._queue, _ARRIVAL)

    def _find(self, path: str) -> Handler | None:
        handler = self._handlers.get(path)
        if handler is None:
            found = (service.service(_CallDetails(path)) for service in self._services)  # type: ignore[arg-type] # a tuple will do
            own = next((one for one in found if one is not None), None)
            handler = None if own is None else self._handlers.setdefault(path, self._guard(path, own))
        return handler

    def _tell(self, tag: Callable[[Any], None], event: Any) -> None:
        """Hands an event to the loop, and wakes it unless somebody has."""
        self._ready.append((tag, event))
        if not self._woken:
            self._woken_at = time.monotonic()
            self._woken = True
            self._loop.call_soon_threadsafe(self._hear)

    def _hear(self) -> None:
        self._woken = False  # first: what is appended from now on may be missed below
        while self._ready:
            tag, event = self._ready.popleft()
            tag(event)
