"""core.names: what may name a model, and what a resource name refers to."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyasd.core.errors import InvalidArgument
from eyasd.core.names import ModelRef, check_identifier, parse_job, parse_model, parse_model_ref


@pytest.mark.parametrize(
    ("name", "ref"),
    [
        ("models/clothing", ModelRef("clothing", alias="production")),
        ("models/clothing/aliases/canary", ModelRef("clothing", alias="canary")),
        ("models/clothing/versions/12", ModelRef("clothing", version=12)),
    ],
)
def test_the_three_forms(name: str, ref: ModelRef) -> None:
    assert parse_model_ref(name, "model") == ref


@pytest.mark.parametrize(
    "name",
    [
        "",
        "clothing",
        "models/",
        "models/a/versions/0",
        "models/a/versions/01",
        "models/a/versions/x",
        "models/a/b",
        "models/a/aliases/",
    ],
)
def test_other_forms_are_refused_and_the_field_is_named(name: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_model_ref(name, "model")
    assert caught.value.field == "model"


@pytest.mark.parametrize("parse", [parse_model, parse_job])
@pytest.mark.parametrize("name", ["models/../../etc", "jobs/a/b", "models/A", "jobs/", "x"])
def test_a_name_of_something_else_is_refused(parse: object, name: str) -> None:
    with pytest.raises(InvalidArgument):
        parse(name, "name")  # type: ignore[operator]


@pytest.mark.parametrize(
    "text", ["", ".", "..", "a..b", "-a", "a-", "A", "a/b", "a\\b", "a\0", "a b", "é", "x" * 65, "%2e%2e", "a;b", "a\n"]
)
def test_what_is_no_identifier(text: str) -> None:
    with pytest.raises(InvalidArgument):
        check_identifier(text, "model", "a model")


@given(st.text(max_size=80))
def test_an_accepted_identifier_is_one_plain_part_of_a_path(text: str) -> None:
    try:
        check_identifier(text, "model", "a model")
    except InvalidArgument:
        return
    assert PurePosixPath("root", text).parts == ("root", text)
    assert text not in {".", ".."}
