"""The length of a training in steps."""

from __future__ import annotations

import pytest

from eyasd.core.spec import TrainSpec
from eyasd.training.recipe import resolve
from eyasd.training.tuning.length import Length


def length_of(pictures: int, **wishes: int) -> Length:
    return Length.of(resolve(TrainSpec(**wishes), 2 * pictures, 224, training=pictures), pictures)


@pytest.mark.parametrize("batch_size", [2, 7, 32, 699, 700, 4096])
@pytest.mark.parametrize("epochs", [0, 1, 3, 1000])
def test_epochs_are_whole(epochs: int, batch_size: int) -> None:
    length = length_of(700, epochs=epochs, batch_size=batch_size)
    assert length.steps == epochs * length.epoch_steps
    assert length.validation_steps == length.epoch_steps == -(-700 // batch_size)


@pytest.mark.parametrize(("samples", "steps"), [(0, 0), (1, 1), (31, 1), (32, 2), (350, 11), (351, 12), (700, 22), (701, 23)])
def test_the_last_step_is_that_of_the_last_sample(samples: int, steps: int) -> None:
    assert length_of(700, samples=samples, batch_size=32).steps == steps  # of 31.8 pictures on average, 22 an epoch


@pytest.mark.parametrize(
    ("pictures", "epochs", "validation_steps"),
    [
        (10_000, 1, 1000),
        (10_010, 1, 501),  # two parts alike
        (50_000, 1, 1000),
        (50_000, 3, 1250),  # some ten in all
        (50_000, 10, 5000),
        (50_000, 40, 5000),
    ],
)
def test_long_epochs_are_measured_within_where_there_are_few(pictures: int, epochs: int, validation_steps: int) -> None:
    assert length_of(pictures, epochs=epochs, batch_size=10).validation_steps == validation_steps
