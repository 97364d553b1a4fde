"""The pictures of a stream, and when what was refused is sent again."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

import eyas
from eyas._patience import ATTEMPTS, pause_seconds
from eyas._stream import MAX_BYTES, MAX_IMAGES, Pictures
from eyas._types import Timing

NOTHING = timedelta(0)
ANSWER = eyas.Classification((), "m/1", Timing(NOTHING, NOTHING, NOTHING))


def overloaded(seconds: float | None) -> eyas.Overloaded:
    error = eyas.Overloaded("Full.", code=grpc.StatusCode.RESOURCE_EXHAUSTED)
    error.retry_after = None if seconds is None else timedelta(seconds=seconds)
    return error


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def pictures(clock: Clock | None = None, **options: Any) -> Pictures:
    return Pictures(**{"ordered": True, "timeout_seconds": 10.0, "retries": True, "clock": clock or Clock(), **options})


def sent(some: Pictures) -> list[int]:
    found = []
    while (picture := some.next()) is not None:
        found.append(picture.number)
    return found


@pytest.mark.parametrize(
    ("error", "attempt", "left", "paused"),
    [
        (overloaded(0.1), 1, 10.0, True),
        (overloaded(0.1), ATTEMPTS - 1, 10.0, True),
        (overloaded(0.1), ATTEMPTS, 10.0, False),
        (overloaded(0.1), 1, 0.05, False),
        (overloaded(None), 1, 10.0, False),
        (eyas.Unavailable("Gone."), 1, 10.0, False),
    ],
)
def test_what_is_refused_is_sent_again_when_the_server_says(error: eyas.EyasError, attempt: int, left: float, paused: bool) -> None:
    pause = pause_seconds(error, attempt, left)
    assert pause is None if not paused else 0.1 <= pause <= 0.15  # type: ignore[operator]


def test_room_is_a_number_of_pictures_and_of_bytes() -> None:
    some = pictures()
    for number in range(MAX_IMAGES):
        assert some.has_room
        some.add(b"x", b"x")
        assert sent(some) == [number]
    assert not some.has_room
    some.answer("0", ANSWER)
    assert not some.has_room  # until it is given out
    assert [image for image, _ in some.results()] == [b"x"]
    assert some.has_room
    large = pictures()
    large.add("a.jpg", bytes(MAX_BYTES))
    assert not large.has_room
    sent(large)
    large.answer("0", ANSWER)
    assert large.has_room


def test_a_refused_picture_waits_and_so_do_the_others() -> None:
    clock = Clock()
    some = pictures(clock)
    for _ in range(3):
        some.add(b"x", b"x")
    assert sent(some) == [0, 1, 2]
    some.answer("1", overloaded(2.0))
    assert 2.0 <= some.pause() <= 3.0
    some.answer("0", ANSWER)
    some.answer("2", ANSWER)
    assert len(list(some.results())) == 1  # the third waits for the second
    clock.now += 4
    assert some.pause() <= 0
    assert sent(some) == [1]
    some.answer("1", overloaded(7.0))  # its time is up by then
    assert [type(result) for _, result in some.results()] == [eyas.Overloaded, eyas.Classification]
    some.exhausted = True
    assert some.all_answered()


def test_without_retries_a_refusal_is_the_answer() -> None:
    some = pictures(retries=False)
    some.add(b"x", b"x")
    sent(some)
    some.answer("0", overloaded(0.001))
    assert isinstance(next(some.results())[1], eyas.Overloaded)


@given(st.integers(0, 2**32 - 1), st.booleans())
def test_each_picture_is_answered_once_whatever_happens(seed: int, ordered: bool) -> None:
    chance = random.Random(seed)
    clock = Clock()
    some = pictures(clock, ordered=ordered, timeout_seconds=1e9)
    total, added, on_the_way, given_out = chance.randrange(100), 0, set[int](), list[Any]()
    while not (some.exhausted and some.all_answered()):
        match chance.randrange(6):
            case 0 if added < total and some.has_room:
                some.add(str(added), eyas.UndecodableImage("None.") if chance.random() < 0.1 else b"x")
                added += 1
                some.exhausted = added == total
            case 0:
                some.exhausted = added == total
            case 1:
                on_the_way |= set(sent(some))
            case 2 | 3 if on_the_way:
                number = on_the_way.pop()
                some.answer(str(number), overloaded(0.1) if chance.random() < 0.2 else ANSWER)
            case 4 if chance.random() < 0.1:
                some.send_again()
                on_the_way.clear()
            case _:
                given_out += [int(str(image)) for image, _ in some.results()]
        assert len(on_the_way) <= MAX_IMAGES
    given_out += [int(str(image)) for image, _ in some.results()]
    assert (given_out if ordered else sorted(given_out)) == list(range(total))
