"""The settings of a training are taken as text and as values, and come back."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import given
from hypothesis import strategies as st

import eyas
from eyas import _settings
from eyas.v1.training_spec_pb2 import TrainingSpec

FIELDS = TrainingSpec.DESCRIPTOR.fields


def samples() -> dict[str, tuple[Any, str]]:
    """Returns for each field of the contract a value, and how it is written on a command line."""
    made: dict[str, tuple[Any, str]] = {}
    for field in FIELDS:
        if field.name == "variants":
            made[field.name] = ("int8,fp16", "int8,fp16")
        elif field.enum_type is not None:
            name = field.enum_type.values[-1].name.lower().removeprefix(f"{field.name}_")
            made[field.name] = (name, name)
        elif field.message_type is not None:
            made[field.name] = (timedelta(minutes=90), "1h30m")
        else:
            made[field.name] = {
                FieldDescriptor.CPPTYPE_STRING: ("resnet50", "resnet50"),
                FieldDescriptor.CPPTYPE_BOOL: (True, "true"),
                FieldDescriptor.CPPTYPE_UINT32: (7, "7"),
                FieldDescriptor.CPPTYPE_DOUBLE: (0.25, "0.25"),
            }[field.cpp_type]
    return made


@pytest.mark.parametrize("name", [field.name for field in FIELDS])
def test_every_setting_of_the_contract_is_taken_as_value_and_as_text(name: str) -> None:
    value, text = samples()[name]
    assert _settings.settings(_settings.training_spec({name: value})) == {name: value}
    assert _settings.training_spec({name: text}) == _settings.training_spec({name: value})


def test_none_leaves_a_setting_to_be_decided() -> None:
    assert _settings.settings(_settings.training_spec({"backbone": None, "epochs": 5})) == {"epochs": 5}


def test_all_settings_at_once_come_back() -> None:
    settings = {name: value for name, (value, _) in samples().items()}
    assert _settings.settings(_settings.training_spec(settings)) == settings


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"lerning_rate": 1}, "'lerning_rate' is not a setting of a training: did you mean learning_rate"),
        ({"colour": 1}, "use one of preset, backbone, "),
        ({"schedule": "linear"}, "'linear' is not a schedule: use one of cosine, step, plateau."),
        ({"variants": "int8,int4"}, "'int4' is not a variant: use one of fp32, fp16, int8."),
        ({"loss": 1}, "use one of cross_entropy, binary_cross_entropy, focal."),
        ({"preset": "unspecified"}, "use one of fast, balanced, best."),
        ({"epochs": "many"}, "epochs cannot be 'many': it is a whole number"),
        ({"epochs": 1.5}, "epochs cannot be 1.5: it is a whole number"),
        ({"epochs": -1}, "epochs cannot be -1: it is a whole number"),
        ({"seed": 2**70}, "seed cannot be"),
        ({"epochs": True}, "epochs cannot be True"),
        ({"dropout": "half"}, "dropout cannot be 'half': it is a number"),
        ({"pretrained": "perhaps"}, "pretrained cannot be 'perhaps': it is true or false"),
        ({"pretrained": 2}, "it is true or false"),
        ({"budget": "soon"}, "budget cannot be 'soon': it is a time, such as 90s, 10m or 1h30m"),
    ],
)
def test_a_setting_that_is_none_says_what_to_do(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(eyas.InvalidArgument) as caught:
        _settings.training_spec(settings)
    assert says in caught.value.message
    assert caught.value.code is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("10m", 600),
        ("1h30m", 5400),
        ("1h", 3600),
        ("90d", 7_776_000),
        ("1d2h", 93_600),
        ("2h0m5.5s", 7205.5),
        ("0.5", 0.5),
    ],
)
def test_a_duration(text: str, seconds: float) -> None:
    assert _settings.parse_duration(text) == timedelta(seconds=seconds)


@given(st.text(max_size=20) | st.from_regex(r"[0-9]{1,30}[dhms]?", fullmatch=True))
def test_any_text_is_a_duration_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert _settings.parse_duration(text) >= timedelta(0)


@given(st.timedeltas(timedelta(0), timedelta(days=40)))
def test_a_duration_is_written_as_it_is_read(time: timedelta) -> None:
    assert _settings.parse_duration(_settings.format_duration(time)) == time


def test_a_round_duration_is_short() -> None:
    assert _settings.format_duration(timedelta(minutes=90)) == "1h30m"
    assert _settings.format_duration(timedelta(seconds=90.5)) == "1m30.5s"
    assert _settings.format_duration(timedelta(0)) == "0s"
