"""serving.queue.decoders: the picture whose turn it is, each once, and none that nobody waits for."""

from __future__ import annotations

import threading
import time
import weakref
from concurrent.futures import CancelledError, Executor, Future

import pytest

from eyasd.core.names import ModelRef
from eyasd.serving.question import Priority, Question
from eyasd.serving.queue.decoders import Decoders


def turn(decoders: Decoders, seconds: float, caller: str = "", priority: Priority = Priority.NORMAL) -> Executor:
    ref = ModelRef("birds", alias="production")
    question = Question(ref=ref, images=[b""], timeout_seconds=seconds, caller=caller, priority=priority)
    return decoders.of(question, time.monotonic() + seconds)


def held(decoders: Decoders) -> threading.Event:
    """Occupies the only thread until the event is set."""
    began, gate = threading.Event(), threading.Event()

    def wait() -> None:
        began.set()
        gate.wait()

    turn(decoders, 60).submit(wait)
    began.wait()
    return gate


def test_the_most_urgent_goes_first_and_what_was_cancelled_never_runs() -> None:
    decoders = Decoders(1)
    gate = held(decoders)
    ran: list[str] = []
    futures: list[Future[None]] = [
        turn(decoders, 60).submit(ran.append, "later"),
        turn(decoders, 30).submit(ran.append, "sooner"),
        turn(decoders, 10).submit(ran.append, "cancelled"),
        turn(decoders, 90, priority=Priority.HIGH).submit(ran.append, "high"),
    ]
    assert futures[2].cancel()
    gate.set()
    for future in (futures[0], futures[1], futures[3]):
        future.result()
    assert ran == ["high", "sooner", "later"]
    decoders.close()


def test_results_and_failures_reach_who_waits() -> None:
    decoders = Decoders(2)
    assert [turn(decoders, 60).submit(pow, base, 2).result() for base in range(9)] == [base**2 for base in range(9)]
    with pytest.raises(ZeroDivisionError):
        turn(decoders, 60).submit(divmod, 1, 0).result()
    decoders.close()


def test_what_waits_at_the_end_is_cancelled() -> None:
    decoders = Decoders(1)
    gate = held(decoders)
    waiting = turn(decoders, 60).submit(pow, 2, 2)
    decoders.close()
    gate.set()
    with pytest.raises(CancelledError):
        waiting.result()


def test_what_failed_is_gone_with_its_error(without_collection: None) -> None:
    class Picture:
        pass

    def fail(picture: Picture) -> None:
        raise ValueError("it is no picture")

    decoders, picture = Decoders(1), Picture()
    there = weakref.ref(picture)
    future = turn(decoders, 60).submit(fail, picture)
    del picture
    assert isinstance(future.exception(), ValueError)
    del future
    turn(decoders, 60).submit(pow, 1, 1).result()  # the thread has left what it did before
    assert there() is None
    decoders.close()
