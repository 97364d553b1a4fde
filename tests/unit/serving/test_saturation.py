"""serving.saturation: a server is as full as the fullest of what it needs."""

from __future__ import annotations

import pytest

from eyasd.core.errors import Overloaded
from eyasd.core.names import ModelRef
from eyasd.serving.question import Question
from eyasd.serving.queue.admission import Admission
from eyasd.serving.saturation import Saturation
from eyasd.telemetry.metrics import Metrics


class Times:
    """What the clocks say: of the wall, and of the processor that the loop's thread had."""

    def __init__(self) -> None:
        self.now = self.loop = 0.0


def question(seconds: float = 10.0) -> Question:
    return Question(ref=ModelRef("birds", alias="production"), images=[b""], timeout_seconds=seconds, caller="")


def answer(admission: Admission, times: Times, *, decode: float, run: float) -> None:
    """Answers a picture, which takes as long as the engine does."""
    with admission.admit(question()) as admitted:
        admission.decoded(decode, 0.0)
        times.now += run
        admission.ran("birds", 1, run)
        admitted.leave()


def ratio(metrics: Metrics, resource: str, model: str = "") -> float:
    return metrics.registry.get_sample_value("eyas_demand_ratio", {"resource": resource, "model": model}) or 0.0


def test_it_is_the_fullest_of_engines_decoders_and_the_loop(metrics: Metrics) -> None:
    times = Times()
    admission = Admission(100, 2, lambda: times.now)
    Saturation(admission, metrics, loop_seconds=lambda: times.loop)
    assert metrics.registry.get_sample_value("eyas_saturation_ratio") == 0
    for _ in range(1000):
        answer(admission, times, decode=0.02, run=0.05)
        times.now += 0.05
        times.loop += 0.03
    assert ratio(metrics, "engine", "birds") == pytest.approx(0.5, abs=0.01)
    assert ratio(metrics, "decoder") == pytest.approx(0.1, abs=0.01)
    assert ratio(metrics, "loop") == pytest.approx(0.3, abs=0.01)
    assert metrics.registry.get_sample_value("eyas_saturation_ratio") == ratio(metrics, "engine", "birds")
    engine = {"resource": "engine", "model": "birds"}
    assert metrics.registry.get_sample_value("eyas_demand_seconds_total", engine) == pytest.approx(50)
    assert metrics.registry.get_sample_value("eyas_capacity_seconds_total", engine) == pytest.approx(100)


def test_calls_that_are_turned_away_are_what_an_answered_one_takes(metrics: Metrics) -> None:
    times = Times()
    admission = Admission(100, 2, lambda: times.now)
    Saturation(admission, metrics, loop_seconds=lambda: times.loop)
    for _ in range(100):
        answer(admission, times, decode=0.0, run=1.0)
        times.loop += 0.9
        with admission.admit(question()), pytest.raises(Overloaded):
            admission.admit(question(0.001))
        metrics.refusals.labels("other", "calls").inc(2)
    # For each second that the loop worked for two answers, three more would have been wanted.
    assert ratio(metrics, "loop") == pytest.approx(0.9 * (1 + 3 / 2), abs=0.01)
    assert metrics.registry.get_sample_value("eyas_saturation_ratio") == pytest.approx(2.25, abs=0.01)


def test_acceptors_that_share_engines_say_on_average_how_full_these_are(metrics: Metrics) -> None:
    times = Times()
    admission = Admission(100, 2, lambda: times.now)
    Saturation(admission, metrics, share=2, loop_seconds=lambda: times.loop)
    for _ in range(1000):
        answer(admission, times, decode=0.0, run=0.05)
        times.now += 0.05
    assert ratio(metrics, "engine", "birds") == pytest.approx(1.0, abs=0.01)  # of its half of the engine
    engine = {"resource": "engine", "model": "birds"}
    assert metrics.registry.get_sample_value("eyas_capacity_seconds_total", engine) == pytest.approx(50)
