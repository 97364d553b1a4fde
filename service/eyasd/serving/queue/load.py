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

    def observe(self, size: int, seconds: float) -> float:
        """Learns how long a batch took, and returns the seconds of one picture."""
        self._largest = max(self._largest, size)
        weight = self._weight = _KEPT * self._weight + 1
        sizes = self._size = _KEPT * self._size + size
        times = self._seconds = _KEPT * self._seconds + seconds
        squares = self._squares = _KEPT * self._squares + size * size
        products = self._products = _KEPT * self._products + size * seconds
        spread = weight * squares - sizes * sizes
        mean = times / sizes
        slope = mean
        if spread > 0.01 * weight * weight:
            slope = min(max((weight * products - sizes * times) / spread, 0.0), mean)
        return (times + slope * (self._largest * weight - sizes)) / (weight * self._largest)


class Load:
    """The load of one resource. One thread tells it what happens, any may look.

    Attributes:
        capacity: parts of it that work at the same time.
        pace: seconds that a part needs for a picture.
        demanded: seconds of work that came and is done, was turned away, or was given up; who tells adds to it.
        offered: seconds in which its parts could work.
    """

    def __init__(self, capacity: float, now: float) -> None:
        self.capacity = capacity
        self.pace = self.demanded = self.offered = 0.0
        # Pictures times seconds so far, pictures now, and since when: one value, so that nobody sees a half of a change.
        self._queue = (0.0, 0, now)
        self._looked = now
        self._known = (0.0, 0.0)
        self._rate = self._waiting = self._weight = 0.0
        self._lock = Lock()  # between those who look

    def wait(self, images: int, now: float) -> None:
        """Says how many pictures more wait from now on, or fewer where it is negative, those under way included."""
        area, before, since = self._queue
        self._queue = (area + before * (now - since), before + images, now)

    def waited(self, now: float) -> float:
        """Returns for how long pictures have waited so far, each second of each added up."""
        area, images, since = self._queue
        return area + images * (now - since)

    def look(self, now: float, waited: float | None = None) -> float:
        """Returns the load; `waited` is of pictures that wait for several resources, and whose number another one knows."""
        with self._lock:
            span = now - self._looked
            if span > 0:
                demanded, area = self.demanded, self.waited(now) if waited is None else waited
                weight = 1 - math.exp(-span / SPAN)
                self._weight += weight * (1 - self._weight)
                self._rate += weight * ((demanded - self._known[0]) / span - self._rate)
                self._waiting += weight * (max(0.0, area - self._known[1]) / span - self._waiting)
                self._known, self._looked = (demanded, area), now
                self.offered += self.capacity * span
            # Of a resource that is younger than that, the mean of its life.
            load = self._rate + self._waiting * self.pace / SPAN
            return load / self._weight / self.capacity if self._weight else 0.0
