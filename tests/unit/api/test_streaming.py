"""A stream of pictures: order, room, idleness, the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest

from eyas.v1 import classification_service_pb2 as pb
from eyasd.api.streaming import Answer, Stream, StreamLimits
from eyasd.core.errors import EyasError, InvalidArgument, ModelNotFound, StreamEnded, StreamIdle
from waits import until

OPTIONS = pb.ClassifyStreamRequest(options=pb.ClassifyStreamOptions(model="models/m"))
ORDERED = pb.ClassifyStreamRequest(options=pb.ClassifyStreamOptions(model="models/m", ordered=True))


def picture(name: object, size: int = 10) -> pb.ClassifyStreamRequest:
    return pb.ClassifyStreamRequest(picture=pb.StreamedImage(id=str(name), image=pb.Image(content=bytes(size))))


class Caller:
    """Sends messages, counts those that were asked for, and takes answers if it may."""

    def __init__(self, messages: Iterable[pb.ClassifyStreamRequest], *, then_silent: bool = False, takes: bool = True) -> None:
        self.sent = 0
        self.answers: list[str] = []
        self._messages = messages
        self._silent = then_silent
        self._takes = takes

    async def requests(self) -> AsyncIterator[pb.ClassifyStreamRequest]:
        for message in self._messages:
            self.sent += 1
            yield message
        if self._silent:
            await asyncio.Event().wait()

    async def write(self, response: pb.ClassifyStreamResponse) -> None:
        if not self._takes:
            await asyncio.Event().wait()
        self.answers.append(response.id)


def stream(caller: Caller, **limits: Any) -> Stream:
    return Stream(caller.requests(), caller.write, StreamLimits(**{"images": 4, "idle_seconds": 30.0, **limits}))


class Answers:
    """Answers pictures once the test says so."""

    def __init__(self) -> None:
        self.asked: dict[str, asyncio.Future[None]] = {}

    def __call__(self, _: pb.ClassifyStreamOptions) -> Answer:
        async def answer(picture: pb.StreamedImage) -> pb.ClassifyStreamResponse:
            self.asked[picture.id] = asyncio.get_running_loop().create_future()
            await self.asked[picture.id]
            return pb.ClassifyStreamResponse(id=picture.id)

        return answer

    def give(self, name: str) -> None:
        self.asked[name].set_result(None)


def at_once(_: pb.ClassifyStreamOptions) -> Answer:
    async def answer(picture: pb.StreamedImage) -> pb.ClassifyStreamResponse:
        return pb.ClassifyStreamResponse(id=picture.id)

    return answer


@pytest.mark.parametrize(("first", "expected"), [(OPTIONS, ["c", "a", "b"]), (ORDERED, ["a", "b", "c"])])
async def test_answers_come_as_they_are_known_or_in_order(first: pb.ClassifyStreamRequest, expected: list[str]) -> None:
    caller, answers = Caller([first, *map(picture, "abc")]), Answers()
    running = asyncio.create_task(stream(caller).run(answers))
    await until(lambda: len(answers.asked) == 3)
    for name in "cab":
        answers.give(name)
        await asyncio.sleep(0)
    await running
    assert caller.answers == expected


async def test_nothing_is_read_beyond_the_room_and_all_is_answered() -> None:
    caller, answers = Caller([OPTIONS, *map(picture, range(100))]), Answers()
    made = stream(caller, images=4)
    running = asyncio.create_task(made.run(answers))
    for number in range(100):
        await until(lambda number=number: str(number) in answers.asked)  # type: ignore[misc]
        for _ in range(20):
            await asyncio.sleep(0)
        assert caller.sent <= 1 + number + 4
        assert made.held[0] <= 4
        answers.give(str(number))
    await running
    assert sorted(map(int, caller.answers)) == list(range(100))


async def test_large_pictures_take_more_room() -> None:
    caller = Caller([OPTIONS, *(picture(number, 1000) for number in range(20))], takes=False)
    made = stream(caller, images=16, size_bytes=2500)
    running = asyncio.create_task(made.run(at_once))
    await until(lambda: made.held[0] == 3)
    for _ in range(20):
        await asyncio.sleep(0)
    assert (caller.sent, made.held[0]) == (4, 3)
    running.cancel()


async def test_who_takes_no_answers_is_not_read_and_then_given_up() -> None:
    caller = Caller([OPTIONS, *map(picture, range(100))], takes=False)
    with pytest.raises(StreamIdle, match="No answer was taken for 0.05 s: read the answers while sending"):
        await stream(caller, idle_seconds=0.05).run(at_once)
    assert caller.sent == 5


@pytest.mark.parametrize("messages", [[], [OPTIONS], [OPTIONS, picture("a")]])
async def test_who_says_nothing_is_given_up(messages: list[pb.ClassifyStreamRequest]) -> None:
    caller = Caller(messages, then_silent=True)
    with pytest.raises(StreamIdle, match="Nothing came whole for 0.05 s"):
        await stream(caller, idle_seconds=0.05).run(at_once)
    assert len(caller.answers) == max(0, len(messages) - 1)


async def test_silence_while_the_server_works_is_no_fault() -> None:
    caller, answers = Caller([OPTIONS, picture("a")], then_silent=True), Answers()
    made = stream(caller, idle_seconds=0.02)
    running = asyncio.create_task(made.run(answers))
    await until(lambda: "a" in answers.asked)
    done, _ = await asyncio.wait({running}, timeout=0.1)
    assert not done
    answers.give("a")
    with pytest.raises(StreamIdle):
        await running
    assert caller.answers == ["a"]


async def test_a_stream_that_is_told_to_end_answers_what_it_has_read() -> None:
    caller, answers = Caller([OPTIONS, *map(picture, range(100))]), Answers()
    made = stream(caller, images=4)
    running = asyncio.create_task(made.run(answers))
    await until(lambda: len(answers.asked) == 4)
    made.end("The server is going down")
    for name in list(answers.asked):
        answers.give(name)
    with pytest.raises(StreamEnded, match="The server is going down: send what has no answer yet on another stream"):
        await running
    assert sorted(caller.answers) == ["0", "1", "2", "3"]
    assert caller.sent == 5


async def test_a_stream_that_was_ended_before_it_began_reads_nothing() -> None:
    caller = Caller([OPTIONS, picture("a")])
    made = stream(caller)
    made.end("The server is going down")
    with pytest.raises(StreamEnded):
        await made.run(at_once)
    assert caller.sent == 0


async def test_a_stream_ends_when_it_has_lasted_its_time() -> None:
    with pytest.raises(StreamEnded, match="The stream has lasted its time"):
        await stream(Caller([OPTIONS], then_silent=True), lifetime_seconds=0.01).run(at_once)


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        ([picture("a")], "The first message of a stream holds no options"),
        ([pb.ClassifyStreamRequest()], "The first message of a stream holds no options"),
        ([OPTIONS, OPTIONS], "A message after the first of a stream holds no picture"),
    ],
)
async def test_messages_out_of_place(messages: list[pb.ClassifyStreamRequest], says: str) -> None:
    with pytest.raises(InvalidArgument, match=says):
        await stream(Caller(messages)).run(at_once)


async def test_no_message_is_no_error() -> None:
    caller = Caller([])
    await stream(caller).run(at_once)
    assert caller.answers == []


async def test_an_error_of_answering_ends_the_stream_and_the_rest_is_dropped(recwarn: pytest.WarningsRecorder) -> None:
    left: list[str] = []

    def failing(_: pb.ClassifyStreamOptions) -> Answer:
        async def answer(picture: pb.StreamedImage) -> pb.ClassifyStreamResponse:
            if picture.id != "0":
                try:
                    await asyncio.Event().wait()
                finally:
                    left.append(picture.id)
            await asyncio.sleep(0)
            raise ModelNotFound("There is no model 'm'.")

        return answer

    with pytest.raises(EyasError, match="no model"):
        await stream(Caller([OPTIONS, *map(picture, range(100))])).run(failing)
    await asyncio.sleep(0)
    assert left
    assert not recwarn.list


async def test_when_the_caller_leaves_nothing_goes_on() -> None:
    caller, answers = Caller([OPTIONS, *map(picture, range(100))]), Answers()
    running = asyncio.create_task(stream(caller).run(answers))
    await until(lambda: len(answers.asked) == 4)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await asyncio.sleep(0)
    assert all(future.cancelled() for future in answers.asked.values())
