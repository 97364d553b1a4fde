"""Nothing of a specification is lost between the contract and the noun."""

from __future__ import annotations

from dataclasses import fields
from datetime import timedelta

import pytest

from eyas.v1 import training_spec_pb2
from eyasd.api.messages import specification
from eyasd.core.errors import InvalidArgument
from eyasd.core.spec import Loss, Optimizer, Preset, Schedule, TrainSpec
from eyasd.core.variants import Precision

FULL = TrainSpec(
    preset=Preset.BEST,
    backbone="resnet50",
    pretrained=False,
    budget=timedelta(minutes=10),
    seed=7,
    epochs=0,
    batch_size=16,
    learning_rate=0.01,
    backbone_learning_rate_ratio=0.5,
    weight_decay=0.1,
    max_gradient_norm=0.0,
    optimizer=Optimizer.SGD,
    schedule=Schedule.PLATEAU,
    warmup_fraction=0.2,
    loss=Loss.BINARY_CROSS_ENTROPY,
    label_smoothing=0.0,
    hidden_units=64,
    dropout=0.5,
    rotation_degrees=1.0,
    shift_fraction=0.1,
    shear_degrees=2.0,
    zoom_fraction=0.3,
    horizontal_flip=False,
    image_size_px=64,
    early_stopping_patience=3,
    validation_fraction=0.2,
    test_fraction=0.3,
    trials=5,
    variants=(Precision.INT8, Precision.FP16),
    min_precision=0.98,
    add_captured="labelled",
    captured_days=7.5,
    captured_weight=3.0,
    captured_test_fraction=0.25,
)


def test_the_message_and_the_noun_have_the_same_fields() -> None:
    assert [f.name for f in training_spec_pb2.TrainingSpec.DESCRIPTOR.fields] == [f.name for f in fields(TrainSpec)]


@pytest.mark.parametrize("spec", [FULL, TrainSpec()], ids=["full", "default"])
def test_a_specification_survives_the_trip(spec: TrainSpec) -> None:
    assert specification.train_spec(specification.train_spec_message(spec)) == spec


def test_an_empty_message_is_the_defaults() -> None:
    assert specification.train_spec(training_spec_pb2.TrainingSpec()) == TrainSpec()


def test_an_enum_of_the_future_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="99 is not a preset: use one of fast, balanced, best"):
        specification.train_spec(training_spec_pb2.TrainingSpec(preset=99))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("numbers", "sentence"),
    [
        ([9], "9 is not a precision"),
        ([0], "0 is not a precision"),
        ([1], "which every version is anyway"),
        ([3, 3], "name each once"),
    ],
)
def test_a_variant_that_makes_no_sense_is_refused(numbers: list[int], sentence: str) -> None:
    with pytest.raises(InvalidArgument, match=sentence):
        specification.train_spec(training_spec_pb2.TrainingSpec(variants=numbers))  # type: ignore[arg-type]
