"""Objects by key: the little that Eyas needs of a disk, or of an object store.

Two promises carry everything above: an object is seen whole or not at all, and `create` has exactly one winner. A disk has both
(link and rename), and so has an object store (conditional PUT).
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final, Protocol

ABSENT: Final = ()


class Store(Protocol):
    """Objects by key. A key is `/`-separated parts, each safe as the name of a file."""

    def read(self, key: str) -> bytes:
        """Returns the object. Raises FileNotFoundError where there is none, StorageFailed where it cannot be read."""
        ...

    def exists(self, key: str) -> bool:
        """Returns whether there is such an object."""
        ...

    def children(self, prefix: str) -> list[str]:
        """Returns the next part of every key below `prefix`, sorted; empty where there is none."""
        ...

    def stamp(self, prefix: str) -> Hashable | None:
        """Returns what changes whenever the answer of `children` does; ABSENT where that is empty; None where only it can tell."""
        ...

    def create(self, key: str, content: bytes) -> bool:
        """Writes the object if there is none of this key, and returns whether it did. Raises StorageFailed."""
        ...

    def write(self, key: str, content: bytes) -> None:
        """Writes the object, or replaces it. Raises StorageFailed."""
        ...

    def delete(self, key: str) -> None:
        """Removes the object, if there is one. Raises StorageFailed."""
        ...
