"""How much work comes to a resource, as a multiple of what it can do: 0 is idle, 1 is at capacity, 2 is twice too much.

    load = (done + turned away + waiting) / (capacity * SPAN), of the last SPAN seconds

each in seconds of the resource's work. Below capacity all that comes is done, so the load is how busy the resource is - but by the
pace of a full batch, as a GPU that runs single pictures without a pause has room for many more. Beyond capacity what is done stays
the same, and the rest waits or is refused: so the load goes on growing with what comes, and the replicas that a target needs are
replicas * load / target at once, not only after the next step. A queue of W seconds, the wait of whoever comes next, adds W / SPAN.

Sums and areas are kept from event to event, so a look at them tells of all the time since the last one, not of its moment; several
who look, each as often as he likes, see the same. Knows numbers only.
"""

from __future__ import annotations

import math
from threading import Lock
from typing import Final

# The time constant of the mean, and how long a queue is reckoned as load of 1: as often as Kubernetes' autoscaler looks by default
# (`--horizontal-pod-autoscaler-sync-period`).
SPAN: Final = 15.0


# Weight that a batch keeps when the next one is known: about a hundred count.
_KEPT: Final = 0.99


class FullPace:
    """What a picture takes an engine in the largest batch there was: on the straight line that fits the last hundred batches best.

    One batch is measured 20 % too long or too short on a busy machine, and full ones are rare while there is little to do. A GPU
    that has not run a full one yet looks fuller than it is, but never full: before it is, batches grow.
    """

    def __init__(self) -> None:
        self._largest = 0
        self._weight = self._size = self._seconds = self._squares = self._products = 0.0

    def observe(self, size: int, seconds: float) -> None:
        """Learns how long a batch took."""
        self._largest = max(self._largest, size)
        self._weight = _KEPT * self._weight + 1
        self._size = _KEPT * self._size + size
        self._seconds = _KEPT * self._seconds + seconds
        self._squares = _KEPT * self._squares + size * size
        self._products = _KEPT * self._products + size * seconds

    @property
    def seconds(self) -> float:
        """Of one picture; 0 before the first batch."""
        if not self._largest:
            return 0.0
        size, seconds = self._size / self._weight, self._seconds / self._weight
        spread = self._squares / self._weight - size * size
        slope = (self._products / self._weight - size * seconds) / spread if spread > 0.01 else seconds / size
        return (seconds + min(max(slope, 0.0), seconds / size) * (self._largest - size)) / self._largest


class Load:
    """The load of one resource. Safe to use from several threads.

    Attributes:
        capacity: parts of it that work at the same time.
        demanded: seconds of work that came and is done, was turned away, or was given up.
        offered: seconds in which its parts could work.
    """

    def __init__(self, capacity: float, now: float) -> None:
        self.capacity = capacity
        self.demanded = self.offered = 0.0
        self._waiting = self._area = 0.0
        self._changed = self._looked = now
        self._known = (0.0, 0.0)
        self._rate = self._queue = self._weight = 0.0
        self._lock = Lock()

    def add(self, seconds: float) -> None:
        """Counts work that was done, or turned away."""
        with self._lock:
            self.demanded += seconds

    def wait(self, seconds: float, now: float) -> None:
        """Says how much work waits, or is under way, from now on."""
        with self._lock:
            self._area += self._waiting * (now - self._changed)
            self._waiting, self._changed = seconds, now

    def look(self, now: float) -> float:
        """Returns the load."""
        with self._lock:
            span = now - self._looked
            if span > 0:
                area = self._area + self._waiting * (now - self._changed)
                weight = 1 - math.exp(-span / SPAN)
                self._weight += weight * (1 - self._weight)
                self._rate += weight * ((self.demanded - self._known[0]) / span - self._rate)
                self._queue += weight * ((area - self._known[1]) / span - self._queue)
                self._known, self._looked = (self.demanded, area), now
                self.offered += self.capacity * span
            # Of a resource that is younger than that, the mean of its life.
            return (self._rate + self._queue / SPAN) / self._weight / self.capacity if self._weight else 0.0
