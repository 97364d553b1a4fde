"""api.door: gRPC as any client speaks it, over a real socket, with handlers that echo bytes."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import AsyncIterator
from typing import Any, NoReturn

import grpc
import pytest

from eyasd.api.arrivals import Arrivals, Refused
from eyasd.api.door import Aborted, Door, Refusal, ServerCall
from eyasd.api.transport import options
from http2 import DATA, END_STREAM, RST_STREAM, SETTINGS, Http2
from waits import until, wait_until

MAX_BYTES = 1000


class Echo(grpc.GenericRpcHandler):
    """Every kind of method, and what became of each call."""

    def __init__(self) -> None:
        self.asleep = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.written = 0
        self.remaining: list[float | None] = []

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        if handler_call_details.method == "/t/Broken":
            raise RuntimeError("secret")
        handlers = {
            "/t/Unary": grpc.unary_unary_rpc_method_handler(self.unary),
            "/t/Large": grpc.unary_unary_rpc_method_handler(self.large),
            "/t/Sleep": grpc.unary_unary_rpc_method_handler(self.sleep),
            "/t/Fail": grpc.unary_unary_rpc_method_handler(self.fail),
            "/t/Full": grpc.unary_unary_rpc_method_handler(self.full),
            "/t/Abort": grpc.unary_stream_rpc_method_handler(self.abort),
            "/t/Count": grpc.unary_stream_rpc_method_handler(self.count),
            "/t/Sum": grpc.stream_unary_rpc_method_handler(self.sum),
            "/t/Each": grpc.stream_stream_rpc_method_handler(self.each),
        }
        return handlers.get(handler_call_details.method)

    async def unary(self, request: bytes, context: Any) -> bytes:
        self.remaining.append(context.time_remaining())
        assert context.peer().startswith("ipv4:127.0.0.1:")
        return request + str(dict(context.invocation_metadata()).get("key", "")).encode()

    async def large(self, request: bytes, _: Any) -> bytes:
        return bytes(int(request))

    async def sleep(self, _: bytes, __: Any) -> bytes:
        self.asleep.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return b""

    async def fail(self, _: bytes, __: Any) -> bytes:
        raise RuntimeError("secret")

    async def full(self, _: bytes, context: Any) -> bytes:
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "no room")
        return b""

    async def abort(self, _: bytes, context: Any) -> AsyncIterator[bytes]:
        yield b"one"
        await context.abort(grpc.StatusCode.DATA_LOSS, "told so", (("why-bin", b"\0\1"),))

    async def count(self, request: bytes, _: Any) -> AsyncIterator[bytes]:
        try:
            for number in range(int(request)):
                yield bytes(MAX_BYTES)
                self.written = number + 1
        finally:
            self.cancelled.set()

    async def sum(self, requests: AsyncIterator[bytes], _: Any) -> bytes:
        return str(sum([int(request) async for request in requests])).encode()

    async def each(self, requests: AsyncIterator[bytes], _: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request * 2


class Anybody:
    """A threshold that nobody is stopped at."""

    def __init__(self, places: int = 32) -> None:
        self.arrivals = Arrivals(places, 30)

    def places(self, _: ServerCall) -> Arrivals:
        return self.arrivals

    async def admit(self, _: ServerCall) -> Arrivals:
        raise AssertionError("everybody is let in")

    async def give_up(self, _: ServerCall, error: Refused, __: float) -> NoReturn:
        raise error


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def surprises() -> list[str]:
    return []


@pytest.fixture
def refused_paths() -> list[str]:
    return []


@pytest.fixture
async def door(echo: Echo, surprises: list[str], refused_paths: list[str], free_port: int) -> AsyncIterator[Door]:
    options = [("grpc.max_receive_message_length", MAX_BYTES)]
    busy = Aborted(grpc.StatusCode.RESOURCE_EXHAUSTED, "busy", (("why-bin", b"\2"),))
    refusal = Refusal(lambda path: path != "/t/Count", busy, refused_paths.append)
    made = Door(options, lambda _, handler: handler, Anybody(), lambda path, _: surprises.append(path), refusal)
    made.add_generic_rpc_handlers((echo,))
    assert made.listen(f"127.0.0.1:{free_port}") == free_port
    await made.start()
    yield made
    await made.stop(0)


@pytest.fixture
async def channel(door: Door, free_port: int) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{free_port}") as made:
        yield made


async def refused(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def test_calls_get_their_own_answers_their_metadata_and_their_deadline(channel: grpc.aio.Channel, echo: Echo) -> None:
    unary = channel.unary_unary("/t/Unary")
    answers = await asyncio.gather(*(unary(str(n).encode(), metadata=(("key", "x"),), timeout=600) for n in range(200)))
    assert answers == [f"{n}x".encode() for n in range(200)]
    assert all(300 < seconds <= 600 for seconds in echo.remaining if seconds is not None)
    await unary(b"")
    assert echo.remaining[-1] is None


async def test_streams_flow_both_ways(channel: grpc.aio.Channel) -> None:
    assert await channel.stream_unary("/t/Sum")(iter([b"1", b"2", b"39"])) == b"42"
    stream = channel.stream_stream("/t/Each")()
    for request in (b"a", b"b"):  # the answer comes before the next request is sent
        await stream.write(request)
        assert await stream.read() == request * 2
    await stream.done_writing()
    assert await stream.read() is grpc.aio.EOF
    assert await stream.code() is grpc.StatusCode.OK


async def test_a_slow_reader_holds_the_writer_and_one_that_leaves_ends_it(channel: grpc.aio.Channel, echo: Echo) -> None:
    stream = channel.unary_stream("/t/Count")(b"1000000")
    assert await stream.read() == bytes(MAX_BYTES)
    before = -1
    while echo.written != before:  # until nothing goes through any more
        before = echo.written
        await asyncio.sleep(0.1)
    assert echo.written < 10_000
    stream.cancel()
    await until(echo.cancelled.is_set)


async def test_a_handler_whose_caller_has_left_is_cancelled(channel: grpc.aio.Channel, echo: Echo) -> None:
    call = channel.unary_unary("/t/Sleep")(b"")
    await until(echo.asleep.is_set)
    call.cancel()
    await until(echo.cancelled.is_set)


async def test_a_handler_whose_deadline_has_passed_is_cancelled(channel: grpc.aio.Channel, echo: Echo) -> None:
    seconds = 0.25
    while not echo.asleep.is_set():  # until a call has reached its handler before its deadline
        seconds *= 2
        assert (await refused(channel.unary_unary("/t/Sleep")(b"", timeout=seconds))).code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await until(echo.cancelled.is_set)


async def test_calls_that_were_left_leave_nothing_behind(channel: grpc.aio.Channel, without_collection: None) -> None:
    for _ in range(20):
        assert (await refused(channel.unary_unary("/t/Sleep")(b"", timeout=0.01))).code() is grpc.StatusCode.DEADLINE_EXCEEDED
        stream = channel.unary_stream("/t/Count")(b"1000000")
        await stream.read()
        stream.cancel()

    def there() -> int:
        return sum(type(one) is ServerCall for one in gc.get_objects())

    await until(lambda: not there())  # the last of them may still be on its way out


async def test_what_goes_wrong_has_its_status(channel: grpc.aio.Channel, surprises: list[str]) -> None:
    unknown = await refused(channel.unary_unary("/t/None")(b""))
    assert (unknown.code(), unknown.details()) == (grpc.StatusCode.UNIMPLEMENTED, "There is no method /t/None.")
    failed = await refused(channel.unary_unary("/t/Fail")(b""))
    assert (failed.code(), "secret" in str(failed.details()), surprises) == (grpc.StatusCode.INTERNAL, False, ["/t/Fail"])
    too_large = await refused(channel.unary_unary("/t/Unary")(bytes(MAX_BYTES + 1)))
    assert too_large.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    nothing = await refused(channel.stream_unary("/t/Unary")(iter([])))
    assert nothing.code() is grpc.StatusCode.INVALID_ARGUMENT
    stream = channel.unary_stream("/t/Abort")(b"")
    assert await stream.read() == b"one"
    aborted = await refused(stream.read())
    assert (aborted.code(), aborted.details()) == (grpc.StatusCode.DATA_LOSS, "told so")
    assert dict(aborted.trailing_metadata() or ()) == {"why-bin": b"\0\1"}


async def test_no_path_ends_the_thread_on_which_all_calls_wait(
    channel: grpc.aio.Channel, free_port: int, surprises: list[str]
) -> None:
    unary = channel.unary_unary("/t/Unary")
    for path in (b"", b"/t/\xff\xfe", b"/t/\0\r\n", b"/t/" + b"\xc3" * 4000):
        async with Http2(free_port) as other:
            other.call(path, flags=END_STREAM)
            await other.drain()
            assert await other.ended(), path
        assert await unary(b"x", timeout=30) == b"x"
    assert not surprises
    broken = await refused(channel.unary_unary("/t/Broken")(b"", timeout=30))
    assert (broken.code(), "secret" in str(broken.details()), surprises) == (grpc.StatusCode.INTERNAL, False, ["/t/Broken"])
    assert await unary(b"x", timeout=30) == b"x"


async def test_it_stops_when_the_calls_have_ended_and_cancels_them_after_the_grace(
    door: Door, channel: grpc.aio.Channel, echo: Echo
) -> None:
    stream = channel.stream_stream("/t/Each")()
    await stream.write(b"a")
    assert await stream.read() == b"aa"
    stopping = asyncio.create_task(door.stop(30))
    await asyncio.sleep(0.05)
    await stream.write(b"b")  # a call in flight goes on
    assert await stream.read() == b"bb"
    await stream.done_writing()
    await until(stopping.done)
    assert (await refused(channel.unary_unary("/t/Unary")(b""))).code() is grpc.StatusCode.UNAVAILABLE
    await door.stop(30)


async def test_it_stops_while_many_wait_for_their_turn(echo: Echo, free_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks gRPC for a message when its queue is shut ends the whole process, which is this one."""
    take, taken = ServerCall.take, 0

    def late(call: ServerCall) -> None:
        """As where a busy machine keeps the queue's thread waiting when it has just given a place away."""
        nonlocal taken
        taken += 1
        time.sleep(0.02)
        take(call)

    busy = Refusal(lambda _: False, Aborted(grpc.StatusCode.RESOURCE_EXHAUSTED, "busy", ()), list[str]().append)
    anybody = Anybody(4)
    door = Door(options(300, 100, 65_536), lambda _, handler: handler, anybody, lambda *_: None, busy)
    door.add_generic_rpc_handlers((echo,))
    door.listen(f"127.0.0.1:{free_port}")
    await door.start()
    async with Http2(free_port) as waits:
        async with Http2(free_port) as goes:
            for connection in (goes, waits):
                for _ in range(10):
                    connection.send(DATA, b"\0", stream=connection.call("/t/Unary"))
            await until(lambda: sum(anybody.arrivals.counts) == 20)
            monkeypatch.setattr(ServerCall, "take", late)
        await until(lambda: taken)
    await door.stop(0)
    await until(lambda: anybody.arrivals.counts == (0, 0))


