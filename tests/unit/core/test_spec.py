"""core.spec: the ranges of the training specification."""

from __future__ import annotations

from datetime import timedelta

import pytest

from eyasd.core.errors import InvalidArgument
from eyasd.core.spec import Preset, TrainSpec


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
        ({"trials": 1001, "preset": Preset.BEST}, "trials is 1001"),
        ({"trials": 5}, "trials is 5, but the preset balanced has none: choose the preset best"),
        ({"backbone": "a" * 2_001}, "backbone has 2,001 characters; at most 2,000"),
        ({"add_captured": "a" * 5_000}, f"add_captured is '{'a' * 80}'; it must be"),
        ({"backbone": "auto", "pretrained": False}, "backbone is auto, but without pre-trained weights"),
        ({"backbone": "resnet18,resnet50", "pretrained": False}, "backbone is resnet18,resnet50, but without pre-trained weights"),
    ],
)
def test_a_value_out_of_range_is_named_with_its_range(values: dict[str, object], says: str) -> None:
    with pytest.raises(InvalidArgument, match=says) as caught:
        TrainSpec(**values)  # type: ignore[arg-type]
    assert caught.value.field == f"spec.{next(iter(values))}"


def test_what_is_asked_for_is_what_differs_from_the_defaults() -> None:
    assert TrainSpec().asked == {}
    assert TrainSpec(seed=0, dropout=0.0, preset=Preset.FAST).asked == {"preset": Preset.FAST, "dropout": 0.0}


@pytest.mark.parametrize(
    ("spec", "fine_tunes", "ranks", "searches"),
    [
        (TrainSpec(), True, False, False),
        (TrainSpec(preset=Preset.FAST, backbone="auto"), False, True, False),
        (TrainSpec(preset=Preset.FAST, epochs=1), True, False, False),
        (TrainSpec(preset=Preset.BEST, backbone="resnet18, resnet50"), True, True, True),
        (TrainSpec(preset=Preset.BEST, trials=0), True, False, False),
        (TrainSpec(preset=Preset.BEST, epochs=0), False, False, False),
    ],
)
def test_what_a_training_is_made_of(spec: TrainSpec, fine_tunes: bool, ranks: bool, searches: bool) -> None:
    assert (spec.fine_tunes, spec.ranks, spec.searches) == (fine_tunes, ranks, searches)
