"""classify_stream of both clients against a fake server: answers, order, bounds, refusals, streams that break off."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2

import eyas
from eyas._stream import MAX_IMAGES
from fake_server import FakeServer, Refusal
from replies import classified, streamed

Caller = Callable[..., Awaitable[Any]]
ENDED = Refusal(grpc.StatusCode.UNAVAILABLE, "The server is going down", (error_details_pb2.ErrorInfo(reason="STREAM_ENDED"),))
IDLE = Refusal(grpc.StatusCode.DEADLINE_EXCEEDED, "Nothing came", (error_details_pb2.ErrorInfo(reason="STREAM_IDLE"),))


def full(milliseconds: int) -> Refusal:
    info, retry = error_details_pb2.ErrorInfo(reason="OVERLOADED"), error_details_pb2.RetryInfo()
    retry.retry_delay.FromTimedelta(timedelta(milliseconds=milliseconds))
    return Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "Full.", (info, retry))


def labels(results: list[tuple[Any, Any]]) -> list[str]:
    return [result.label if isinstance(result, eyas.Classification) else result.reason for _, result in results]


def answer_all(requests: Iterator[Any]) -> Iterator[Any]:
    for request in requests:
        yield streamed(request)


async def test_each_picture_comes_back_with_its_answer(server: FakeServer, call: Caller, tmp_path: Path) -> None:
    server.converses("ClassifyStream", answer_all)
    (tmp_path / "shirt.jpg").write_bytes(b"shirt")
    images: list[Any] = [str(number).encode() for number in range(300)]
    images[7], images[100], images[200] = b"bad", tmp_path / "missing.jpg", tmp_path / "shirt.jpg"
    results = await call("classify_stream", "clothing@canary", images, top_k=3, explain=True, timeout=600)
    assert [image for image, _ in results] == images
    found = labels(results)
    assert (found[7], found[100], found[200]) == ("UNDECODABLE_IMAGE", "UNREADABLE_FILE", "shirt")
    assert [label for number, label in enumerate(found) if number not in {7, 100, 200}] == [
        str(number) for number in range(300) if number not in {7, 100, 200}
    ]
    (received,) = server.received
    options = received.request.options
    assert (options.model, options.top_k, options.explain) == ("models/clothing/aliases/canary", 3, True)
    assert options.picture_timeout.ToTimedelta() == timedelta(minutes=10)


@pytest.mark.parametrize("ordered", [True, False])
async def test_answers_in_the_order_of_the_pictures_or_as_they_are_known(server: FakeServer, call: Caller, ordered: bool) -> None:
    def backwards(requests: Iterator[Any]) -> Iterator[Any]:
        yield from reversed([streamed(next(requests)) for _ in range(10)])

    server.converses("ClassifyStream", backwards)
    results = await call("classify_stream", "m", [str(number).encode() for number in range(10)], ordered=ordered)
    assert labels(results) == [str(number) for number in (range(10) if ordered else reversed(range(10)))]


async def test_no_pictures_are_no_answers(server: FakeServer, call: Caller) -> None:
    server.converses("ClassifyStream", answer_all)
    assert await call("classify_stream", "m", []) == []


async def test_a_stream_that_breaks_off_goes_on_with_what_was_not_answered(server: FakeServer, call: Caller) -> None:
    seen: list[bytes] = []

    def breaking(number: int, end: Refusal) -> Any:
        def some(requests: Iterator[Any]) -> Iterator[Any]:
            for _ in range(number):
                request = next(requests)
                seen.append(request.picture.image.content)
                yield streamed(request)
            next(requests)  # read, and never answered
            yield end

        return some

    server.converses("ClassifyStream", breaking(3, ENDED), breaking(5, IDLE), answer_all)
    # grpc.aio may hide how a stream ended; then its oldest picture is asked alone.
    server.answers("Classify", classified)
    images = [str(number).encode() for number in range(100)]
    results = await call("classify_stream", "m", images)
    assert labels(results) == [str(number) for number in range(100)]
    alone = [received.request.images[0].content for received in server.received if received.method.endswith("/Classify")]
    answered = [*seen, *alone]
    assert len(seen) == 8
    assert len(set(answered)) == len(answered)  # what has an answer is not sent again
    assert len(server.received) - len(alone) >= 3


async def test_what_would_befall_every_picture_is_raised(server: FakeServer, call: Caller) -> None:
    def refuse(requests: Iterator[Any]) -> Iterator[Any]:
        next(requests)
        yield Refusal(grpc.StatusCode.NOT_FOUND, "There is no model 'x'.")

    server.converses("ClassifyStream", refuse)
    server.answers("Classify", Refusal(grpc.StatusCode.NOT_FOUND, "There is no model 'x'."))
    with pytest.raises(eyas.NotFound, match="no model 'x'"):
        await call("classify_stream", "x", [b"x"] * 1000)


async def test_a_refused_picture_is_sent_again_when_the_server_says(server: FakeServer, call: Caller) -> None:
    times = 0

    def refuse_some(requests: Iterator[Any]) -> Iterator[Any]:
        nonlocal times
        for request in requests:
            if request.picture.image.content == b"3" and times < 2:
                times += 1
                yield streamed(request, full(5).status())
            else:
                yield streamed(request)

    server.converses("ClassifyStream", refuse_some)
    results = await call("classify_stream", "m", [str(number).encode() for number in range(10)])
    assert (labels(results), times) == ([str(number) for number in range(10)], 2)


async def test_a_picture_is_refused_for_good_where_its_time_is_up(server: FakeServer, call: Caller) -> None:
    def refuse(requests: Iterator[Any]) -> Iterator[Any]:
        for request in requests:
            yield streamed(request, full(600_000).status())

    server.converses("ClassifyStream", refuse)
    ((_, result),) = await call("classify_stream", "m", [b"x"], timeout=60)
    assert isinstance(result, eyas.Overloaded)
    assert result.retry_after == timedelta(minutes=10)


async def test_an_error_of_the_caller_s_own_is_his(server: FakeServer, call: Caller) -> None:
    def images() -> Iterator[bytes]:
        yield b"1"
        raise RuntimeError("the camera is gone")

    server.converses("ClassifyStream", answer_all)
    with pytest.raises(RuntimeError, match="the camera is gone"):
        await call("classify_stream", "m", images())


async def test_neither_a_slow_server_nor_a_slow_caller_makes_it_many(server: FakeServer) -> None:
    taken, read, go_on = 0, 0, threading.Event()

    def images() -> Iterator[bytes]:
        nonlocal taken
        for number in range(1000):
            taken += 1
            yield str(number).encode()

    def slowly(requests: Iterator[Any]) -> Iterator[Any]:
        nonlocal read
        for request in requests:
            read += 1
            if read == MAX_IMAGES:
                go_on.wait(5)
            yield streamed(request)

    server.converses("ClassifyStream", slowly)

    def synchronous() -> None:
        with eyas.Client(server.address) as client:
            results = client.classify_stream("m", images())
            for given in range(1, 200):
                next(results)
                assert taken <= given + MAX_IMAGES
                if given == MAX_IMAGES - 2:
                    go_on.set()
            results.close()  # type: ignore[attr-defined]

    await asyncio.to_thread(synchronous)
    taken, read = 0, 0

    async with eyas.aio.Client(server.address) as client:
        results = client.classify_stream("m", images(), ordered=False)
        for given in range(1, 200):
            await anext(results)
            assert taken <= given + MAX_IMAGES
        await results.aclose()  # type: ignore[attr-defined]


async def test_pictures_may_come_asynchronously(server: FakeServer) -> None:
    async def images() -> AsyncIterator[bytes]:
        for number in range(10):
            await asyncio.sleep(0)
            yield str(number).encode()

    server.converses("ClassifyStream", answer_all)
    async with eyas.aio.Client(server.address) as client:
        assert labels([pair async for pair in client.classify_stream("m", images())]) == [str(number) for number in range(10)]


async def test_a_stream_whose_end_is_hidden_goes_on_where_no_picture_waits_for_an_answer(server: FakeServer) -> None:
    again = threading.Event()

    def hide(requests: Iterator[Any]) -> Iterator[Any]:
        yield streamed(next(requests))
        yield Refusal(grpc.StatusCode.INTERNAL, "Internal error from Core")  # as grpc.aio says where a write meets the end

    def answer(requests: Iterator[Any]) -> Iterator[Any]:
        again.set()
        yield from answer_all(requests)

    async def images() -> AsyncIterator[bytes]:
        yield b"1"
        assert await asyncio.to_thread(again.wait, 60)
        yield b"2"

    server.converses("ClassifyStream", hide, answer)
    async with eyas.aio.Client(server.address) as client:
        assert labels([pair async for pair in client.classify_stream("m", images())]) == ["1", "2"]


async def test_without_retries_nothing_is_repeated(server: FakeServer) -> None:
    def full_and_gone(requests: Iterator[Any]) -> Iterator[Any]:
        yield streamed(next(requests), full(1).status())
        next(requests)
        yield ENDED

    server.converses("ClassifyStream", full_and_gone)
    async with eyas.aio.Client(server.address, retries=False) as client:
        results = client.classify_stream("m", [b"1", b"2"])
        assert isinstance((await anext(results))[1], eyas.Overloaded)
        with pytest.raises(eyas.Unavailable, match="going down"):
            await anext(results)
    assert len(server.received) == 1


async def test_a_refused_call_is_sent_again_when_the_server_says(server: FakeServer, call: Caller) -> None:
    server.answers("Classify", full(5), full(5), classified)
    assert (await call("classify", "m", b"shirt")).label == "shirt"
    assert len(server.received) == 3
    server.received.clear()
    server.answers("Classify", full(1))
    with pytest.raises(eyas.Overloaded):
        await call("classify", "m", b"shirt")
    assert len(server.received) == 5
    server.received.clear()
    server.answers("Classify", full(600_000))
    with pytest.raises(eyas.Overloaded):
        await call("classify", "m", b"shirt", timeout=60)
    assert len(server.received) == 1
