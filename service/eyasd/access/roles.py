"""Roles, and for which models somebody has them: `classify:clothing*` is the role classify for every model named so."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple

EVERY_MODEL: Final = "*"
_PATTERN: Final = re.compile(r"[a-z0-9*._-]{1,64}", re.ASCII)


class Role(StrEnum):
    """What somebody may do; `admin` may do everything."""

    CLASSIFY = "classify"
    FEEDBACK = "feedback"
    TRAIN = "train"
    ADMIN = "admin"


class Grant(NamedTuple):
    """A role, and the models for which it is given.

    Attributes:
        role: see there.
        models: a name in which every `*` stands for any characters, or none.
    """

    role: Role
    models: str = EVERY_MODEL

    def __str__(self) -> str:
        """Returns it as it is written: `classify`, or `classify:clothing*`."""
        return self.role if self.models == EVERY_MODEL else f"{self.role}:{self.models}"

    def covers(self, model: str) -> bool:
        """Returns whether it is given for a model."""
        return self.models == EVERY_MODEL or matches(self.models, model)


ALL: Final = (Grant(Role.ADMIN),)


def parse_grants(text: str) -> tuple[Grant, ...]:
    """Returns the grants of `ROLE` or `ROLE:MODELS`, several with commas in between.

    Raises:
        ValueError: it is not that; the message says which part.
    """
    return tuple(dict.fromkeys(_grant(part.strip()) for part in text.split(",")))


def matches(pattern: str, text: str) -> bool:
    """Returns whether a text is what a pattern says, in which every `*` stands for any characters, or none."""
    return pattern == text or ("*" in pattern and _compiled(pattern).fullmatch(text) is not None)


def written(grants: Iterable[Grant]) -> str:
    """Returns the text that `parse_grants` reads."""
    return ",".join(map(str, grants))


def _grant(text: str) -> Grant:
    role, colon, models = text.partition(":")
    if role not in list(Role):
        raise ValueError(f"{text[:80]!r} is no role: write {', '.join(Role)}, or ROLE:MODELS such as classify:clothing*")
    if colon and not _PATTERN.fullmatch(models):
        raise ValueError(f"{text[:80]!r} does not name models: write ROLE:MODELS such as classify:clothing*")
    return Grant(Role(role), models or EVERY_MODEL)


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    # Several stars in a row would make the search exponential, and say no more than one.
    return re.compile(".*".join(map(re.escape, re.split(r"\*+", pattern))), re.DOTALL)