async def test_the_grace_is_the_longest_a_stop_waits(door: Door, channel: grpc.aio.Channel, echo: Echo) -> None:
    call = channel.unary_unary("/t/Sleep")(b"")
    await until(echo.asleep.is_set)
    await asyncio.wait_for(door.stop(0.1), 50)  # and not the minute that the call would take
    assert (await refused(call)).code() in {grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE}
    assert echo.cancelled.is_set()


async def test_while_the_loop_is_behind_calls_are_refused_at_once_without_it(
    door: Door, channel: grpc.aio.Channel, free_port: int, refused_paths: list[str]
) -> None:
    await channel.unary_unary("/t/Unary")(b"")
    began, stands, refused_all = threading.Event(), threading.Event(), threading.Event()

    def ask() -> tuple[list[Any], int, list[Any]]:
        """Asks from a thread, as the loop is the server's, too."""
        with grpc.insecure_channel(f"127.0.0.1:{free_port}") as other:
            grpc.channel_ready_future(other).result(60)
            began.set()
            assert stands.wait(60)
            unary = other.unary_unary("/t/Unary")
            few = [unary.future(b"few") for _ in range(10)]  # wake the loop, which does not come
            time.sleep(0.3)
            few += [unary.future(b"few") for _ in range(10)]
            time.sleep(0.3)
            crowd = [unary.future(b"crowd") for _ in range(50)]
            wait_until(door._is_shut)  # the crowd has come
            errors = [unary.future(b"").exception() for _ in range(20)]
            refused_all.set()
            spared = other.unary_stream("/t/Count")(b"1")
            answered = sum(call.result() == b"few" for call in few) + len(list(spared))
            return errors, answered, [error for call in crowd if (error := call.exception())]

    asking = asyncio.create_task(asyncio.to_thread(ask))
    while not began.is_set():
        await asyncio.sleep(0.001)
    stands.set()
    assert refused_all.wait(150)  # meanwhile the loop does not come around
    errors, answered, crowded_out = await asking
    assert {(error.code(), error.details()) for error in errors} == {(grpc.StatusCode.RESOURCE_EXHAUSTED, "busy")}
    assert dict(errors[0].trailing_metadata()) == {"why-bin": b"\2"}
    assert answered == 20 + 1  # a few calls wait for the loop
    assert len(crowded_out) <= 50 - (32 - 20)
    assert refused_paths == ["/t/Unary"] * (20 + len(crowded_out))
    assert await channel.unary_unary("/t/Unary")(b"again") == b"again"


