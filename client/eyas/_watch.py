"""From where a watch that has broken off goes on."""

from __future__ import annotations

import time
from collections.abc import Callable

from eyas._patience import Patience
from eyas._types import JobEvent


class Watch(Patience):
    """One watch of a job, over as many streams as it takes.

    Attributes:
        sequence: number of the first update that has not been seen.
    """

    def __init__(self, from_sequence: int, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock)
        self.sequence = max(1, from_sequence)

    def receive(self, event: JobEvent) -> None:
        """An update has come."""
        self.sequence = event.sequence + 1
        self.hear()
