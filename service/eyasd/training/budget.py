"""How much of a job's time is left."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf
from time import monotonic
from typing import Final

from eyasd.core.variants import Precision

# From here on the time is counted by a clock that never jumps; a deadline is of one that may.
_BEGUN: Final = datetime.now(UTC), monotonic()


@dataclass(frozen=True, slots=True)
class Budget:
    """The time until a deadline.

    Attributes:
        deadline: None is no end.
        variants: that are to be made before it, once the training is over.
    """

    deadline: datetime | None = None
    variants: tuple[Precision, ...] = ()

    def left_seconds(self) -> float:
        """Returns the seconds until the deadline, negative after it."""
        if self.deadline is None:
            return inf
        then, since = _BEGUN
        return (self.deadline - then).total_seconds() - (monotonic() - since)
