"""Files of versions, kept in a folder beside servers, so that what one has fetched from a bucket the next finds there.

Whatever becomes of the folder, a version is loaded: what it lacks, or cannot give, comes from the repository. It is written while
the server goes on, so a slow disk delays nobody. Knows files by the SHA-256 that the manifest has of them, which is what
makes a kept one as good as one that was fetched; manifests themselves always come from the repository.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from eyasd.core.errors import StorageFailed
from eyasd.registry.models import Models
from eyasd.storage.contents import Contents, Damaged

# In memory, until they are written; beyond them a file is not kept, and is fetched again by whoever needs it next.
_MOST_WAITING_BYTES: Final = 256_000_000


class ModelCache:
    """The models of a registry, with files that may be kept. Safe to use from several threads."""

    def __init__(
        self, models: Models, contents: Contents, on_result: Callable[[str], None], on_failure: Callable[[str], None]
    ) -> None:
        """Reads nothing yet.

        Args:
            models: of the registry.
            contents: keeps files.
            on_result: told of each file `hit`, `miss`, or `damaged`, and `failed` whenever the folder could not be used.
            on_failure: told why, once until it can be used again.
        """
        self._models, self._contents = models, contents
        self._on_result, self._on_failure = on_result, on_failure
        self.manifest = models.manifest
        self._lock = threading.Lock()
        self._waiting: dict[str, bytes] = {}
        self._is_writing = self._has_failed = False

    def fetch(self, model: str, version: int, name: str) -> bytes:
        """See `Models.fetch`."""
        digest = self.manifest(model, version).files.get(name)
        if digest is None:
            return self._models.fetch(model, version, name)  # which says what is wrong
        content = self._find(digest)
        if content is None:
            content = self._models.fetch(model, version, name)
            self._keep_soon(digest, content)
        return content

    def _find(self, digest: str) -> bytes | None:
        with self._lock:
            content = self._waiting.get(digest)
        try:
            content = content or self._contents.find(digest)
            self._on_result("miss" if content is None else "hit")
        except Damaged:
            self._on_result("damaged")
        except StorageFailed as error:
            self._fail(error)
        return content

    def _keep_soon(self, digest: str, content: bytes) -> None:
        with self._lock:
            waiting = sum(map(len, self._waiting.values()))
            if self._waiting and waiting + len(content) > _MOST_WAITING_BYTES:
                return
            self._waiting[digest] = content
            if self._is_writing:
                return
            self._is_writing = True
        try:
            # Nobody waits for it in the end: what is cut short is swept up by another.
            threading.Thread(target=self._write, name="model-cache", daemon=True).start()
        except RuntimeError as error:  # a container may have so many threads and no more
            with self._lock:
                self._waiting.clear()
                self._is_writing = False
            self._fail(StorageFailed(f"No thread can be started to write files: {error}."))

    def _write(self) -> None:
        """Writes what waits, and ends."""
        while True:
            with self._lock:
                if not self._waiting:
                    self._is_writing = False
                    return
                digest, content = next(iter(self._waiting.items()))
            try:
                self._contents.keep(digest, content)
                self._has_failed = False
            except StorageFailed as error:
                self._fail(error)
            finally:
                with self._lock:
                    del self._waiting[digest]

    def _fail(self, error: StorageFailed) -> None:
        self._on_result("failed")
        if not self._has_failed:
            self._has_failed = True
            self._on_failure(error.message)
