"""Time for tests with a limit that must hold on a busy machine, too."""

from __future__ import annotations

import time


class Spent:
    """How much time has gone by: the machine's, or what this process had of it where other programs had most.

    For tests that keep the process busy; one that only waits spends nothing.
    """

    def __init__(self) -> None:
        self._began = time.monotonic(), time.process_time()

    @property
    def seconds(self) -> float:
        """Seconds since it was made."""
        machine, process = self._began
        return min(time.monotonic() - machine, time.process_time() - process)
