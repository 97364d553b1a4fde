"""Nouns <-> JSON documents, by the annotations of the dataclasses alone.

Strict, so that a damaged or foreign file is refused when it is read, not when it is used: an unknown key, one that is there twice,
a missing field or a value of another type raises ValueError that names the place. Durations are seconds, times ISO 8601 in UTC,
enums their values, tuples lists; NaN and infinities are refused, as JSON has none, and so are text that UTF-8 has no bytes for,
and numbers and times that the contract has no room for.
"""

from __future__ import annotations

import json
import re
import types
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import cache
from math import isfinite
from typing import Any, Final, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")
# What google.protobuf.Duration holds: ten thousand years.
_MOST_SECONDS: Final = 315_576_000_000
_SHOWN_KEYS: Final = 5
# Halves of a character, which JSON can write and UTF-8 cannot.
_NO_TEXT: Final = re.compile(r"[\ud800-\udfff]")


def dump(value: object) -> str:
    """Returns the JSON document of a dataclass; keys in the order of the fields, None fields left out."""
    return json.dumps(_plain(value), allow_nan=False, ensure_ascii=False)


def load(cls: type[T], text: str | bytes) -> T:
    """Returns the dataclass that `dump` wrote.

    Raises:
        ValueError: the text is not such a document; the message names the offending place.
    """
    loaded: T = _build(cls, parse(text), cls.__name__)
    return loaded


def parse(text: str | bytes) -> Any:
    """Returns what a JSON document says, read as strictly as `load` reads it.

    Raises:
        ValueError: the text is no JSON, is nested too deeply, or has a key twice or a number that is none.
    """
    try:
        return json.loads(text, parse_constant=_no_constant, object_pairs_hook=_object)
    except RecursionError:  # thousands of brackets
        raise ValueError("it is nested too deeply") from None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError(f"the key {twice(name for name, _ in pairs)[:80]!r} is there twice")
    return made


def twice(names: Iterable[str]) -> str:
    """Returns the first name that comes again, in one pass, as an object may have a million. Raises ValueError where none does."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    raise ValueError("no name is there twice")


def _plain(value: object) -> object:
    if is_dataclass(value):
        pairs = ((f.name, getattr(value, f.name)) for f in fields(value))
        return {name: _plain(item) for name, item in pairs if item is not None}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


@cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def _build(kind: Any, data: Any, place: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is types.UnionType:  # only `X | None` is used
        return None if data is None else _build(next(a for a in arguments if a is not types.NoneType), data, place)
    if origin is tuple:
        _check(isinstance(data, list), place, "a list", data)
        kinds = [arguments[0]] * len(data) if arguments[-1] is ... else arguments
        _check(len(kinds) == len(data), place, f"{len(kinds)} values", data)
        return tuple(_build(k, item, f"{place}[{i}]") for i, (k, item) in enumerate(zip(kinds, data, strict=True)))
    if origin is not None and issubclass(origin, Mapping):
        _check(isinstance(data, dict), place, "an object", data)
        return {_build(str, key, place): _build(arguments[1], item, f"{place}.{key}") for key, item in data.items()}
    if is_dataclass(kind) and isinstance(kind, type):
        return _build_dataclass(kind, data, place)
    if issubclass(kind, Enum):
        return kind(data)
    if kind is timedelta:
        _check(isinstance(data, int | float), place, "seconds", data)
        _check(abs(data) <= _MOST_SECONDS, place, f"at most {_MOST_SECONDS:,} seconds", data)
        return timedelta(seconds=data)
    if kind is datetime:
        _check(isinstance(data, str), place, "a time", data)
        return _time(data, place)
    return _build_plain(kind, data, place)


def _time(text: str, place: str) -> datetime:
    time = datetime.fromisoformat(text)
    _check(time.tzinfo is not None, place, "a time with its offset from UTC", text)
    try:
        return time.astimezone(UTC)
    except OverflowError:  # within a day of the first or last year that there is
        raise ValueError(f"{place} must be a time of the years 1 to 9999 in UTC; it is {text[:80]!r}") from None


def _build_plain(kind: type, data: Any, place: str) -> Any:
    if isinstance(data, int):
        _check(-(2**63) <= data < 2**63, place, "a number of 64 bits", data)
    if kind is float and type(data) is int:
        return float(data)
    _check(type(data) is kind, place, f"of type {kind.__name__}", data)
    if kind is float:
        _check(isfinite(data), place, "finite", data)
    if kind is str:
        _check(not _NO_TEXT.search(data), place, "text", data)
    return data


def _build_dataclass(kind: type, data: Any, place: str) -> Any:
    _check(isinstance(data, dict), place, "an object", data)
    hints = _hints(kind)
    unknown = sorted(data.keys() - hints.keys())
    _check(not unknown, place, f"without unknown keys such as {[name[:80] for name in unknown[:_SHOWN_KEYS]]}", data)
    for f in fields(kind):
        optional = f.default is not MISSING or f.default_factory is not MISSING or type(None) in get_args(hints[f.name])
        _check(optional or f.name in data, f"{place}.{f.name}", "present", None)
    values = {name: _build(hints[name], item, f"{place}.{name}") for name, item in data.items()}
    missing = {f.name: None for f in fields(kind) if f.name not in values and f.default is MISSING and f.default_factory is MISSING}
    return kind(**values, **missing)


def _check(holds: bool, place: str, expected: str, data: object) -> None:
    if not holds:
        raise ValueError(f"{place} must be {expected}; it is {str(data)[:80]!r}")
