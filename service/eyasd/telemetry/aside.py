"""Measurements that may take long or never return - a driver, a disk on a network - and must not keep a page from being shown."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

_FRESH_SECONDS: Final = 1.0  # two who scrape at the same moment need not both ask
_PATIENCE_SECONDS: Final = 0.5
_STALE_SECONDS: Final = 60.0


class Aside:
    """One measurement, to be called before each look at what it sets."""

    def __init__(
        self,
        measure: Callable[[], None],
        forget: Callable[[], None],
        *,
        patience_seconds: float = _PATIENCE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Measures nothing yet.

        Args:
            measure: sets some metrics, in a thread of its own; may raise, or hang.
            forget: removes them, when they have not been measured for a minute.
            patience_seconds: how long a page waits for it.
            clock: seconds since whenever.
        """
        self._measure = measure
        self._forget = forget
        self._patience_seconds = patience_seconds
        self._clock = clock
        self._measured = float("-inf")
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def __call__(self) -> None:
        """Measures, unless that was just done, or is being done still."""
        with self._lock:
            if self._clock() - self._measured < _FRESH_SECONDS:
                return
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="metrics aside", daemon=True)
                self._thread.start()
            self._thread.join(self._patience_seconds)
            if self._clock() - self._measured > _STALE_SECONDS:
                self._forget()

    def _run(self) -> None:
        try:
            self._measure()
        except Exception:  # noqa: BLE001 - what cannot be measured is not shown, and that is all
            return
        self._measured = self._clock()
