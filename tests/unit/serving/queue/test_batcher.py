"""serving.queue.batcher: each picture is cut once, in time where it can be; nobody starves; a device waits only where it pays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eyasd.serving.question import Priority
from eyasd.serving.queue.batcher import Batcher, Options, batch_sizes
from eyasd.serving.queue.turns import PASSED, SHADOW, Work

CPU = Options(8)
CUDA = Options(32, pads=True)


def linear(size: int) -> float:
    """A CPU: ten milliseconds a picture."""
    return 0.01 * size


def flat(size: int) -> float:
    """A GPU: nearly all of a small batch's time is the start of its kernels."""
    return 0.01 + 0.0001 * size


def warm(options: Options, seconds: Callable[[int], float], max_delay_seconds: float = 0.0) -> Batcher:
    batcher = Batcher(replace(options, max_delay_seconds=max_delay_seconds))
    for size in batch_sizes(options.max_batch_size, pads=options.pads):
        batcher.ran(size, seconds(size))
    return batcher


def work(key: int, deadline: float, *, arrival: float = 0.0, priority: int = Priority.NORMAL, caller: str = "") -> Work:
    return Work(key, arrival, deadline, priority, caller)


def keys(works: list[Work]) -> list[int]:
    return [work.key for work in works]


@dataclass
class Device:
    """A device that runs what a batcher cuts, on a clock of its own."""

    batcher: Batcher
    seconds: Callable[[int], float]
    now: float = 0.0
    answered: dict[Work, float] = field(default_factory=dict)
    expired: list[Work] = field(default_factory=list)
    batches: list[list[Work]] = field(default_factory=list)

    def step(self) -> None:
        """Cuts once, and runs what was cut."""
        cut = self.batcher.cut(self.now)
        self.expired += cut.expired
        if cut.batch:
            self.batches.append(cut.batch)
            self.now += self.seconds(len(cut.batch))
            self.batcher.ran(len(cut.batch), self.seconds(len(cut.batch)))
            for one in cut.batch:
                assert one not in self.answered
                self.answered[one] = self.now
        elif cut.wait_seconds is not None:
            assert cut.wait_seconds > 0
            self.now += cut.wait_seconds

    def finish(self) -> None:
        while self.batcher.waiting:
            self.step()


MOVES = st.one_of(
    st.tuples(st.just("put"), st.floats(-0.01, 0.5), st.sampled_from([*Priority, SHADOW]), st.sampled_from("abc")),
    st.tuples(st.just("cancel"), st.integers(0, 200)),
    st.tuples(st.just("run")),
    st.tuples(st.just("pass"), st.floats(0, 0.2)),
    st.tuples(st.just("lower"), st.integers(1, 40)),
)


