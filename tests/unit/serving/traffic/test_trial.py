"""A canary is rolled back when it is surely worse than production and its bounds, and else not."""

from __future__ import annotations

import random

import pytest

from eyasd.core.traffic import Bounds
from eyasd.serving.traffic.trial import Cause, Trial, Verdict

BOUNDS = Bounds(min_requests=20)


def run(
    trial: Trial,
    requests: int,
    *,
    share: float = 0.2,
    seed: int = 0,
    canary_fails: float = 0.0,
    production_fails: float = 0.0,
    slowness: float = 1.0,
    images: int = 1,
) -> tuple[Verdict | None, int]:
    """Sends requests through both, of which 10 ms are the mean, and returns the verdict and how many the canary had by then."""
    draw, had = random.Random(seed), 0
    for _ in range(requests):
        canary = draw.random() < share
        had += canary
        failed = draw.random() < (canary_fails if canary else production_fails)
        seconds = draw.expovariate(100) * images * (slowness if canary else 1)
        verdict = trial.observe(canary=canary, images=images, seconds=seconds, failed=failed)
        if verdict:
            return verdict, had
    return None, had


def test_a_canary_like_production_stays() -> None:
    for seed in range(5):
        assert run(Trial(BOUNDS), 4000, seed=seed, canary_fails=0.01, production_fails=0.01)[0] is None


def test_one_that_fails_always_goes_at_the_first_look() -> None:
    verdict, had = run(Trial(BOUNDS), 1000, canary_fails=1.0)
    assert verdict is not None
    assert (verdict.cause, had) == (Cause.ERRORS, 20)
    assert verdict.finding.startswith("20 of its 20 requests failed, and 0 of ")


def test_none_is_judged_before_it_has_had_enough() -> None:
    trial = Trial(BOUNDS)
    for _ in range(19):
        assert trial.observe(canary=True, images=1, seconds=1.0, failed=True) is None
    assert trial.observe(canary=True, images=1, seconds=1.0, failed=True) is not None


def test_where_production_fails_as_often_the_canary_is_not_to_blame() -> None:
    assert run(Trial(BOUNDS), 4000, canary_fails=0.3, production_fails=0.3)[0] is None


def test_more_failures_than_production_but_within_the_bound_are_allowed() -> None:
    allowed = Bounds(min_requests=20, max_error_rate=0.3)
    assert run(Trial(allowed), 4000, canary_fails=0.2)[0] is None
    verdict, _ = run(Trial(BOUNDS), 4000, canary_fails=0.2)
    assert verdict is not None
    assert verdict.cause is Cause.ERRORS


def test_alone_it_is_judged_by_the_bound() -> None:
    verdict, _ = run(Trial(BOUNDS), 1000, share=1.0, canary_fails=0.5)
    assert verdict is not None
    assert verdict.cause is Cause.ERRORS
    assert run(Trial(BOUNDS), 1000, share=1.0, slowness=100)[0] is None


def test_one_that_is_slow_goes() -> None:
    verdict, had = run(Trial(BOUNDS), 20_000, slowness=3.0)
    assert verdict is not None
    assert verdict.cause is Cause.LATENCY
    assert had <= 200
    assert verdict.finding.startswith("50% of its requests of 1 picture take up to ")
    assert verdict.finding.endswith("at most 1.5 times as long is allowed")
    assert run(Trial(Bounds(min_requests=20, max_latency_ratio=4.0)), 20_000, slowness=3.0)[0] is None


def test_one_whose_slowest_requests_are_slower_goes() -> None:
    trial, draw, verdict = Trial(BOUNDS), random.Random(0), None
    for number in range(20_000):
        canary, hangs = number % 5 == 0, draw.random() < 0.2
        seconds = 0.01 + 0.001 * draw.random() + (1.0 if canary and hangs else 0.0)
        verdict = verdict or trial.observe(canary=canary, images=1, seconds=seconds, failed=False)
    assert verdict is not None
    assert verdict.finding.startswith("95% of its requests of 1 picture take up to 1,01")


def test_requests_of_many_pictures_are_compared_among_themselves() -> None:
    """A canary that happens to get the caller who sends 64 at a time is not slow."""
    trial = Trial(BOUNDS)
    for number in range(2000):
        canary = number % 2 == 0
        images = 64 if canary and number % 10 else 1
        assert trial.observe(canary=canary, images=images, seconds=0.01 * images * (1 + number % 7 / 7), failed=False) is None
    verdict, _ = run(Trial(BOUNDS), 20_000, slowness=3.0, images=24)
    assert verdict is not None
    assert "requests of 17 to 32 pictures" in verdict.finding


def test_what_did_not_run_says_nothing_of_the_speed() -> None:
    trial = Trial(BOUNDS)
    for number in range(2000):
        canary = number % 2 == 0  # and production has the answers in the cache
        assert trial.observe(canary=canary, images=1, seconds=1.0 if canary else None, failed=False) is None


def test_what_goes_wrong_late_is_found_in_a_window_of_its_own() -> None:
    trial = Trial(BOUNDS)
    assert run(trial, 50_000)[0] is None
    verdict, had = run(trial, 50_000, canary_fails=0.5)
    assert verdict is not None
    assert had <= 300


def test_answers_that_are_wrong_too_often() -> None:
    trial, draw = Trial(BOUNDS), random.Random(0)
    found = []
    for number in range(2000):
        canary = number % 4 == 0
        verdict = trial.observe_answer(canary=canary, right=draw.random() < (0.5 if canary else 0.9))
        if verdict:
            found.append(verdict)
            break
    (verdict,) = found
    assert verdict.cause is Cause.ACCURACY
    assert "judged answers are wrong, and" in verdict.finding


@pytest.mark.parametrize("accuracy", [0.9, 0.95])
def test_answers_as_good_as_production_s_are_good_enough(accuracy: float) -> None:
    trial, draw = Trial(BOUNDS), random.Random(0)
    for number in range(4000):
        canary = number % 4 == 0
        assert trial.observe_answer(canary=canary, right=draw.random() < (accuracy if canary else 0.9)) is None
