"""What was read below a prefix, until something is added or removed there.

Servers look at every model's aliases and traffic twice a second. Where nothing has changed, a look costs one `stat` a folder, not a
listing, an opened file and its JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from eyasd.storage.store import ABSENT, Store

T = TypeVar("T")


class Remembered(Generic[T]):
    """Answers by prefix, each true for as long as the keys directly below stay the same. Safe to use from several threads."""

    def __init__(self, store: Store, read: Callable[[str], T], absent: T) -> None:
        """Remembers nothing yet.

        Args:
            store: that is read.
            read: finds the answer of a prefix.
            absent: the answer where there is nothing below a prefix, which is not remembered: anybody can make up names.
        """
        self._store, self._read, self._absent = store, read, absent
        self._known: dict[str, tuple[Hashable, T]] = {}

    def get(self, prefix: str) -> T:
        """Returns the answer, read now or before."""
        stamp = self._store.stamp(prefix)  # before it is read: what changes meanwhile is read again next time
        if stamp == ABSENT:
            self._known.pop(prefix, None)
            return self._absent
        known = self._known.get(prefix)
        if known is not None and stamp is not None and known[0] == stamp:
            return known[1]
        found = self._read(prefix)
        if stamp is not None:
            self._known[prefix] = (stamp, found)
        return found
