"""serving.engine.link and the engine's loop: each caller gets its own answer once; what nobody wants never runs."""

from __future__ import annotations

import asyncio
import math
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engines import SHAPE, Network, Worker, ask
from eyasd.core.errors import DeadlineExceeded, OutOfMemory, Unavailable
from eyasd.serving.engine import link as room
from eyasd.serving.engine.link import Engine
from waits import until

Serve = Callable[..., AbstractAsyncContextManager[Engine]]


def free(engine: Engine) -> int:
    return len(engine._free)


@given(st.lists(st.tuples(st.integers(14, 255), st.booleans()), min_size=1, max_size=40), st.integers(1, 9), st.integers(1, 9))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_each_caller_gets_its_own_answer_once(
    serve: Serve, network: Network, callers: list[tuple[int, bool]], max_batch_size: int, slots: int
) -> None:
    async def check() -> None:
        network.batches.clear()
        async with serve(max_batch_size, slots) as engine:
            tasks = [asyncio.create_task(ask(engine, number)) for number, _ in callers]
            await asyncio.sleep(0)
            for task, (_, leaves) in zip(tasks, callers, strict=True):
                if leaves:
                    task.cancel()
            answers = await asyncio.gather(*tasks, return_exceptions=True)
            for answer, (number, leaves) in zip(answers, callers, strict=True):
                if leaves:
                    assert isinstance(answer, asyncio.CancelledError)
                else:
                    assert not isinstance(answer, BaseException)
                    assert (answer.probabilities == number).all()
                    assert answer.ood_score == number
            await until(lambda: free(engine) == slots)
            assert max((len(batch) for batch in network.batches), default=0) <= max_batch_size

    asyncio.run(check())


async def test_a_busy_device_gathers_the_next_batch_and_the_most_urgent_go_first(serve: Serve, network: Network) -> None:
    async with serve(max_batch_size=2) as engine:
        network.gate.clear()
        first = asyncio.create_task(ask(engine, 0))
        await until(lambda: network.batches == [[0]])
        later = [asyncio.create_task(ask(engine, n, time.monotonic() + 60 - n)) for n in (1, 2, 3, 4)]
        await until(lambda: engine.waiting == 5)
        network.gate.set()
        await asyncio.gather(first, *later)
    assert network.batches == [[0], [4, 3], [2, 1]]


async def test_expired_and_abandoned_work_never_reaches_the_device(serve: Serve, network: Network) -> None:
    async with serve() as engine:
        network.gate.clear()
        first = asyncio.create_task(ask(engine, 0))
        await until(lambda: network.batches == [[0]])
        expired = asyncio.create_task(ask(engine, 1, time.monotonic()))
        abandoned = asyncio.create_task(ask(engine, 2))
        good = asyncio.create_task(ask(engine, 3))
        await until(lambda: engine.waiting == 4)
        abandoned.cancel()
        await asyncio.wait([abandoned])
        assert free(engine) == SHAPE.slots - 4  # the abandoned one's, too: the engine has not said that it forgot it
        network.gate.set()
        with pytest.raises(DeadlineExceeded):
            await expired
        await asyncio.gather(first, good)
        await until(lambda: free(engine) == SHAPE.slots)
    assert network.batches == [[0], [3]]


async def test_a_slot_is_in_use_while_a_thread_writes_to_it(serve: Serve) -> None:
    gate = threading.Event()

    async def decode(engine: Engine, executor: ThreadPoolExecutor) -> None:
        async with engine.slot(time.monotonic() + 60) as slot:
            await slot.in_thread(executor, gate.wait)

    with ThreadPoolExecutor(1) as executor:
        async with serve(slots=3) as engine:
            running, queued = (asyncio.create_task(decode(engine, executor)) for _ in range(2))
            await until(lambda: free(engine) == 1)
            for task in (running, queued):
                task.cancel()
            await asyncio.wait([running, queued])
            assert free(engine) == 2  # that of the one whose thread had not begun
            gate.set()
            await until(lambda: free(engine) == 3)


async def test_who_waits_for_a_slot_gets_one_by_deadline(serve: Serve, network: Network) -> None:
    async with serve(max_batch_size=1, slots=1) as engine:
        network.gate.clear()
        first = asyncio.create_task(ask(engine, 0))
        await until(lambda: network.batches == [[0]])
        later = [asyncio.create_task(ask(engine, n, time.monotonic() + 60 - n)) for n in (1, 2, 3)]
        await asyncio.sleep(0)
        later[1].cancel()
        network.gate.set()
        await asyncio.gather(first, later[0], later[2])
    assert network.batches == [[0], [3], [1]]


