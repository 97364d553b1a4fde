"""api.paging: sizes are bounded, tokens are ours."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyasd.api.paging import decode_number, decode_token, encode_token, newest_first, page_size
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


@pytest.mark.parametrize("token", ["é", "abc", "_w==", " ", "YW I=", "YQ==\n", "YR==", "YQ==YQ=="])
def test_a_foreign_token_is_refused(token: str) -> None:
    with pytest.raises(InvalidArgument, match="page_token"):
        decode_token(token)


@pytest.mark.parametrize("key", ["a", "-1", " 1", "\u0661", "\u00b2", "1" * 19, "9" * 5_000])
def test_a_number_that_no_list_has_is_refused(key: str) -> None:
    """Python reads no number of 5,000 digits, and a database none of 64 bits and more."""
    assert decode_number(encode_token("123")) == 123
    with pytest.raises(InvalidArgument, match="page_token is of another list"):
        decode_number(encode_token(key))


@dataclass(frozen=True)
class Record:
    record: int


def test_a_history_is_paged_from_its_newest_record() -> None:
    history, token, seen = [Record(number) for number in range(1, 6)], "", []
    for _ in range(3):
        page, token = newest_first(history, token, 2)
        seen.append([record.record for record in page])
        history.append(Record(len(history) + 1))  # what comes meanwhile is not seen
    assert (seen, token) == ([[5, 4], [3, 2], [1]], "")
