"""ClassifyStream over a real socket: answers, refusals, flow control both ways, the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.rpc import code_pb2, error_details_pb2

from builders import COLOURS, noise, picture
from eyas.v1 import classification_service_pb2 as pb
from eyas.v1.classification_service_pb2_grpc import ClassificationServiceStub
from eyasd.api.classify import ClassificationService
from eyasd.app import App
from eyasd.registry.models import Models
from waits import until

Request = pb.ClassifyStreamRequest


def options(model: str = "models/colours", **more: Any) -> Request:
    return Request(options=pb.ClassifyStreamOptions(model=model, **more))


def sent(name: object, content: bytes) -> Request:
    return Request(picture=pb.StreamedImage(id=str(name), image=pb.Image(content=content)))


@pytest.fixture
def stub(channel: grpc.aio.Channel) -> Any:
    return ClassificationServiceStub(channel)


def held(app: App) -> tuple[int, int]:
    """Returns how many pictures, and bytes of them, the daemon's streams hold."""
    (service,) = (service for service in app._streaming if isinstance(service, ClassificationService))
    streams = [stream.held for stream in service._streams]
    return sum(images for images, _ in streams), sum(size for _, size in streams)


async def ended(call: Any) -> tuple[str, str]:
    """Returns the status that a stream ends with, and its message."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in call:
            pass
    return caught.value.code().name, str(caught.value.details())


async def test_each_picture_gets_its_labels_or_its_error(stub: Any) -> None:
    for ordered in (False, True):
        await each_picture_gets_its_own(stub, ordered=ordered)


async def each_picture_gets_its_own(stub: Any, *, ordered: bool) -> None:
    colours = [*COLOURS.items()] * 20
    contents = [picture(colour) for _, colour in colours]
    contents[7] = b"no picture"
    requests = [options(top_k=2, ordered=ordered), *(sent(number, content) for number, content in enumerate(contents))]
    answers = [answer async for answer in stub.ClassifyStream(iter(requests))]
    assert len({answer.result.classification.prediction_id for answer in answers}) == 60  # "" of the one without labels
    ids = [int(answer.id) for answer in answers]
    assert sorted(ids) == list(range(60))
    assert not ordered or ids == sorted(ids)
    for answer in answers:
        if answer.id == "7":
            assert (answer.result.error.code, answer.model_version) == (code_pb2.INVALID_ARGUMENT, "models/colours/versions/1")
            continue
        labels = [p.label for p in answer.result.classification.predictions]
        assert (len(labels), labels[0]) == (2, colours[int(answer.id)][0])
        assert answer.model_version == "models/colours/versions/1"
        assert answer.timing.inference.ToTimedelta().total_seconds() > 0


async def test_a_refused_picture_is_an_answer_and_the_stream_goes_on(daemon: Any, published: Models, standstill: Any) -> None:
    async with (
        daemon(serving={"max_queue_images": 4, "max_batch_size": 1}) as app,
        grpc.aio.insecure_channel(f"127.0.0.1:{app.port}") as channel,
    ):
        call = ClassificationServiceStub(channel).ClassifyStream()
        await call.write(options())
        with standstill():
            for number in range(40):
                await call.write(sent(number, picture()))
            answers = [await call.read() for _ in range(30)]  # of which none has labels
        answers += [await call.read() for _ in range(10)]
        refused = [answer for answer in answers if answer.result.HasField("error")]
        assert 30 <= len(refused) <= 36
        assert {answer.result.error.code for answer in refused} == {code_pb2.RESOURCE_EXHAUSTED}
        retry = error_details_pb2.RetryInfo()
        assert refused[0].result.error.details[1].Unpack(retry)
        assert retry.retry_delay.ToTimedelta().total_seconds() > 0
        await call.write(sent("later", picture()))
        assert (await call.read()).result.HasField("classification")
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
        assert (await call.code()) is grpc.StatusCode.OK


async def test_a_picture_has_a_deadline_of_its_own(stub: Any, standstill: Any) -> None:
    with standstill():
        call = stub.ClassifyStream(iter([options(picture_timeout={"nanos": 50_000_000}), sent(1, picture())]))
        (answer,) = [answer async for answer in call]
    assert answer.result.error.code == code_pb2.DEADLINE_EXCEEDED


async def test_what_would_befall_every_picture_ends_the_stream(stub: Any) -> None:
    for requests, code, says in (
        ([options("models/nothing"), sent(1, picture())], "NOT_FOUND", "no model 'nothing'"),
        ([options("../x"), sent(1, picture())], "INVALID_ARGUMENT", "does not name a model version"),
        ([options(top_k=-1)], "INVALID_ARGUMENT", "top_k is -1"),
        ([options(picture_timeout={"seconds": -1})], "INVALID_ARGUMENT", "picture_timeout is -1 s; it must be more than 0"),
        (
            [options(picture_timeout={"seconds": 2**62})],
            "INVALID_ARGUMENT",
            "4611686018427387904 s and 0 ns, which is no duration",
        ),
        ([options(allow_unknown=True), sent(1, picture())], "FAILED_PRECONDITION", "colours/1 was trained by an Eyas"),
        ([sent(1, picture())], "INVALID_ARGUMENT", "The first message of a stream holds no options"),
        ([options(), options()], "INVALID_ARGUMENT", "A message after the first of a stream holds no picture"),
    ):
        found, message = await ended(stub.ClassifyStream(iter(requests)))
        assert (found, says in message) == (code, True), message


async def test_what_is_no_message_ends_the_stream(channel: grpc.aio.Channel) -> None:
    call = channel.stream_stream("/eyas.v1.ClassificationService/ClassifyStream")(iter([b"\xff\xff\xff\xff"]))
    assert (await ended(call))[0] == "INVALID_ARGUMENT"


async def test_without_the_token_there_is_no_stream(daemon: Any, published: Models) -> None:
    async with daemon(api={"token": "hush"}) as app, grpc.aio.insecure_channel(f"127.0.0.1:{app.port}") as channel:
        call = ClassificationServiceStub(channel).ClassifyStream()
        assert await call.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_fast_caller_is_slowed_down_by_the_connection(daemon: Any, published: Models, standstill: Any) -> None:
    large = noise(1, (300, 300))  # 270 kB: 200 of them are 54 MB
    async with (
        daemon(serving={"max_batch_size": 1}, api={"stream_images": 4}) as app,
        grpc.aio.insecure_channel(f"127.0.0.1:{app.port}") as channel,
    ):
        call = ClassificationServiceStub(channel).ClassifyStream()
        written = 0

        async def write() -> None:
            nonlocal written
            await call.write(options())
            for number in range(200):
                await call.write(sent(number, large))
                written += 1

        with standstill():
            writing = asyncio.create_task(write())
            await until(lambda: held(app)[0] == 4)
            before = -1
            while before != written:
                before = written
                await asyncio.sleep(0.2)
            # 4 are held, the others are on their way: in the window of the stream and in the buffers of both sides.
            assert written <= 4 + 40
            assert held(app)[0] == 4
        for _ in range(200):
            await call.read()
            assert held(app)[0] <= 4
        await writing
        call.cancel()


async def test_who_takes_no_answers_bounds_what_is_held_and_is_given_up(daemon: Any, published: Models) -> None:
    async with (
        daemon(api={"stream_images": 8, "stream_idle_seconds": 2}) as app,
        grpc.aio.insecure_channel(f"127.0.0.1:{app.port}") as channel,
    ):
        call = ClassificationServiceStub(channel).ClassifyStream()
        name = "x" * 100_000  # comes back with the answer
        written = 0

        async def write() -> None:
            nonlocal written
            await call.write(options())
            for _ in range(1000):
                await call.write(sent(name, picture()))
                written += 1

        writing = asyncio.create_task(write())
        await until(lambda: held(app)[0] == 8)
        assert held(app)[1] < 8 * 101_000
        await until(lambda: app._metrics.registry.get_sample_value("eyas_open_streams") == 0)
        assert held(app) == (0, 0)
        with pytest.raises((grpc.aio.AioRpcError, asyncio.InvalidStateError)):
            await writing
        assert written < 200  # those that are not held fill the windows of both directions, some 4 MB each


async def test_the_silent_and_the_half_sent_are_given_up(daemon: Any, published: Models) -> None:
    async with (
        daemon(api={"stream_idle_seconds": 1}) as app,
        grpc.aio.insecure_channel(f"127.0.0.1:{app.port}") as channel,
    ):

        async def silent(*first: Request) -> AsyncIterator[Request]:
            for request in first:
                yield request
            await asyncio.Event().wait()

        stub = ClassificationServiceStub(channel)
        calls = [stub.ClassifyStream(silent(*first)) for first in ([], [options()], [options(), sent(1, picture())])]
        for code, says in await asyncio.gather(*map(ended, calls)):
            assert (code, says) == ("DEADLINE_EXCEEDED", "Nothing came whole for 1 s: open a stream when there are pictures.")


async def test_a_stream_is_told_to_end_before_the_server_goes_down(daemon: Any, published: Models, lingering: Any) -> None:
    async with (
        daemon() as app,
        grpc.aio.insecure_channel(f"127.0.0.1:{app.port}") as channel,
    ):
        stub = ClassificationServiceStub(channel)
        call = stub.ClassifyStream()
        await call.write(options())
        await call.write(sent(1, picture()))
        assert (await call.read()).id == "1"
        await call.write(sent(2, picture()))
        seen = []
        with lingering() as way:
            stopping = asyncio.create_task(app.stop())
            way.go_on()  # to where streams are ended
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                while (answer := await call.read()) is not grpc.aio.EOF:
                    seen.append(answer.id)
            assert seen in ([], ["2"])
            assert (caught.value.code(), "on another stream" in str(caught.value.details())) == (grpc.StatusCode.UNAVAILABLE, True)
            assert await stub.ClassifyStream().code() is grpc.StatusCode.UNAVAILABLE
            one = pb.ClassifyRequest(model="models/colours", images=[pb.Image(content=picture())])
            assert len((await stub.Classify(one)).results) == 1
            way.go_on()
            await stopping


async def test_the_deadline_of_a_stream_and_a_caller_who_leaves(app: App, stub: Any) -> None:
    async def silent() -> AsyncIterator[Request]:
        yield options()
        await asyncio.Event().wait()

    count = app._metrics.registry.get_sample_value
    assert (await ended(stub.ClassifyStream(silent(), timeout=0.2)))[0] == "DEADLINE_EXCEEDED"
    await until(lambda: count("eyas_open_streams") == 0)
    call = stub.ClassifyStream()
    await call.write(options())
    await until(lambda: count("eyas_open_streams") == 1)
    call.cancel()
    await until(lambda: count("eyas_open_streams") == 0)
