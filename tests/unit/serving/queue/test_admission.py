"""serving.queue.admission: full speed and no late answers at twice the load, fairness, and no refusal that lasts for ever."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from tests.unit.serving.queue.simulation import Asked, Offer, Server

from eyasd.core.errors import DeadlineExceeded, Overloaded
from eyasd.core.names import ModelRef
from eyasd.serving.question import Priority, Question
from eyasd.serving.queue.admission import Admission
from eyasd.serving.queue.batcher import Options

CPU = Options(8)
CUDA = Options(32, pads=True)
DEADLINES = (0.05, 0.2, 1.0, 5.0, 30.0)


def linear(size: int, now: float) -> float:
    """A CPU: 100 pictures a second."""
    return 0.01 * size


def flat(size: int, now: float) -> float:
    """A GPU: 2,424 pictures a second in batches of 32, 99 one by one."""
    return 0.01 + 0.0001 * size


def share_in_time(requests: Sequence[Asked]) -> float:
    """Of those that were let in."""
    admitted = [asked for asked in requests if asked.retry_after is None]
    return sum(asked.in_time for asked in admitted) / len(admitted)


def goodput(requests: Sequence[Asked], seconds: float) -> float:
    """Pictures a second that were answered in time."""
    return sum(len(asked.question.images) for asked in requests if asked.in_time) / seconds


@pytest.mark.parametrize(
    ("options", "seconds", "decoders", "capacity", "deadlines", "images", "lasting"),
    [
        pytest.param(CPU, linear, 2, 100, DEADLINES, (1, 64), 20.0, id="cpu"),
        pytest.param(CPU, linear, 2, 100, (0.1,), (1,), 20.0, id="all-deadlines-short"),
        pytest.param(CPU, linear, 2, 100, (1.0,), (1,), 20.0, id="all-deadlines-alike"),
        pytest.param(CUDA, flat, 16, 2424, DEADLINES, (1, 64), 5.0, id="gpu"),
        pytest.param(CUDA, flat, 1, 250, DEADLINES, (1, 64), 10.0, id="decoders"),
    ],
)
def test_twice_the_load_costs_no_speed_and_what_is_let_in_is_in_time(
    options: Options,
    seconds: Callable[[int, float], float],
    decoders: int,
    capacity: float,
    deadlines: tuple[float, ...],
    images: tuple[int, ...],
    lasting: float,
) -> None:
    server = Server(options, seconds, decoders=decoders)
    server.run([Offer(images_per_second=2 * capacity, images=images, seconds=deadlines)], lasting)
    assert goodput(server.requests, lasting) >= 0.95 * capacity
    assert share_in_time(server.requests) >= 0.995
    assert all(asked.retry_after > 0 for asked in server.requests if asked.retry_after is not None)
    assert server.admission.in_flight == 0


def test_below_capacity_nothing_is_refused_and_nothing_late() -> None:
    server = Server(CPU, linear)
    server.run([Offer(images_per_second=50, seconds=(0.2, 1.0))], 60)
    assert len(server.requests) > 2500
    assert all(asked.in_time for asked in server.requests)


@pytest.mark.parametrize("seconds", [0.002, 0.1])
def test_a_cold_start_learns_from_the_first_batches(seconds: float) -> None:
    server = Server(CPU, lambda size, _: seconds * size)
    lasting = 200 * seconds
    server.run([Offer(images_per_second=2 / seconds, seconds=(5 * seconds, 10 * seconds, 50 * seconds))], lasting)
    assert share_in_time(server.requests) >= 0.93  # of 200, most of the late ones before the first batches were measured
    assert goodput(server.requests, lasting) >= 0.9 / seconds


def test_a_device_that_becomes_half_as_fast_is_noticed_within_a_second() -> None:
    server = Server(CPU, lambda size, now: linear(size, now) * (2 if now >= 20 else 1))
    server.run([Offer(images_per_second=200, images=(1, 64), seconds=DEADLINES)], 60)
    after = [asked for asked in server.requests if asked.arrival >= 21]
    assert share_in_time(after) >= 0.99
    assert goodput(after, 39) >= 0.95 * 50


@pytest.mark.parametrize("seconds", [0.5, 5.0, 30.0])
def test_a_caller_within_its_share_is_let_in_and_in_time_whatever_another_sends(seconds: float) -> None:
    server = Server(CPU, linear)
    hog = Offer(images_per_second=300, images=(1, 64), seconds=(seconds,), caller="hog")
    server.run([hog, Offer(images_per_second=20, seconds=(0.5,), caller="modest")], 40)
    modest = [asked for asked in server.requests if asked.question.caller == "modest"]
    assert sum(asked.in_time for asked in modest) >= 0.99 * len(modest)
    assert goodput(server.requests, 40) >= 95


def test_low_priority_is_refused_first() -> None:
    server = Server(CPU, linear)
    server.run([Offer(images_per_second=rate, priority=level) for level, rate in zip(Priority, (30, 50, 120), strict=True)], 40)
    by_level = {level: [asked for asked in server.requests if asked.question.priority is level] for level in Priority}
    in_time = {level: sum(asked.in_time for asked in asked_) / len(asked_) for level, asked_ in by_level.items()}
    assert in_time[Priority.HIGH] >= 0.99
    assert in_time[Priority.NORMAL] >= 0.97
    assert 0.05 < in_time[Priority.LOW] < 0.5
    assert goodput(server.requests, 40) >= 95


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def question(
    images: int, seconds: float = 10.0, *, caller: str = "", priority: Priority = Priority.NORMAL, model: str = "birds"
) -> Question:
    ref = ModelRef(model, alias="production")
    return Question(ref=ref, images=[b""] * images, timeout_seconds=seconds, caller=caller, priority=priority)


def learned(max_images: int = 1000) -> Admission:
    """Returns an admission whose device takes 100 ms a picture."""
    admission = Admission(max_images, decoders=2, clock=Clock())
    with admission.admit(question(1)) as admitted:
        admission.ran("birds", 1, 0.1)
        admitted.leave()
    return settled(admission)


def settled(admission: Admission) -> Admission:
    """Returns it after so many answers in time that its estimates are what was measured."""
    for _ in range(2000):
        with admission.admit(question(1, 60.0)) as admitted:
            admitted.leave()
    return admission


def refused(admission: Admission, asked: Question) -> Overloaded:
    with pytest.raises(Overloaded) as caught, admission.admit(asked):
        pass
    assert caught.value.retry_after.total_seconds() > 0
    return caught.value


def test_the_bound_holds_and_room_comes_back() -> None:
    admission = Admission(10, decoders=1)
    with admission.admit(question(6)) as admitted:
        assert "6 pictures are waiting, and at most 10 are let in with priority NORMAL" in refused(admission, question(5)).message
        assert "at most 5 are let in with priority LOW" in refused(admission, question(1, priority=Priority.LOW)).message
        with admission.admit(question(4)):
            refused(admission, question(1))
            with admission.admit(question(2, priority=Priority.HIGH)):
                assert admission.in_flight == 12
        for _ in range(3):
            admitted.leave()
        with admission.admit(question(7)):
            assert admission.in_flight == 10
    assert admission.in_flight == 0


def test_another_callers_pictures_do_not_use_up_ones_share_of_the_room_but_twice_the_bound_is_all() -> None:
    admission = Admission(10, decoders=1)
    with admission.admit(question(10, caller="hog")), admission.admit(question(5, caller="modest")):
        refused(admission, question(1, caller="hog"))
        refused(admission, question(1, caller="modest"))
        admitted = [admission.admit(question(1, caller=f"small{number}")) for number in range(5)]
        assert admission.in_flight == 20
        refused(admission, question(1, caller="one more"))
        for one in admitted:
            one.leave()
    assert admission.in_flight == 0


def test_a_request_larger_than_the_bound_is_answered_when_nothing_else_is() -> None:
    admission = Admission(10, decoders=1)
    with admission.admit(question(64)):
        assert admission.in_flight == 64


def test_a_deadline_that_the_queue_would_miss_is_refused_at_once() -> None:
    admission = learned()
    with admission.admit(question(19)):
        error = refused(admission, question(1, 0.5))
        assert "may take 2105 ms and the deadline is in 500 ms" in error.message
        assert error.retry_after.total_seconds() == pytest.approx(1.605)
        with admission.admit(question(1, 5.0)), admission.admit(question(1, 0.5, priority=Priority.HIGH)):
            assert admission.in_flight == 21


def test_what_many_engines_share_goes_faster() -> None:
    admission = learned()
    with admission.admit(question(19)):
        admission.ran("birds", 1, 0.1, engines=4)
        with admission.admit(question(1, 0.55)):
            assert admission.in_flight == 20


def test_an_event_loop_that_lags_behind_is_a_queue_too() -> None:
    admission = learned()
    with admission.admit(question(1)):
        admission.decoded(0.001, 0.2)
        refused(admission, question(1, 0.8))
        with admission.admit(question(1, 1.2)):
            for _ in range(20):
                admission.decoded(0.001, 0.001)
            with admission.admit(question(1, 0.8)):
                assert admission.in_flight == 3


def test_one_slow_batch_does_not_close_a_model_for_ever() -> None:
    admission = Admission(100, decoders=1)
    with admission.admit(question(1)):
        admission.ran("birds", 1, 60.0)
    for _ in range(50):
        with admission.admit(question(1, 0.5)):
            refused(admission, question(1, 0.001))
            admission.ran("birds", 1, 0.1)
    with admission.admit(question(1, 0.5)), admission.admit(question(1, 0.5)):
        assert admission.in_flight == 2


def test_late_answers_make_it_careful_and_timely_ones_careless_again() -> None:
    admission = learned()
    for _ in range(20):
        with pytest.raises(DeadlineExceeded), admission.admit(question(1, 5.0)):
            raise DeadlineExceeded("late")
    with admission.admit(question(19)):
        refused(admission, question(1, 2.5))
        for _ in range(3):
            settled(admission)
        with admission.admit(question(1, 2.5)):
            assert admission.in_flight == 20


def test_a_failed_request_leaves_its_room_and_made_up_names_leave_nothing() -> None:
    admission = Admission(1, decoders=1)
    for number in range(100):
        with pytest.raises(RuntimeError), admission.admit(question(1, model=f"none{number}")) as admitted:
            admitted.leave()
            admitted.leave()
            raise RuntimeError
    assert admission.in_flight == 0
    assert not admission._models
    assert not admission._callers
