"""How many steps there is time for. Seconds are numbers here, none passes."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from eyasd.training.budget import Budget
from eyasd.training.tuning import pace
from eyasd.training.tuning.pace import Pace


@dataclass(frozen=True)
class Left(Budget):
    """A budget with so many seconds left."""

    seconds: float = 0.0

    def left_seconds(self) -> float:
        return self.seconds


def paced(left: float, step_seconds: float = 1.0) -> Pace:
    """Validations take 5 s, and one is due every 100 steps; 4 of them and 20 s are kept for the end."""
    return Pace(Left(seconds=left), 100, step_seconds, validation_seconds=5.0, export_seconds=20.0)


def test_without_a_budget_there_are_as_many_steps_as_are_wanted() -> None:
    assert Pace(Budget(), 100, 1.0, 5.0, 20.0).steps(10, 500, due=False) == 500


def test_before_a_step_was_timed_there_are_as_many_as_are_wanted() -> None:
    assert paced(50, 0.0).steps(0, 500, due=False) == 500


def test_steps_fill_the_time_that_the_end_leaves() -> None:
    assert paced(40 + 105).steps(10, 500, due=False) == 110  # 1.05 s each, with its share of a validation
    assert paced(40 + 105).steps(10, 50, due=False) == 50


@pytest.mark.parametrize("left", [0, 39, 40])
def test_none_follows_when_only_the_end_has_time(left: float) -> None:
    assert paced(left).steps(10, 500, due=True) == 10


@pytest.mark.parametrize(("more", "due", "steps"), [(4, True, 13), (4, False, 10), (5.3, False, 15)])
def test_no_validation_is_begun_for_steps_that_take_less_time_than_it(more: float, due: bool, steps: int) -> None:
    assert paced(40 + more).steps(10, 500, due=due) == steps


def test_the_end_is_expected_from_the_time_of_a_picture() -> None:
    found = Pace(Left(seconds=100), 100)
    found.expect_end(0.01, validation=300, network=200, session=400)
    assert found.validation_seconds == 3
    assert found.export_seconds == pace.MARGIN * (pace._EXPORT_SECONDS + 0.01 * (200 + pace.SESSION_SHARE * 400))
    assert found.may_refine
