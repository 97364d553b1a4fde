"""What an audit finds has the fields of its messages."""

from __future__ import annotations

from dataclasses import fields, is_dataclass

import pytest

from eyas.v1 import evaluation_pb2
from eyasd.core import findings

NOUNS = [(noun, getattr(evaluation_pb2, noun.__name__)) for noun in vars(findings).values() if is_dataclass(noun)]


@pytest.mark.parametrize(("noun", "message"), NOUNS, ids=lambda value: value.__name__)
def test_a_finding_and_its_message_have_the_same_fields(noun: type, message: type) -> None:
    assert [f.name for f in message.DESCRIPTOR.fields] == [f.name for f in fields(noun)]  # type: ignore[attr-defined]
