"""What was read below a prefix, until something is added or removed there.

Servers look at every model's aliases and traffic twice a second. Where nothing has changed, a look costs one `stat` a folder, not a
listing, an opened file and its JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from eyasd.registry.store import Store

T = TypeVar("T")


class Remembered(Generic[T]):
    """Answers by prefix, each true for as long as the keys directly below stay the same. Safe to use from several threads."""

    def __init__(self, store: Store, read: Callable[[str], T]) -> None:
        """Remembers nothing yet; `read` finds the answer of a prefix."""
        self._store, self._read = store, read
        self._known: dict[str, tuple[Hashable, T]] = {}

    def get(self, prefix: str) -> T:
        """Returns the answer, read now or before."""
        stamp = self._store.stamp(prefix)  # before it is read: what changes meanwhile is read again next time
        known = self._known.get(prefix)
        if known is not None and stamp is not None and known[0] == stamp:
            return known[1]
        found = self._read(prefix)
        if stamp is not None:
            self._known[prefix] = (stamp, found)
        return found
