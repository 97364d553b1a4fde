"""What the device runs next, and when.

    put, put, cancel, ... -> cut(now) -> Cut(batch, expired, wait_seconds) -> run it -> ran(size, seconds)

`cut` is called when the device is free. Pure: no threads, no sockets, and the time is told by whoever calls, so the same code
runs in any loop, and in a test with a clock of its own. `serving.queue.turns` knows whose picture is next; here is how many are run
together.

- Expired and cancelled pictures never reach the device. Nor does one that would be answered too late, if another is there to
  run instead: a full device that spends its time on answers that come a moment too late gives none in time.
- A batch is not filled so far that it makes one of its pictures late, as long as that costs a full device no more than a tenth
  of its speed.
- A free device waits for a fuller batch only as long as that is likely to shorten the mean time to an answer. With n waiting,
  T(n) the time of a batch and g the mean gap between arrivals: waiting for one more costs each of the n + 1 pictures g and T(n
  + 1) - T(n), and spares the newcomer the rest of a batch without it and T(1); the sum is a gain where g < T(1) / (n + 1) -
  (T(n + 1) - T(n)). Where a batch takes as long as its pictures one by one (a CPU) that never is; after a silence neither, as g
  is long.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Final

from eyasd.serving.network.ladder import ladder
from eyasd.serving.queue.pace import BatchTimes, Gaps
from eyasd.serving.queue.turns import SHADOW, Earliest, Turns, Work, still_waits

# Of the pictures a second of a full batch: what a smaller one must reach for a full device to be given smaller ones.
_WORTHWHILE: Final = 0.9


@dataclass(frozen=True, slots=True)
class Options:
    """See `config.ServingSettings`.

    Attributes:
        max_batch_size: the most pictures of a batch.
        max_delay_seconds: most that a free device waits for a fuller batch.
        pads: whether the device runs a few sizes only, and pads a batch to the next of them.
    """

    max_batch_size: int
    max_delay_seconds: float = 0.0
    pads: bool = False


@dataclass(frozen=True, slots=True)
class Cut:
    """What to do now.

    Attributes:
        batch: pictures to run together; empty where it is better to wait.
        expired: pictures to give up: their deadline has passed, or will have when they could be answered.
        wait_seconds: how long to wait, at most, before the next cut, for which the next `put` is reason too; None where nothing
            waits, 0 with a batch.
    """

    batch: list[Work] = field(default_factory=list)
    expired: list[Work] = field(default_factory=list)
    wait_seconds: float | None = None


def batch_sizes(max_batch_size: int, *, pads: bool) -> list[int]:
    """Returns the sizes that a device runs: where it pads 1, 2, 4, ... and the largest, few enough to warm each; else every one."""
    return ladder(max_batch_size) if pads else list(range(1, max_batch_size + 1))


class Batcher:
    """The queue of one device."""

    def __init__(self, options: Options) -> None:
        self._sizes = batch_sizes(options.max_batch_size, pads=options.pads)
        self._max_delay_seconds = options.max_delay_seconds
        self._turns = Turns()
        self._deadlines: Earliest[Work] = Earliest(still_waits)
        self._numbers = itertools.count()
        self._times = BatchTimes()
        self._gaps = Gaps()
        self._delaying_since: float | None = None
        self._pace = 0.0

    @property
    def waiting(self) -> int:
        """Pictures that wait."""
        return self._turns.waiting

    @property
    def max_batch_size(self) -> int:
        """The most pictures of a batch."""
        return self._sizes[-1]

    @property
    def seconds_per_image(self) -> float:
        """What a picture takes when the device is busy; 0 before anything is known."""
        return self._pace

    def put(self, work: Work) -> None:
        """Adds a picture, once."""
        self._gaps.observe(work.arrival)
        self._deadlines.push(work.deadline, next(self._numbers), work)
        self._turns.put(work, self._pace)

    def cancel(self, work: Work) -> None:
        """Forgets a picture that nobody waits for any more; nothing happens if it was cut before."""
        if work.waiting:
            self._turns.drop(work, self._pace)

    def ran(self, size: int, seconds: float) -> None:
        """Learns how long a batch took.

        Args:
            size: its pictures, without what it was padded with.
            seconds: from the start of the run to its end.
        """
        self._times.observe(self._padded(size), seconds)
        self._learn()

    def lower(self, size: int) -> int:
        """Learns that a batch does not fit the device's memory: from now on, none is larger than half of what the device ran.

        Args:
            size: its pictures, without what it was padded with.

        Returns:
            The most pictures of a batch from now on; one at least.
        """
        half = self._padded(size) // 2
        self._sizes = [size for size in self._sizes if size <= half] or self._sizes[:1]
        self._learn()
        return self.max_batch_size

    def cut(self, now: float) -> Cut:
        """Returns what a free device does now."""
        self._turns.forget(now)
        expired = []
        while (entry := self._deadlines.first()) and entry[0] <= now:
            expired.append(entry[1])
            self._turns.drop(entry[1], self._pace)
        if not self.waiting:
            self._delaying_since = None
            return Cut(expired=expired)
        delay = self._delay(now)
        if delay > 0:
            return Cut(expired=expired, wait_seconds=delay)
        self._delaying_since = None
        batch, late = self._fill(now)
        return Cut(batch, expired + late, 0.0)

    def _fill(self, now: float) -> tuple[list[Work], list[Work]]:
        """Takes out a batch, of one picture at least, and what would come too late."""
        batch: list[Work] = []
        late: list[Work] = []
        least = self._least()
        soonest = now + self._seconds(least)
        tightest = float("inf")
        while len(batch) < self.max_batch_size:
            # Shadow traffic goes alone, or instead of padding.
            alone = not batch or batch[0].priority == SHADOW
            shadow = len(batch) < (least if alone else self._padded(len(batch)))
            work = self._turns.next(self._pace, shadow=shadow)
            if work is None:
                break
            if work.deadline < soonest:
                self._turns.drop(work, self._pace)
                late.append(work)
                continue
            tightest = min(tightest, work.deadline)
            if len(batch) >= least and now + self._seconds(len(batch) + 1) > tightest:
                break
            self._turns.take(work, self._pace)
            batch.append(work)
        # With nothing else to do, what looks too late is tried: the times may be wrong, and only a batch can put them right.
        return (batch, late) if batch else (late[:least], late[least:])

    def _least(self) -> int:
        """Returns the smallest batch that the device can afford: 1 while there are places left, else one that is quick enough."""
        if (self.waiting - self._turns.shadows or self.waiting) < self.max_batch_size:
            return 1
        return next(size for size in self._sizes if size * self._pace >= _WORTHWHILE * self._seconds(size))

    def _delay(self, now: float) -> float:
        """Returns how long a fuller batch is worth waiting for."""
        count = self.waiting
        if not self._max_delay_seconds or count >= self.max_batch_size:
            return 0.0
        if self._delaying_since is None:
            self._delaying_since = now
        with_one_more = self._seconds(count + 1)
        patience = self._seconds(1) / (count + 1) - (with_one_more - self._seconds(count))
        entry = self._deadlines.first()
        if self._gaps.seconds >= patience or entry is None:
            return 0.0
        # Room for the batch before this one to have been measured wrong by as much again.
        latest = entry[0] - 2 * with_one_more
        return min(self._gaps.last + patience, self._delaying_since + self._max_delay_seconds, latest) - now

    def _padded(self, size: int) -> int:
        return self._sizes[min(bisect_left(self._sizes, size), len(self._sizes) - 1)]

    def _learn(self) -> None:
        full = self._seconds(self.max_batch_size)
        self._pace = full / self.max_batch_size
        self._turns.lead(full)

    def _seconds(self, size: int) -> float:
        return self._times.seconds(self._padded(size))
