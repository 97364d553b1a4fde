"""The checkpoints of a job, which each of its pods goes on from and adds to; the newest two stay."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from eyasd.core import jobdir
from eyasd.pod import layout
from eyasd.storage.store import Store

_SECONDS: Final = 60.0
_KEPT: Final = 2


class Checkpoints:
    """Hands over the checkpoints that a program writes."""

    def __init__(
        self,
        store: Store,
        job: str,
        attempt: int,
        number: int,
        folder: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Does nothing yet.

        Args:
            store: where they are.
            job: whose they are.
            attempt: of this pod; one that is stale makes none that is newer.
            number: of this pod within the attempt.
            folder: JOB_DIR.
            clock: in seconds, which never jumps.
        """
        self._store, self._folder, self._clock = store, folder, clock
        self._prefix, self._name = layout.checkpoints(job), f"{attempt}-{number}"
        self._count = 0
        self._known = 0  # when the one that is there was written, in nanoseconds, if it is handed over
        self._next = clock() + _SECONDS

    def restore(self) -> None:
        """Brings the newest that is whole, if there is one, to where the program looks for it. Raises StorageFailed."""
        if layout.receive_newest(self._store, self._prefix, self._folder) is not None:
            self._known = self._path.stat().st_mtime_ns

    def look(self, *, now: bool = False) -> None:
        """Hands over one that is new, once a minute or now. Raises StorageFailed, OSError."""
        if not now and self._clock() < self._next:
            return
        self._next = self._clock() + _SECONDS
        with tempfile.TemporaryDirectory(dir=self._folder) as kept:
            copy = Path(kept) / jobdir.CHECKPOINT
            try:
                os.link(self._path, copy)  # the program may write another meanwhile, under the same name
            except FileNotFoundError:
                return
            if (written := copy.stat().st_mtime_ns) == self._known:
                return
            layout.send(self._store, f"{self._prefix}/{self._name}-{self._count + 1}", Path(kept), [copy])
        self._count += 1
        self._known = written
        for old in layout.newest(self._store, self._prefix)[_KEPT:]:
            layout.withdraw(self._store, old)

    @property
    def _path(self) -> Path:
        return self._folder / jobdir.CHECKPOINT
