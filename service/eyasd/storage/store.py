"""Objects by key: the little that Eyas needs of a disk, or of an object store.

Two promises carry everything above: an object is seen whole or not at all, and `create` has exactly one winner. A disk has both
(link and rename), and so has an object store (conditional PUT).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

ABSENT: Final = ()
# A network in ONNX has no more, as protobuf has not.
MOST_READ_BYTES: Final = 1 << 31


class Sink(Protocol):
    """Where content goes, piece by piece: a file, or what only looks at it."""

    def write(self, content: bytes, /) -> object:
        """Takes the next piece."""
        ...


@dataclass(frozen=True, slots=True)
class Found:
    """An object, as a listing tells of it.

    Attributes:
        key: of the object.
        size_bytes: of its content.
        modified: when it was written, seconds since 1970, by the clock of whoever keeps it.
    """

    key: str
    size_bytes: int
    modified: float


class Store(Protocol):
    """Objects by key. A key is `/`-separated parts, each safe as the name of a file; one that begins with a dot is never listed.

    Every method raises StorageFailed where the store cannot be used.
    """

    def read(self, key: str) -> bytes:
        """Returns the object. Raises FileNotFoundError where there is none, StorageFailed beyond MOST_READ_BYTES."""
        ...

    def read_into(self, key: str, sink: Sink) -> None:
        """Writes the object to a sink, for those that are large. Raises FileNotFoundError, and what the sink raises."""
        ...

    def exists(self, key: str) -> bool:
        """Returns whether there is such an object."""
        ...

    def children(self, prefix: str) -> list[str]:
        """Returns the next part of every key below `prefix`, sorted; empty where there is none."""
        ...

    def having(self, prefix: str, name: str) -> list[str]:
        """Returns those of `children` directly below which there is an object of that name."""
        ...

    def keys(self, prefix: str) -> list[str]:
        """Returns every key below `prefix`, sorted; of the whole store for ""."""
        ...

    def stamp(self, prefix: str) -> Hashable | None:
        """Returns what changes whenever the answer of `children` does; ABSENT where that is empty; None where only it can tell."""
        ...

    def news(self) -> str | None:
        """Returns what changes whenever somebody calls `tell`; None where a stamp is as cheap, and nobody needs to."""
        ...

    def tell(self) -> None:
        """Lets those who ask for `news` look again. A change is told after it was made; who dies in between has told nobody."""
        ...

    def create(self, key: str, content: bytes) -> bool:
        """Writes the object if there is none of this key, and returns whether it did."""
        ...

    def write(self, key: str, content: bytes) -> None:
        """Writes the object, or replaces it."""
        ...

    def write_file(self, key: str, path: Path) -> None:
        """Writes what is in a file, or replaces the object with it, without holding it in memory. Raises OSError of the file."""
        ...

    def delete(self, key: str) -> None:
        """Removes the object, if there is one."""
        ...

    def sweep(self, older_than_seconds: float) -> int:
        """Removes what writers who were killed so long ago, or longer, have left half, and returns how much that was.

        Safe beside writers at work. Nothing of it was ever an object.
        """
        ...


class BlobStore(Store, Protocol):
    """A store whose objects may be too large for the memory, and too many for a list."""

    @property
    def address(self) -> str:
        """Where it is, for another process: the absolute path of a folder, or the address of a bucket."""
        ...

    def create_from(self, key: str, path: Path) -> bool:
        """Makes an object of a file if there is none of this key, and returns whether it did; holds it nowhere in memory.

        A key stands for one content: of two who make a large object at the same moment, a bucket tells both that they did. The
        file may share its bytes with the object afterwards, so it may only be removed.
        """
        ...

    def size(self, key: str) -> int | None:
        """Returns the bytes of the object; None where there is none."""
        ...

    def find(self, prefix: str) -> Iterator[Found]:
        """Yields every object below `prefix`, in no order; one that comes or goes meanwhile may be missed."""
        ...
