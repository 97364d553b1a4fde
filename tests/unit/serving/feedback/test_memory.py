"""serving.feedback.memory: each answer is new once, for every acceptor of a daemon."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from eyasd.serving.engine import wire
from eyasd.serving.engine.channel import Channel
from eyasd.serving.feedback import memory
from eyasd.serving.feedback.memory import Known, OwnMemory, SharedMemory

NEW, SAME, OTHER = Known


def test_an_answer_is_new_once_and_a_correction_is_the_truth_from_then_on() -> None:
    own = OwnMemory()
    assert own.take([(b"a", 1), (b"b", 2), (b"a", 1), (b"a", 3), (b"a", 3), (b"a", 1)]) == [NEW, NEW, SAME, OTHER, SAME, OTHER]


def test_the_oldest_is_forgotten() -> None:
    own = OwnMemory(most=2)
    own.take([(b"a", 1), (b"b", 1), (b"c", 1)])
    assert own.take([(b"b", 1), (b"c", 1), (b"a", 1)]) == [SAME, SAME, NEW]


async def test_acceptors_remember_together() -> None:
    supervisor = OwnMemory()
    pairs = [acceptor(supervisor.answer) for _ in range(2)]
    (first, _), (second, _) = pairs
    assert await first.note([(b"\x00\xff", 1)]) == [NEW]
    assert await second.note([(b"\x00\xff", 1), (b"\x01\x02", 4_294_967_295)]) == [SAME, NEW]
    notes = [[(bytes([call, number]), 0) for number in range(256)] for call in range(10, 30)]
    for known in await asyncio.gather(*(first.note(some) for some in notes)):
        assert known == [NEW] * 256
    for _, channels in pairs:
        for channel in channels:
            channel.close()


async def test_an_acceptor_that_gets_no_answer_asks_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_ANSWER_SECONDS", 0.0)
    heard: list[Mapping[str, Any]] = []

    def silent(message: Mapping[str, Any], _: Channel) -> bool:
        heard.append(message)
        return True

    shared, channels = acceptor(silent)
    assert await shared.note([(b"a", 1)]) == [NEW]
    assert await shared.note([(b"a", 1)]) == [SAME]
    assert shared.heed({"noted": 0, "known": [0]})  # too late
    assert not shared.heed({"loaded": 1})
    assert not OwnMemory().answer({"load": 1}, channels[0])
    for channel in channels:
        channel.close()


def acceptor(answer: Any) -> tuple[SharedMemory, tuple[Channel, Channel]]:
    """Returns an acceptor's memory, and both ends of its channel; what is asked at the other end goes to `answer`."""
    ours, theirs = wire.control_pair()
    there = Channel(theirs, lambda message, _: answer(message, there), lambda: None)
    here = Channel(ours, lambda message, _: shared.heed(message), lambda: None)
    shared = SharedMemory(here)
    return shared, (here, there)
