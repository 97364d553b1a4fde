"""core.types: the ranges of the training specification."""

from __future__ import annotations

from datetime import timedelta

import pytest

from eyasd.core.errors import InvalidArgument
from eyasd.core.spec import TrainSpec
from eyasd.core.types import Timing


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"dropout": 0.95}, "dropout is 0.95; it must be from 0 to 0.9"),
        ({"epochs": -1}, "epochs is -1"),
        ({"batch_size": 1}, "batch_size is 1"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"image_size_px": 16}, "image_size_px is 16"),
        ({"validation_fraction": 0.9}, "validation_fraction is 0.9"),
        ({"budget": timedelta(seconds=3)}, "budget is 3 s; it must be from 10 s to 30 days"),
        ({"budget": timedelta(days=31)}, "budget is 2.6784e"),
    ],
)
def test_a_value_out_of_range_is_named_with_its_range(values: dict[str, object], says: str) -> None:
    with pytest.raises(InvalidArgument, match=says) as caught:
        TrainSpec(**values)  # type: ignore[arg-type]
    assert caught.value.field == f"spec.{next(iter(values))}"


def test_the_longest_of_each_stage() -> None:
    assert Timing(1, 2, 3).longest(Timing(3, 2, 1)) == Timing(3, 2, 3)
