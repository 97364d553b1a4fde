"""Of many pictures the best few of each moment are handed on, at most so many an hour, and what was just answered is remembered."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import numpy as np
import pytest

from eyasd.core.capture import CaptureReason
from eyasd.serving.capture.picking import Candidate
from eyasd.serving.capture.recent import REMEMBERED_SECONDS, Recent
from eyasd.serving.capture.window import Window

LOW, WRONG, SAMPLE = CaptureReason.LOW_MARGIN, CaptureReason.WRONG, CaptureReason.SAMPLE


class Clock:
    """A clock that stands."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def dropped() -> Counter[str]:
    return Counter()


@pytest.fixture
def window(clock: Clock, dropped: Counter[str]) -> Window:
    return Window(36, clock, lambda model, reason: dropped.update([f"{model} {reason}"]))


def offered(picture: bytes, worth: int, *reasons: CaptureReason, model: str = "colours", prediction: str = "") -> Candidate:
    probabilities = np.array([0.5, 0.5], np.float32)
    labels = ("blue", "red")
    return Candidate(model, 1, picture, datetime.now(UTC), prediction, labels, None, probabilities, None, reasons, worth)


def test_the_best_of_a_window_are_handed_on_best_first(window: Window, dropped: Counter[str]) -> None:
    for number in range(20):
        window.offer(offered(b"%d" % number, 400 + number, LOW))
    assert not window.takes("colours", LOW, 412)
    assert window.takes("colours", LOW, 413)
    assert window.takes("sizes", LOW, 1)
    assert [one.worth for one in window.close()] == [419, 418, 417]  # of 36 an hour a tenth at once
    assert dropped == {"colours rate": 17}
    assert window.close() == []


def test_a_flood_is_as_many_in_an_hour_as_are_allowed_and_leaves_room_to_other_reasons(window: Window, clock: Clock) -> None:
    kept: Counter[CaptureReason] = Counter()
    for number in range(360):  # an hour of windows of ten seconds, each full
        for place in range(10):
            window.offer(offered(b"%d %d" % (number, place), 450, LOW, SAMPLE))
        if number == 300:
            window.offer(offered(b"wrong", 950, WRONG, SAMPLE))
        kept.update(one.reasons[0] for one in window.close())
        clock.now += 10
    assert 36 <= kept[LOW] <= 40
    assert kept[WRONG] == 1


def test_the_same_picture_comes_once_for_the_same_reason(window: Window, dropped: Counter[str]) -> None:
    window.offer(offered(b"one", 450, LOW))
    window.offer(offered(b"one", 460, LOW))
    window.offer(offered(b"one", 950, WRONG))
    assert len(window.close()) == 2
    window.offer(offered(b"one", 450, LOW))
    assert window.close() == []
    assert dropped == {"colours duplicate": 2}


def test_what_was_just_answered_is_remembered_for_minutes_within_its_memory(clock: Clock) -> None:
    recent = Recent(100_000, clock)
    remembered = 0
    for number in range(3000):
        if recent.takes():
            recent.remember(offered(b"x" * 1000, 0, prediction=f"{number}"))
            remembered += 1
        clock.now += 0.1
        assert recent.size_bytes <= 100_000
    assert remembered == pytest.approx(50, abs=2)  # 25,000 bytes at once, and 100,000 in 300 s, of 2,500 a picture
    oldest = next(number for number in range(3000) if recent.take(f"{number}"))
    assert oldest < 3000 * 0.5  # not only the last moment
    clock.now += REMEMBERED_SECONDS + 1
    recent.remember(offered(b"new", 0, prediction="new"))
    taken = recent.take("new")
    assert taken is not None
    assert taken.picture == b"new"
    assert (recent.take("new"), recent.size_bytes) == (None, 0)
    assert not Recent(0, clock).takes()
