"""Averages of weights: what they are, and that only better ones are kept."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from eyasd.core.evaluation import EpochMetrics
from eyasd.training.tuning.average import Candidate, State, follow, mix, refine


def state(value: float, count: int = 0) -> State:
    return {"weight": torch.full((3,), value), "count": torch.tensor(count)}


def figures(loss: float) -> EpochMetrics:
    return EpochMetrics(1, 0.0, loss, 0.0, 0.0, 0.0, 0.0)


def distance_to(best: float) -> Callable[[str, State], Candidate]:
    """A loss that is least where the weight is `best`; the logits are the weights."""

    def score(name: str, state: State) -> Candidate:
        return Candidate(name, state, figures(abs(float(state["weight"][0]) - best)), state["weight"].numpy())

    return score


def candidate(name: str, value: float, best: float) -> Candidate:
    return distance_to(best)(name, state(value))


def test_a_moving_average_looks_back_a_tenth_of_the_training() -> None:
    average = state(0.0)
    for step in range(1, 1001):
        follow(average, state(float(step), step), step, 1000)
    assert average["weight"][0] == pytest.approx(1000 - 99, rel=0.01)  # the mean age of what it holds is 99 steps
    assert average["count"] == 1000


def test_a_young_average_has_forgotten_its_start() -> None:
    average = state(100.0)
    for step in range(1, 21):
        follow(average, state(0.0), step, 10_000)
    assert average["weight"][0] < 1e-3


def test_a_mixture_lies_on_the_line_and_keeps_the_types() -> None:
    mixed = mix(state(0.0, 1), state(10.0, 2), 0.3)
    assert mixed["weight"].tolist() == pytest.approx([3.0] * 3)
    assert mixed["count"] == 2
    assert mixed["count"].dtype == torch.int64


def test_a_mean_is_kept_where_it_is_better() -> None:
    kept = refine([candidate("a", 1.0, 2.1), candidate("b", 3.0, 2.1)], state(99.0), distance_to(2.1))
    assert kept.name == "the mean of b and a"
    assert kept.state["weight"].tolist() == [2.0] * 3
    assert kept.figures.loss == pytest.approx(0.1)


def test_every_part_of_a_mean_weighs_the_same() -> None:
    found = [candidate("a", 1.0, 2.0), candidate("b", 2.5, 2.0), candidate("c", 2.9, 2.0)]
    kept = refine(found, state(99.0), distance_to(2.0))
    # b, then the mean of b and c is worse, then of b and a is better: 1.75
    assert kept.name == "the mean of b and a"
    assert kept.state["weight"].tolist() == [1.75] * 3


@pytest.mark.parametrize(("best", "share"), [(7.0, 70), (5.0, 50), (8.5, 85)])
def test_the_way_back_to_the_start_is_tried(best: float, share: int) -> None:
    kept = refine([candidate("a", 10.0, best)], state(0.0), distance_to(best))
    assert kept.name == f"a, {share}% of the way from the head's start"
    assert kept.state["weight"].tolist() == pytest.approx([best] * 3)
    assert kept.logits is not None
    assert np.array_equal(kept.logits, kept.state["weight"].numpy())


def test_nothing_better_changes_nothing() -> None:
    best = candidate("a", 5.0, 5.0)
    assert refine([candidate("b", 6.0, 5.0), best], state(0.0), distance_to(5.0)) is best


def test_without_time_the_best_seen_is_kept() -> None:
    best = candidate("a", 1.0, 2.0)
    assert refine([best, candidate("b", 3.1, 2.0)], state(0.0), lambda name, state: None) is best
