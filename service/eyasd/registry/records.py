"""Append-only histories of numbered records, each created if absent.

    PREFIX/00000001.json, 00000002.json, ...

The newest record is in force. Nothing is ever overwritten, so a history is complete, and of two writers who append at the same
moment one wins and the other is told.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Generic, TypeVar

from eyasd.core import document
from eyasd.core.errors import StorageFailed
from eyasd.registry.remembered import Remembered
from eyasd.storage.store import Store

T = TypeVar("T")


class Records(Generic[T]):
    """The histories of one kind of record in a store."""

    def __init__(self, store: Store, kind: type[T]) -> None:
        self._store, self._kind = store, kind
        self._newest = Remembered[T | None](store, self._read_newest, None)

    def newest(self, prefix: str) -> T | None:
        """Returns the record in force; None where there is none."""
        return self._newest.get(prefix)

    def all(self, prefix: str) -> list[T]:
        """Returns every record, oldest first."""
        return [self.read(f"{prefix}/{name}") for name in self._store.children(prefix)]

    def append(self, prefix: str, number: int, record: T) -> bool:
        """Writes the record of a number, from 1, and returns whether it did; not where somebody else was quicker."""
        created = self._store.create(f"{prefix}/{number:08d}.json", document.dump(record).encode())
        if created:
            with suppress(StorageFailed):  # the record is there all the same, and is found a little later
                self._store.tell()
        return created

    def read(self, key: str) -> T:
        """Returns the record of a key. Raises StorageFailed where it is damaged."""
        try:
            return document.load(self._kind, self._store.read(key))
        except ValueError as error:
            raise StorageFailed(f"The record {key} is damaged ({error}): restore it from a copy.") from error

    def _read_newest(self, prefix: str) -> T | None:
        names = self._store.children(prefix)
        return self.read(f"{prefix}/{names[-1]}") if names else None