@given(st.lists(MOVES, max_size=120), st.sampled_from([CPU, CUDA]), st.sampled_from([linear, flat]), st.sampled_from([0.0, 0.02]))
@settings(max_examples=300)
def test_each_picture_is_run_once_or_given_up_or_cancelled(
    moves: list[tuple[object, ...]], options: Options, seconds: Callable[[int], float], max_delay_seconds: float
) -> None:
    batcher = Batcher(replace(options, max_delay_seconds=max_delay_seconds))
    device = Device(batcher, seconds)
    put: list[Work] = []
    cancelled: set[Work] = set()
    for move in moves:
        match move:
            case ("put", float(allowed), int(priority), str(caller)):
                put.append(work(len(put), device.now + allowed, arrival=device.now, priority=priority, caller=caller))
                batcher.put(put[-1])
            case ("cancel", int(which)) if put:
                one = put[which % len(put)]
                cancelled |= {one} if one.waiting else set()
                batcher.cancel(one)
                assert not one.waiting
            case ("run",):
                before = device.now
                count = len(device.batches)
                device.step()
                for batch in device.batches[count:]:
                    assert 1 <= len(batch) <= batcher.max_batch_size
                    assert all(one.deadline > before for one in batch)
            case ("pass", float(passed)):
                device.now += passed
            case ("lower", int(size)):
                before_size = batcher.max_batch_size
                assert batcher.lower(size) == batcher.max_batch_size <= max(1, before_size // 2)
    assert batcher.waiting == sum(one.waiting for one in put)
    device.finish()
    outcomes = [*device.answered, *device.expired, *cancelled]
    assert len(outcomes) == len(set(outcomes)) == len(put)
    assert all(set(batch).isdisjoint(cancelled) for batch in device.batches)


@given(st.lists(st.floats(1, 100), min_size=1, max_size=60))
@settings(max_examples=50)
def test_while_everybody_is_within_their_share_the_earliest_deadline_goes_first(deadlines: list[float]) -> None:
    device = Device(warm(CPU, lambda size: 0.0001 * size), lambda size: 0.0001 * size)
    for key, deadline in enumerate(deadlines):
        device.batcher.put(work(key, deadline, caller=str(key % 3)))
    device.finish()
    assert [one.deadline for batch in device.batches for one in batch] == sorted(deadlines)


@given(
    st.lists(st.floats(0.1, 1.5), min_size=1, max_size=10),
    st.integers(1, 4),
    st.integers(1, 12),
    st.floats(0.0, 5.0),
    st.sampled_from([(CPU, linear), (CUDA, flat)]),
)
@settings(max_examples=60)
def test_pictures_within_their_callers_share_are_in_time_whatever_others_send(
    allowed: list[float],
    floods: int,
    count: int,
    slack: float,
    machine: tuple[Options, Callable[[int], float]],
) -> None:
    options, seconds = machine
    device = Device(warm(options, seconds), seconds)
    number = 0
    # The share of one among so many, and the batches that are cut meanwhile: one that holds what is due as early, and its own.
    need = (count + 1) * (floods + 1) * device.batcher.seconds_per_image + 3 * seconds(options.max_batch_size) + slack

    def flood() -> None:
        nonlocal number
        while device.batcher.waiting < 300:
            number += 1
            late = device.now + need * allowed[number % len(allowed)]
            device.batcher.put(work(number, late, arrival=device.now, caller=f"flood{number % floods}"))

    for _ in range(5):
        flood()
        device.step()
    modest = [work(-1 - one, device.now + need, arrival=device.now, caller="modest") for one in range(count)]
    for one in modest:
        device.batcher.put(one)
    while any(one.waiting for one in modest):
        flood()
        device.step()
    assert all(device.answered.get(one, float("inf")) <= one.deadline for one in modest)


@given(st.sampled_from([Priority.HIGH, Priority.NORMAL]), st.sampled_from([CPU, CUDA]))
@settings(max_examples=10)
def test_a_lower_priority_is_slowed_and_never_starved(above: Priority, options: Options) -> None:
    device = Device(warm(options, linear), linear)
    for key in range(20):
        device.batcher.put(work(key, 1e6, priority=Priority.LOW))
    for key in range(100, 1100):
        device.batcher.put(work(key, 1e5, priority=above))
    device.finish()
    order = [one.priority for batch in device.batches for one in batch]
    places = [place for place, priority in enumerate(order) if priority is Priority.LOW]
    assert places == [PASSED + (PASSED + 1) * one for one in range(20)]


def test_shadow_traffic_goes_when_nothing_else_waits_or_instead_of_padding() -> None:
    batcher = warm(CUDA, flat)
    for key in range(40):
        batcher.put(work(key, 100, priority=SHADOW))
    for key in range(100, 103):
        batcher.put(work(key, 100, priority=Priority.LOW))
    assert keys(batcher.cut(0.0).batch) == [100, 101, 102, 0]
    assert len(batcher.cut(0.0).batch) == 32
    batcher = warm(CPU, linear)
    for key in range(40):
        batcher.put(work(key, 100, priority=SHADOW))
    batcher.put(work(100, 100, priority=Priority.LOW))
    assert [keys(batcher.cut(0.0).batch) for _ in range(2)] == [[100], [0]]


def test_a_caller_does_not_get_more_by_sending_its_pictures_one_after_another() -> None:
    device = Device(warm(Options(1), linear), linear)
    device.batcher.put(work(0, 1.0, caller="modest"))
    key = 0
    while not device.answered or device.batches[-1][0].key != 0:
        key += 1
        device.batcher.put(work(key, device.now + 0.1, arrival=device.now, caller="hasty"))
        device.step()
    assert device.now <= 1.0


def test_what_would_come_too_late_makes_room_and_is_tried_where_nothing_else_waits() -> None:
    batcher = warm(CPU, linear)
    batcher.put(work(1, 0.009))
    batcher.put(work(2, 0.5))
    cut = batcher.cut(0.0)
    assert (keys(cut.batch), keys(cut.expired)) == ([2], [1])
    batcher.put(work(3, 0.009))
    cut = batcher.cut(0.0)
    assert (keys(cut.batch), keys(cut.expired)) == ([3], [])


def test_a_batch_is_no_larger_than_its_deadlines_allow_where_small_ones_are_as_quick() -> None:
    batcher = warm(CPU, linear)
    for key in range(12):
        batcher.put(work(key, 0.035 + key))
    assert [len(batcher.cut(0.0).batch) for _ in range(2)] == [3, 8]


def test_a_full_device_gives_up_what_only_a_small_batch_could_save_where_that_is_dear() -> None:
    batcher = warm(CUDA, flat)
    for key in range(3):
        batcher.put(work(key, 0.0105))
    for key in range(10, 50):
        batcher.put(work(key, 1.0))
    cut = batcher.cut(0.0)
    assert (len(cut.batch), keys(cut.expired)) == (32, [0, 1, 2])


def test_a_slow_start_of_the_device_does_not_close_it_for_ever() -> None:
    device = Device(Batcher(CPU), linear)
    device.batcher.ran(1, 10.0)
    device.batcher.ran(8, 10.0)
    for key in range(400):
        device.batcher.put(work(key, device.now + 0.5, arrival=device.now))
        device.step()
    assert len(device.expired) < 100
    assert not any(one.key > 300 for one in device.expired)


@pytest.mark.parametrize(
    ("options", "seconds", "gap", "waits"),
    [
        (CUDA, flat, 0.001, True),  # nine more come while one would run
        (CUDA, flat, 0.009, False),  # one or none
        (CPU, linear, 0.001, False),  # a batch takes as long as its pictures one by one
    ],
)
def test_a_free_device_waits_where_a_fuller_batch_pays(
    options: Options, seconds: Callable[[int], float], gap: float, waits: bool
) -> None:
    batcher = warm(options, seconds, max_delay_seconds=0.05)
    now = 0.0
    for key in range(40):
        now = key * gap
        batcher.put(work(key, now + 60, arrival=now))
        if batcher.waiting >= 8:
            batcher.cut(now)
    while batcher.waiting:
        batcher.cut(now + 1)
    batcher.put(work(100, now + 60, arrival=now))
    cut = batcher.cut(now)
    assert bool(cut.batch) is not waits
    if waits:
        assert cut.wait_seconds is not None
        assert 0 < cut.wait_seconds <= 0.005
        assert keys(batcher.cut(now + cut.wait_seconds).batch) == [100]


def test_the_wait_ends_with_a_silence_a_bound_a_deadline_or_a_full_batch() -> None:
    def busy(max_delay_seconds: float) -> Batcher:
        batcher = warm(CUDA, flat, max_delay_seconds)
        for key in range(33):
            batcher.put(work(key, 60, arrival=-0.0001))
        batcher.cut(0.0)
        return batcher

    assert busy(0.002).cut(0.0).wait_seconds == pytest.approx(0.002)
    assert busy(0.0).cut(0.0).batch
    soon = busy(1.0)
    soon.put(work(99, 0.022, arrival=0.0))
    assert 0 < (soon.cut(0.0).wait_seconds or 0) < 0.0018
    full = busy(1.0)
    for key in range(100, 140):
        full.put(work(key, 60, arrival=0.0))
    assert len(full.cut(0.0).batch) == 32
    idle = busy(1.0)
    idle.cut(5.0)
    idle.put(work(99, 60, arrival=10.0))
    assert keys(idle.cut(10.0).batch) == [99]


def test_the_largest_batch_can_be_lowered_for_good() -> None:
    batcher = warm(CUDA, flat)
    for key in range(20):
        batcher.put(work(key, 100))
    assert batcher.lower(5) == batcher.max_batch_size == 4  # five were padded to eight
    assert len(batcher.cut(0.0).batch) == 4
    assert [batcher.lower(3), batcher.lower(2), batcher.lower(1)] == [2, 1, 1]
    assert len(batcher.cut(0.0).batch) == 1
    assert warm(CPU, linear).lower(7) == 3


def test_a_device_that_pads_runs_few_sizes() -> None:
    assert batch_sizes(12, pads=True) == [1, 2, 4, 8, 12]
    assert batch_sizes(3, pads=False) == [1, 2, 3]
    assert batch_sizes(1, pads=True) == [1]
