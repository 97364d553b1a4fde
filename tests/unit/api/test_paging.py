"""api.paging: sizes are bounded, tokens are ours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyasd.api.paging import decode_token, encode_token, page_size
from eyasd.core.errors import InvalidArgument


@pytest.mark.parametrize(("requested", "size"), [(0, 50), (7, 7), (5000, 1000)])
def test_sizes(requested: int, size: int) -> None:
    assert page_size(requested) == size


def test_a_negative_size_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="page_size is -1"):
        page_size(-1)


@given(st.text(min_size=1))
def test_a_token_is_its_key(key: str) -> None:
    assert decode_token(encode_token(key)) == key


def test_the_end_is_the_empty_token() -> None:
    assert encode_token(None) == ""
    assert decode_token("") is None


@pytest.mark.parametrize("token", ["é", "abc", "_w=="])
def test_a_foreign_token_is_refused(token: str) -> None:
    with pytest.raises(InvalidArgument, match="page_token"):
        decode_token(token)
