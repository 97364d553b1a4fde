"""serving.engine: each caller gets its own answer, once; urgent work first; work nobody wants never runs."""

from __future__ import annotations

import asyncio
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from eyasd.core.errors import DeadlineExceeded, Unavailable
from eyasd.serving.engine import Engine
from eyasd.serving.network.session import Outputs


class Network:
    """A network whose answer is its input, and which runs only while its gate is open."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.batches: list[list[int]] = []
        self.maps: list[bool] = []

    def run(self, images: NDArray[np.uint8], maps: bool = False) -> Outputs:
        self.gate.wait()
        self.batches.append([int(image[0, 0, 0]) for image in images])
        self.maps.append(maps)
        rows = images.reshape(len(images), -1).astype(np.float32)
        return Outputs(rows, rows[:, 0], rows[:, :, None, None] if maps else None)


def image(number: int) -> NDArray[np.uint8]:
    return np.full((1, 1, 3), number, np.uint8)


def soon(seconds: float = 60.0) -> float:
    return time.monotonic() + seconds


async def until(engine: Engine, waiting: int) -> None:
    while engine.waiting != waiting:
        await asyncio.sleep(0)


@given(st.lists(st.tuples(st.integers(0, 255), st.booleans()), min_size=1, max_size=40), st.integers(1, 9))
@settings(max_examples=40, deadline=None)
def test_each_caller_gets_its_own_answer_once(callers: list[tuple[int, bool]], max_batch_size: int) -> None:
    async def check() -> None:
        network = Network()
        sizes: list[int] = []
        engine = Engine(network.run, max_batch_size=max_batch_size, max_delay_seconds=0, on_batch=sizes.append)
        tasks = [asyncio.create_task(engine.infer(image(number), soon())) for number, _ in callers]
        await asyncio.sleep(0)
        for task, (_, leaves) in zip(tasks, callers, strict=True):
            if leaves:
                task.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        await engine.close()
        for answer, (number, leaves) in zip(answers, callers, strict=True):
            if leaves:
                assert isinstance(answer, asyncio.CancelledError)
            else:
                assert not isinstance(answer, BaseException)
                assert (answer.probabilities == number).all()
                assert answer.ood_score == number
        assert sizes == [len(batch) for batch in network.batches]
        assert max(sizes, default=0) <= max_batch_size
        assert sum(sizes) == sum(not leaves for _, leaves in callers)

    asyncio.run(check())


async def test_a_busy_device_gathers_the_next_batch_and_the_most_urgent_go_first() -> None:
    network = Network()
    engine = Engine(network.run, max_batch_size=2, max_delay_seconds=0)
    network.gate.clear()
    first = asyncio.create_task(engine.infer(image(0), soon()))
    await until(engine, 1)
    await until(engine, 0)
    later = [asyncio.create_task(engine.infer(image(n), soon(60 - n))) for n in (1, 2, 3, 4)]
    await until(engine, 4)
    network.gate.set()
    await asyncio.gather(first, *later)
    await engine.close()
    assert network.batches == [[0], [4, 3], [2, 1]]


async def test_expired_and_abandoned_work_never_reaches_the_device() -> None:
    network = Network()
    engine = Engine(network.run, max_batch_size=8, max_delay_seconds=0)
    network.gate.clear()
    first = asyncio.create_task(engine.infer(image(0), soon()))
    await until(engine, 1)
    await until(engine, 0)
    expired = asyncio.create_task(engine.infer(image(1), time.monotonic() - 1))
    abandoned = asyncio.create_task(engine.infer(image(2), soon()))
    good = asyncio.create_task(engine.infer(image(3), soon()))
    await until(engine, 3)
    abandoned.cancel()
    network.gate.set()
    with pytest.raises(DeadlineExceeded):
        await expired
    await asyncio.gather(first, good)
    await engine.close()
    assert network.batches == [[0], [3]]


async def test_an_idle_device_waits_for_company_when_it_is_told_to() -> None:
    network = Network()
    engine = Engine(network.run, max_batch_size=8, max_delay_seconds=0.02)
    first = asyncio.create_task(engine.infer(image(1), soon()))
    await until(engine, 1)
    second = asyncio.create_task(engine.infer(image(2), soon()))
    await asyncio.gather(first, second)
    await engine.close()
    assert network.batches == [[1, 2]]


async def test_feature_maps_are_fetched_for_a_batch_in_which_somebody_asks_and_given_to_who_asked() -> None:
    network = Network()
    engine = Engine(network.run, max_batch_size=2, max_delay_seconds=0)
    answers = await asyncio.gather(*(engine.infer(image(n), soon(9 + n), explain=n == 1) for n in range(4)))
    await engine.close()
    assert (network.batches, network.maps) == ([[0, 1], [2, 3]], [True, False])
    assert [answer.feature_map is None for answer in answers] == [True, False, True, True]
    assert answers[1].feature_map is not None
    assert (answers[1].feature_map == 1).all()


async def test_a_device_that_fails_fails_its_batch_and_no_other() -> None:
    def run(images: NDArray[np.uint8], maps: bool) -> Outputs:
        if images[0, 0, 0, 0] == 13:
            raise RuntimeError("the device is unhappy")
        return Outputs(images.reshape(len(images), -1).astype(np.float32))

    engine = Engine(run, max_batch_size=1, max_delay_seconds=0)
    with pytest.raises(RuntimeError, match="unhappy"):
        await engine.infer(image(13), soon())
    assert ((await engine.infer(image(1), soon())).probabilities == 1).all()
    await engine.close()


async def test_close_waits_for_who_holds_the_engine() -> None:
    engine = Engine(Network().run, max_batch_size=1, max_delay_seconds=0)
    with engine.hold():
        closing = asyncio.create_task(engine.close())
        await asyncio.sleep(0.01)
        assert not closing.done()
        assert ((await engine.infer(image(5), soon())).probabilities == 5).all()
    await closing
    with pytest.raises(Unavailable):
        await engine.infer(image(1), soon())
    await engine.close()
