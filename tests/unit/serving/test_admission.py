"""serving.admission: a bound, an estimate, and nothing left behind."""

from __future__ import annotations

import pytest

from eyasd.core.errors import Overloaded
from eyasd.serving.admission import Admission


def test_the_bound_holds_and_room_comes_back() -> None:
    admission = Admission(10)
    with admission.admit(6, 1.0):
        with pytest.raises(Overloaded, match="6 pictures are waiting, and at most 10") as caught, admission.admit(5, 1.0):
            pass
        assert caught.value.retry_after.total_seconds() > 0
        with admission.admit(4, 1.0):
            assert admission.in_flight == 10
    assert admission.in_flight == 0


def test_a_request_larger_than_the_bound_is_answered_when_nothing_else_is() -> None:
    with Admission(10).admit(64, 1.0):
        assert True


def test_a_deadline_that_the_queue_would_miss_is_refused_at_once() -> None:
    admission = Admission(1000)
    admission.observe(images=1, seconds=0.1, in_flight=1)
    with admission.admit(20, 10.0):
        with (
            pytest.raises(Overloaded, match="wait is about 2000 ms and the deadline is in 500 ms") as caught,
            admission.admit(1, 0.5),
        ):
            pass
        assert caught.value.retry_after.total_seconds() == pytest.approx(2.0)
        with admission.admit(1, 5.0):
            assert admission.in_flight == 21


def test_a_failed_request_leaves_its_room() -> None:
    admission = Admission(1)
    with pytest.raises(RuntimeError), admission.admit(1, 1.0):
        raise RuntimeError
    assert admission.in_flight == 0
