"""A store of which somebody is told when it fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, cast

from eyasd.core.errors import StorageFailed
from eyasd.storage.store import BlobStore, Found


def watched(store: BlobStore, on_failure: Callable[[str], None]) -> BlobStore:
    """Returns the store; its calls that raise StorageFailed are told of, by the name of the method, and raise as before."""
    return cast("BlobStore", _Watched(store, on_failure))


class _Watched:
    def __init__(self, store: BlobStore, on_failure: Callable[[str], None]) -> None:
        self._store = store
        self._on_failure = on_failure

    def find(self, prefix: str) -> Iterator[Found]:
        """See `BlobStore`; a listing may fail at any step."""
        try:
            yield from self._store.find(prefix)
        except StorageFailed:
            self._on_failure("find")
            raise

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if not callable(found):
            return found

        @wraps(found)
        def call(*arguments: Any, **named: Any) -> Any:
            try:
                return found(*arguments, **named)
            except StorageFailed:
                self._on_failure(name)
                raise

        setattr(self, name, call)  # found at once the next time
        return call