async def test_feature_maps_are_fetched_for_a_batch_in_which_somebody_asks_and_given_to_who_asked(
    serve: Serve, network: Network
) -> None:
    async with serve(max_batch_size=2) as engine:
        network.gate.clear()
        first = asyncio.create_task(ask(engine, 9))
        await until(lambda: network.batches == [[9]])
        asks = [asyncio.create_task(ask(engine, n, time.monotonic() + 60 + n, explain=n == 1)) for n in range(4)]
        await until(lambda: engine.waiting == 5)
        network.gate.set()
        await first
        answers = await asyncio.gather(*asks)
        assert (network.batches[1:], network.maps[1:]) == ([[0, 1], [2, 3]], [True, False])
        assert [answer.feature_map is None for answer in answers] == [True, False, True, True]
        assert answers[1].feature_map is not None
        assert (answers[1].feature_map == 1).all()


async def test_a_device_that_fails_fails_its_batch_and_no_other(serve: Serve, network: Network) -> None:
    async with serve(max_batch_size=1) as engine:
        for number in (13, 1):
            network.gate.clear()
            asked = asyncio.create_task(ask(engine, number))
            await until(lambda number=number: [number] in network.batches)  # type: ignore[misc]
            assert engine._arena.running.sum() == 1
            network.gate.set()
            if number == 13:
                with pytest.raises(RuntimeError, match="the engine of colours/1 failed on a batch"):
                    await asked
            else:
                assert ((await asked).probabilities == 1).all()
            assert not engine._arena.running.any()


async def test_a_device_that_runs_nothing_any_more_ends_its_engine_and_the_next_one_answers() -> None:
    engine, networks = Engine("colours/1", SHAPE), [Network(), Network()]
    workers = [Worker(network, 1) for network in networks]
    await workers[0].join(engine)
    with pytest.raises(Unavailable, match="ended while it ran the picture") as caught:
        await ask(engine, 66)
    assert caught.value.retry_after is not None
    await until(lambda: workers[0].error is not None)
    assert networks[0].batches == [[66], [0]]  # whether anything else runs has been tried
    await workers[1].join(engine)
    assert ((await ask(engine, 1)).probabilities == 1).all()
    await engine.close()
    for worker in workers:
        await worker.leave()
    assert free(engine) == SHAPE.slots


async def test_a_batch_that_does_not_fit_the_memory_is_answered_in_parts_and_none_as_large_is_run_again(
    serve: Serve, network: Network
) -> None:
    network.holds = 2
    async with serve(max_batch_size=8) as engine:
        for _ in range(2):
            network.gate.clear()
            tasks = [asyncio.create_task(ask(engine, number, time.monotonic() + 60 + number)) for number in range(9)]
            await until(lambda: len(network.batches) > 0 and engine.waiting == 9)
            network.gate.set()
            answers = await asyncio.gather(*tasks)
            assert [int(answer.probabilities[0]) for answer in answers] == list(range(9))
        sizes = [len(batch) for batch in network.batches]
        assert max(sizes) > 2
        assert max(sizes[sizes.index(2) :]) == 2
        network.holds = 0
        with pytest.raises(OutOfMemory, match="too little memory left for one picture"):
            await ask(engine, 1)


async def test_what_an_engine_ran_when_it_ended_goes_to_a_sibling_once_and_all_else_waits_for_the_next() -> None:
    engine, networks = Engine("colours/1", SHAPE), [Network() for _ in range(3)]
    workers = [Worker(network, 1) for network in networks]
    for worker, network in zip(workers[:2], networks, strict=False):
        network.gate.clear()
        await worker.join(engine)
    first = [asyncio.create_task(ask(engine, n)) for n in range(2)]
    await until(lambda: bool(networks[0].batches and networks[1].batches))  # one each: the one that has the fewest is asked
    queued = [asyncio.create_task(ask(engine, n)) for n in (2, 3)]
    await until(lambda: engine.waiting == 4)
    running = {0: networks[0].batches[0][0], 1: networks[1].batches[0][0]}
    dead = engine._links.copy().pop()
    died = next(n for n in (0, 1) if running[n] in {int(engine.pixels(index)[0, 0, 0]) for index in dead.asked})
    dead.close()  # as the kernel does when a process ends
    await until(lambda: len(engine._links) == 1)
    assert engine.waiting == 4
    engine._links.copy().pop().close()  # of what the first was running, nothing runs yet
    with pytest.raises(Unavailable, match="ended while it ran the picture") as caught:
        await first[running[1 - died]]
    assert caught.value.retry_after is not None
    assert engine.waiting == 3
    await workers[2].join(engine)
    answers = await asyncio.gather(first[running[died]], *queued)
    assert [int(answer.probabilities[0]) for answer in answers] == [running[died], 2, 3]
    for network in networks:
        network.gate.set()
    await engine.close()
    for worker in workers:
        await worker.leave()
    assert free(engine) == SHAPE.slots