async def test_large_answers_that_nobody_takes_have_an_end(echo: Echo, free_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eyasd.api.door.door.MOST_UNTAKEN_BYTES", 1_000_000)
    refusal = Refusal(lambda _: True, Aborted(grpc.StatusCode.RESOURCE_EXHAUSTED, "busy", ()), list[str]().append)
    door = Door(options(300, 100, 65_536), lambda _, handler: handler, Anybody(), lambda *_: None, refusal)
    door.add_generic_rpc_handlers((echo,))
    door.listen(f"127.0.0.1:{free_port}")
    await door.start()
    try:
        async with Http2(free_port) as deaf, grpc.aio.insecure_channel(f"127.0.0.1:{free_port}") as channel:
            deaf.send(SETTINGS, b"\0\x04\0\0\0\0")  # a window of no bytes
            streams = [deaf.call("/t/Large") for _ in range(20)]
            for stream in streams:
                deaf.send(DATA, b"\0\0\0\0\x06100000", flags=END_STREAM, stream=stream)
            async with asyncio.timeout(60):
                for stream in streams[5:]:  # half a million bytes it may leave
                    await deaf.over(stream)
                large = channel.unary_unary("/t/Large")
                assert [len(await large(b"100000")) for _ in range(20)] == [100_000] * 20
            ended = [stream for stream in streams if stream in deaf._over]
            assert ended == streams[5:]
    finally:
        await door.stop(0)


async def test_where_handlers_refuse_a_lot_most_is_refused_without_them(
    channel: grpc.aio.Channel, refused_paths: list[str]
) -> None:
    full = channel.unary_unary("/t/Full")
    said = [(await refused(full(b""))).details() for _ in range(9)]
    await asyncio.sleep(0.06)  # ten refusals, but not within 50 ms
    said += [(await refused(full(b""))).details()]
    assert (said, refused_paths) == (["no room"] * 10, [])
    errors: list[Any] = []
    while not refused_paths:  # until ten refusals fall within 50 ms, on however slow a machine
        errors += await asyncio.gather(*(full(b"") for _ in range(90)), return_exceptions=True)
    details = [error.details() for error in errors if isinstance(error, grpc.aio.AioRpcError)]
    assert len(details) == len(errors)
    assert set(details) == {"no room", "busy"}
    assert details.count("busy") == len(refused_paths)
    await asyncio.sleep(0.06)
    assert await channel.unary_unary("/t/Unary")(b"again") == b"again"


async def test_calls_that_are_reset_while_nobody_takes_them_cost_no_other(echo: Echo, free_port: int) -> None:
    """A busy machine may keep the thread that takes calls waiting; here it waits for its first handler."""
    on = threading.Event()

    def late(_: str, handler: Any) -> Any:
        on.wait(60)
        return handler

    busy = Refusal(lambda _: False, Aborted(grpc.StatusCode.RESOURCE_EXHAUSTED, "busy", ()), list[str]().append)
    door = Door(options(300, 100, 65_536), late, Anybody(), lambda *_: None, busy)
    door.add_generic_rpc_handlers((echo,))
    door.listen(f"127.0.0.1:{free_port}")
    await door.start()
    try:
        async with Http2(free_port) as other, grpc.aio.insecure_channel(f"127.0.0.1:{free_port}") as channel:
            await other.each(4_000, lambda _: other.send(RST_STREAM, b"\0\0\0\x08", stream=other.call("/t/Unary")))
            other.ping()
            async with asyncio.timeout(60):
                await other.pong.wait()
            calls = [asyncio.ensure_future(channel.unary_unary("/t/Unary")(b"a")) for _ in range(20)]
            await asyncio.sleep(0.2)  # they need not have arrived
            on.set()
            assert await asyncio.gather(*calls) == [b"a"] * 20
    finally:
        on.set()
        await door.stop(0)
