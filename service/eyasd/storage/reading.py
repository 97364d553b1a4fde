"""The port through which buckets are read: what lies under a prefix, and ranges of an object that nobody has changed since.

What may go better the next time is a `Hitch`, and `fetching` tries again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Object:
    """An object as it was listed.

    Attributes:
        key: in its bucket.
        size_bytes: of all of it.
        version: its ETag, which changes with its content; "" where the store has none, or it is known by its content.
        sha256: of its content, hexadecimal, where that was known before it was read; else "".
    """

    key: str
    size_bytes: int
    version: str
    sha256: str = ""


class Hitch(Exception):
    """It failed, and may not the next time; the first argument says how, for a person."""


class Changed(Exception):
    """The object is not the one that was listed any more."""


class Objects(Protocol):
    """A bucket that is read."""

    @property
    def url(self) -> str:
        """Of the bucket, such as `s3://photos`."""
        ...

    def look(self, key: str) -> Object:
        """Returns an object as it is now. Raises FileNotFoundError, Hitch, StorageFailed."""
        ...

    def find(self, prefix: str, after: str) -> Iterator[Object]:
        """Yields the objects in the folder that `prefix` names, "" is all, whose keys come after `after`. Raises as `look`."""
        ...

    def read(self, wanted: Object, start: int, end: int) -> Iterator[bytes]:
        """Yields the bytes from `start` up to `end`, not empty, in pieces. Raises as `look`, and Changed."""
        ...
