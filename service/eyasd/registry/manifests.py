"""Manifests that were read. They never change, and a server asks for the same few again and again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from eyasd.core.bundle import Manifest

_MOST: Final = 64
# Of their files: in memory it is about three times that. One of a thousand labels has a confusion matrix of a million numbers.
_MOST_BYTES: Final = 16_000_000


class Manifests:
    """Remembers some manifests, those that were asked for last. Safe to use from several threads."""

    def __init__(self, read: Callable[[str, int], tuple[Manifest, int]]) -> None:
        """Remembers nothing yet.

        Args:
            read: returns the manifest of a model and version, and the bytes of its file; may raise, which is not remembered.
        """
        self._read = read
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, int], tuple[Manifest, int]] = OrderedDict()
        self._bytes = 0

    def get(self, model: str, version: int) -> Manifest:
        """Returns the manifest of a version, read now or before; raises what reading it does."""
        which = model, version
        with self._lock:
            if which in self._known:
                self._known.move_to_end(which)
                return self._known[which][0]
        manifest, size = self._read(model, version)
        with self._lock:
            if which not in self._known:
                self._known[which] = manifest, size
                self._bytes += size
            while len(self._known) > _MOST or self._bytes > _MOST_BYTES:
                self._bytes -= self._known.popitem(last=False)[1][1]
        return manifest

    def clear(self) -> None:
        """Reads all of them again when they are asked for."""
        with self._lock:
            self._known.clear()
            self._bytes = 0
