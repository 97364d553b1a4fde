"""serving.queue.load: 0 is idle, 1 at capacity, 2 twice too much, whoever looks and however often."""

from __future__ import annotations

from statistics import fmean

import pytest
from tests.unit.serving.queue.simulation import Offer, Server

from eyasd.serving.queue.batcher import Options
from eyasd.serving.queue.load import SPAN, Load

CPU = Options(8)
CUDA = Options(32, pads=True)


def linear(size: int, now: float) -> float:
    """A CPU: 100 pictures a second."""
    return 0.01 * size


def flat(size: int, now: float) -> float:
    """A GPU: 2,424 pictures a second in batches of 32, 99 one by one."""
    return 0.01 + 0.0001 * size


def load(offered: float, options: Options = CPU, *, deadline: float = 1.0, lasting: float = 40.0, decode: float = 0.001) -> float:
    """Returns the load of the engine after a while, of so many pictures a second; the mean of the last seconds."""
    seen: list[float] = []

    def look(now: float) -> None:
        seen.extend(engine.look(now) for engine in server.admission.engines().values())

    device = flat if options is CUDA else linear
    server = Server(options, device, decode_seconds=decode, decoders=16, max_images=10_000, looks=look)
    server.run([Offer(images_per_second=offered, seconds=(deadline,))], lasting)
    return fmean(seen[-3:])


@pytest.mark.parametrize(("offered", "of"), [(50, 0.5), (100, 1.0), (200, 2.0), (400, 4.0)])
def test_it_is_what_comes_as_a_multiple_of_what_can_be_done(offered: float, of: float) -> None:
    assert load(offered) == pytest.approx(of, rel=0.1)


@pytest.mark.parametrize(("offered", "of"), [(2400, 1.0), (4800, 2.0)])
def test_a_gpu_is_full_when_its_batches_are(offered: float, of: float) -> None:
    assert load(offered, CUDA, lasting=4.0) == pytest.approx(of, rel=0.2)


def test_before_full_batches_were_seen_a_gpu_looks_fuller_than_it_is_but_never_full() -> None:
    assert 0.25 < load(600, CUDA, lasting=4.0) < 0.75


def test_a_queue_that_callers_have_the_patience_for_is_load_too() -> None:
    assert load(200, deadline=600.0) == pytest.approx(1 + 26 / SPAN, rel=0.15)  # of 37 s of work that waits by then


def test_replicas_that_share_the_work_come_to_the_target_at_once() -> None:
    replicas, target = 2, 0.7
    wanted = replicas * load(300 / replicas) / target
    assert load(300 / round(wanted)) == pytest.approx(target, rel=0.2)


def test_nobody_is_fooled_by_the_moment_of_a_look() -> None:
    """A batch of a tenth of a second, every second: looks that never meet one, and one that looks all the time, say the same."""
    loads = [Load(1, 0.0) for _ in range(3)]
    for one in loads:
        one.pace = 0.1
    for second in range(120):
        for one in loads:
            one.wait(1, second + 0.0)
            one.demanded += 0.1
            one.wait(-1, second + 0.1)
        loads[0].look(second + 0.5)
        for tenth in range(11, 20):
            loads[1].look(second + tenth / 20)
    assert [round(one.look(120.0), 2) for one in loads] == [0.1, 0.1, 0.1]


def test_it_is_forgotten_when_nothing_comes_any_more() -> None:
    one = Load(2, 0.0)
    one.demanded += 200.0
    assert one.look(100.0) == pytest.approx(1.0, abs=0.01)
    assert one.look(100.0 + SPAN) == pytest.approx(0.37, abs=0.01)
    assert one.look(200.0) < 0.01
    assert (one.demanded, one.offered) == (200.0, 400.0)
