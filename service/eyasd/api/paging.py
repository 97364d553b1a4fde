"""Page sizes and tokens of the List methods (AIP-158).

A token is the key after which the next page begins; it is opaque to callers, and one that this code did not make is refused.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from typing import Final, Protocol, TypeVar

from eyasd.core.errors import InvalidArgument

_DEFAULT: Final = 50
_MOST: Final = 1000
_NUMBER: Final = re.compile(r"[0-9]{1,18}", re.ASCII)


def page_size(requested: int) -> int:
    """Returns how many items a page has; 0 is the default, more than the most is the most.

    Raises:
        InvalidArgument: the number is negative.
    """
    if requested < 0:
        raise InvalidArgument("page_size", f"page_size is {requested}; it must be 0, for {_DEFAULT}, or more.")
    return min(requested or _DEFAULT, _MOST)


def encode_token(key: str | None) -> str:
    """Returns the token of the page after `key`; None is the end, and has the empty token."""
    return "" if key is None else base64.urlsafe_b64encode(key.encode()).decode()


def decode_token(token: str) -> str | None:
    """Returns the key in a token, None for the empty one.

    Raises:
        InvalidArgument: the token was not made by `encode_token`.
    """
    if not token:
        return None
    try:
        key = base64.urlsafe_b64decode(token.encode("ascii")).decode()
    except (binascii.Error, UnicodeError):
        key = ""
    if encode_token(key) != token:  # base64 can be written in several ways
        raise InvalidArgument("page_token", "page_token was not made by this server: leave it empty for the first page.")
    return key


def decode_number(token: str) -> int | None:
    """Returns the number in the token of a list by number, None for the empty one.

    Raises:
        InvalidArgument: the token was not made by `encode_token`, or is of another list.
    """
    key = decode_token(token)
    return None if key is None else number_of(key)


def number_of(key: str) -> int:
    """Returns the number that a token's key, or the beginning of one, is.

    Raises:
        InvalidArgument: it is none that a database could hold.
    """
    if not _NUMBER.fullmatch(key):
        raise InvalidArgument("page_token", "page_token is of another list: leave it empty for the first page.")
    return int(key)


class _Record(Protocol):
    @property
    def record(self) -> int:
        """Its number within the history."""
        ...


R = TypeVar("R", bound=_Record)


def newest_first(history: Sequence[R], page_token: str, requested: int) -> tuple[list[R], str]:
    """Returns a page of a history, the newest first, and the token of the next one.

    Args:
        history: the records, oldest first.
        page_token: of the request.
        requested: page size of the request.

    Raises:
        InvalidArgument: as `decode_number` and `page_size`.
    """
    before, size = decode_number(page_token), page_size(requested)
    records = [record for record in reversed(history) if before is None or record.record < before]
    page = records[:size]
    return page, encode_token(str(page[-1].record) if len(records) > size else None)