async def test_a_picture_that_ends_two_engines_meets_no_third() -> None:
    engine, networks = Engine("colours/1", SHAPE), [Network() for _ in range(3)]
    workers = [Worker(network, 1) for network in networks]
    for worker, network in zip(workers, networks, strict=True):
        network.gate.clear()
        await worker.join(engine)
    poison = asyncio.create_task(ask(engine, 7))
    for ended in (1, 2):
        await until(lambda ended=ended: sum(len(network.batches) for network in networks) == ended)  # type: ignore[misc]
        next(link for link in engine._links if link.asked).close()
    with pytest.raises(Unavailable, match="ended while it ran the picture"):
        await poison
    assert len(engine._links) == 1
    for network in networks:
        network.gate.set()
    await engine.close()
    for worker in workers:
        await worker.leave()


async def test_what_a_dead_engine_was_sent_is_asked_of_the_next(network: Network) -> None:
    engine = Engine("colours/1", SHAPE)
    ours, theirs = socket.socketpair()
    await engine.connect(ours)
    asks = [asyncio.create_task(ask(engine, n)) for n in (1, 2)]
    await until(lambda: engine.waiting == 2)
    theirs.close()  # nobody has read a word
    late = asyncio.create_task(ask(engine, 3))
    worker = Worker(network, 8)
    await until(lambda: not engine._links)
    await worker.join(engine)
    assert [int(answer.probabilities[0]) for answer in await asyncio.gather(*asks, late)] == [1, 2, 3]
    await engine.close()
    await worker.leave()


async def test_a_sibling_answers_for_an_engine_that_ended() -> None:
    engine, networks = Engine("colours/1", SHAPE), [Network(), Network()]
    workers = [Worker(network, 1) for network in networks]
    for worker, network in zip(workers, networks, strict=True):
        network.gate.clear()
        await worker.join(engine)
    asks = [asyncio.create_task(ask(engine, n)) for n in range(2)]
    await until(lambda: bool(networks[0].batches and networks[1].batches))
    engine._links.copy().pop().close()
    await until(lambda: len(engine._links) == 1)
    for network in networks:
        network.gate.set()
    assert [int(answer.probabilities[0]) for answer in await asyncio.gather(*asks)] == [0, 1]
    await engine.close()
    for worker in workers:
        await worker.leave()


async def test_nothing_is_written_to_an_engine_whose_end_is_known() -> None:
    written: list[bytes] = []

    class Transport(asyncio.WriteTransport):  # as uvloop's, which raises where something is written after its end
        closing = False

        def is_closing(self) -> bool:
            return self.closing

        def write(self, data: bytes | bytearray | memoryview) -> None:
            written.append(bytes(data))

    transport, link = Transport(), room.Link(Engine("colours/1", SHAPE))
    link.connection_made(transport)
    for record, closing in ((b"before", False), (b"after", True)):
        link._write(record)
        transport.closing = closing
        await asyncio.sleep(0)
    assert written == [b"before"]


async def test_without_an_engine_a_deadline_holds_and_a_lost_one_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_PATIENCE_SECONDS", 0.01)
    engine = Engine("colours/1", SHAPE)
    with pytest.raises(DeadlineExceeded):
        await ask(engine, 1, time.monotonic())
    parked = asyncio.create_task(ask(engine, 2))
    await until(lambda: engine.waiting == 1)
    async with engine.slot(math.inf) as slot:
        engine.fail("it ends as often as it is started")
        for asked in (parked, slot.infer(math.inf), ask(engine, 3)):
            with pytest.raises(Unavailable, match="as often as it is started"):
                await asked
    await engine.close()
    assert free(engine) == SHAPE.slots


async def test_close_waits_for_who_holds_the_engine(serve: Serve) -> None:
    async with serve() as engine:
        with engine.hold():
            closing = asyncio.create_task(engine.close())
            await asyncio.sleep(0.01)
            assert not closing.done()
            assert ((await ask(engine, 5)).probabilities == 5).all()
        await closing
        with pytest.raises(Unavailable, match="unloaded"):
            await ask(engine, 1)
