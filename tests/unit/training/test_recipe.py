"""The caller's wish, then the preset's value; and the learning rate's course."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from eyasd.core.errors import InvalidArgument
from eyasd.core.spec import Loss, Optimizer, Preset, Schedule, TrainSpec
from eyasd.training.recipe import DEFAULT_BACKBONE, learning_rate_factor, resolve

CONTRACT = Path(__file__).parents[3] / "protos/eyas/v1/training_spec.proto"


def test_a_wish_wins_over_the_preset() -> None:
    recipe = resolve(TrainSpec(learning_rate=0.5, dropout=0.0, horizontal_flip=False, epochs=0, image_size_px=64), 1000, 224)
    assert (recipe.learning_rate, recipe.dropout, recipe.horizontal_flip, recipe.epochs, recipe.image_size_px) == (
        0.5,
        0.0,
        False,
        0,
        64,
    )


def test_defaults_come_from_the_backbone_and_the_preset() -> None:
    recipe = resolve(TrainSpec(), 1000, 288)
    assert (recipe.backbone, recipe.image_size_px, recipe.optimizer) == (DEFAULT_BACKBONE, 288, Optimizer.ADAMW)


def test_the_contract_tells_the_defaults() -> None:
    told: dict[str, float] = {}
    for comment, name in re.findall(r"((?:  // .*\n)+)  optional (?:double|uint32) (\w+) =", CONTRACT.read_text()):
        default = re.search(r"[Dd]efault:? (\d+\.?\d*)|(\d+\.?\d*), the default", comment.replace("\n  //", ""))
        if default and name != "trials":  # which no recipe has
            told[name] = float(default[1] or default[2])
    recipe = resolve(TrainSpec(add_captured="labelled"), 100, 224)
    assert told == {name: getattr(recipe, name) for name in told}
    assert told.keys() >= {"learning_rate", "sampling_power", "shift_fraction", "min_crop_fraction", "mixup_alpha"}


def test_presets_differ_in_epochs() -> None:
    fast, balanced, best = (resolve(TrainSpec(preset=preset), 3000, 224).epochs for preset in Preset)
    assert fast == 0 < balanced < best


def test_the_length_is_a_number_of_samples_that_epochs_are_turned_into_by_the_training_split() -> None:
    recipe = resolve(TrainSpec(epochs=10), 1000, 224, training=700)
    assert (recipe.epochs, recipe.samples) == (10, 7000)
    recipe = resolve(TrainSpec(samples=1750), 1000, 224, training=700)
    assert (recipe.epochs, recipe.samples) == (2.5, 1750)
    assert resolve(TrainSpec(preset=Preset.FAST), 1000, 224).samples == 0
    assert resolve(TrainSpec(), 1000, 224, training=700).epochs == resolve(TrainSpec(), 1000, 224).epochs


def test_epochs_and_samples_are_not_both_given() -> None:
    with pytest.raises(InvalidArgument, match="epochs is 5 and samples 1000; give one of them: epochs counts passes"):
        TrainSpec(epochs=5, samples=1000)


@pytest.mark.parametrize(
    ("wishes", "fine_tunes"),
    [
        ({}, True),
        ({"preset": Preset.FAST}, False),
        ({"preset": Preset.FAST, "samples": 9}, True),
        ({"epochs": 0}, False),
        ({"samples": 0}, False),
    ],
)
def test_a_length_of_nothing_trains_the_head_alone(wishes: dict[str, Any], fine_tunes: bool) -> None:
    assert TrainSpec(**wishes).fine_tunes is fine_tunes
    assert (resolve(TrainSpec(**wishes), 100, 224).samples > 0) is fine_tunes


def test_small_datasets_get_more_epochs() -> None:
    assert resolve(TrainSpec(), 100, 224).epochs > resolve(TrainSpec(), 100_000, 224).epochs


def test_random_weights_learn_at_the_full_rate() -> None:
    assert resolve(TrainSpec(pretrained=False), 100, 224).backbone_learning_rate_ratio == 1.0
    assert resolve(TrainSpec(pretrained=True), 100, 224).backbone_learning_rate_ratio < 1.0


def test_binary_cross_entropy_is_not_smoothed_by_default() -> None:
    assert resolve(TrainSpec(loss=Loss.BINARY_CROSS_ENTROPY), 100, 224).label_smoothing == 0.0


def test_several_labels_a_picture_decide_the_loss() -> None:
    assert resolve(TrainSpec(), 100, 224).loss is Loss.CROSS_ENTROPY
    recipe = resolve(TrainSpec(), 100, 224, multi_label=True)
    assert (recipe.loss, recipe.label_smoothing) == (Loss.BINARY_CROSS_ENTROPY, 0.0)
    with pytest.raises(InvalidArgument, match="loss is focal, but the pictures of this dataset have several labels"):
        resolve(TrainSpec(loss=Loss.FOCAL), 100, 224, multi_label=True)


@pytest.mark.parametrize(("imbalance", "power"), [(1.0, 0.0), (10.0, 0.0), (10.5, 0.5)])
def test_rare_labels_weigh_more_where_the_audit_warns_of_them(imbalance: float, power: float) -> None:
    recipe = resolve(TrainSpec(), 100, 224, imbalance=imbalance)
    assert (recipe.class_weight_power, recipe.sampling_power) == (power, 0.0)


def test_rare_labels_are_not_both_seen_more_often_and_weighed_more() -> None:
    assert resolve(TrainSpec(sampling_power=0.5), 100, 224, imbalance=50.0).class_weight_power == 0.0
    with pytest.raises(InvalidArgument, match=r"sampling_power is 0.8 and class_weight_power 0.5; together they must be at most 1"):
        TrainSpec(sampling_power=0.8, class_weight_power=0.5)


@pytest.mark.parametrize(
    ("wishes", "examples", "mixes"),
    [
        ({}, 50_000, False),
        ({"epochs": 20}, 50_000, True),
        ({"epochs": 20}, 5000, False),
        ({"samples": 1_000_000}, 50_000, True),
        ({"samples": 999_999}, 50_000, False),
    ],
)
def test_pictures_are_mixed_where_there_are_many_and_many_epochs(wishes: dict[str, int], examples: int, mixes: bool) -> None:
    recipe = resolve(TrainSpec(**wishes), examples, 224)
    assert (recipe.mixup_alpha > 0, recipe.cutmix_alpha) == (mixes, 0.0)


def test_every_value_is_told() -> None:
    told = resolve(TrainSpec(), 100, 224).to_strings()
    assert told["optimizer"] == "adamw"
    assert told["learning_rate"] == str(resolve(TrainSpec(), 100, 224).learning_rate)
    assert all(isinstance(value, str) for value in told.values())


def test_warm_up_rises_linearly_to_the_peak() -> None:
    factors = [learning_rate_factor(Schedule.COSINE, step, 100, 0.1) for step in range(12)]
    assert factors[:9] == pytest.approx([(step + 1) / 10 for step in range(9)])
    assert max(factors) == pytest.approx(1.0)


def test_cosine_falls_to_zero() -> None:
    factors = [learning_rate_factor(Schedule.COSINE, step, 100, 0.1) for step in range(10, 101)]
    assert factors == sorted(factors, reverse=True)
    assert factors[45] == pytest.approx(0.5)
    assert factors[-1] == pytest.approx(0.0)


def test_step_divides_after_each_third() -> None:
    assert [learning_rate_factor(Schedule.STEP, step, 90, 0.0) for step in (0, 29, 30, 59, 60, 89)] == pytest.approx(
        [1, 1, 0.1, 0.1, 0.01, 0.01]
    )


def test_plateau_divides_at_each_drop() -> None:
    assert learning_rate_factor(Schedule.PLATEAU, 50, 100, 0.0, drops=2) == pytest.approx(0.01)
