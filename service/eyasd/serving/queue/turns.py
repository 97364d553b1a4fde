"""Whose picture is next: priorities, then deadlines, within what each caller may take.

Earliest deadline first keeps every deadline where all can be kept; but where not all can, whoever sends most gets most. So a
caller has a share: 1/C of the device, where C callers wait. A picture counts as due one batch before its deadline, by when the
last batch that helps it begins, but no earlier than its caller's share alone would have got to it; and the earliest due is next.
This is the Total Bandwidth Server (Spuri and Buttazzo, Scheduling Aperiodic Tasks in Dynamic Priority Systems, Real-Time Systems
10(2), 1996), one for each caller. Hence the promise: pictures that fit into their caller's share until their deadlines are in
time, whatever others send, but for the length of the batches that are cut before theirs. While everybody's pictures fit, the
order is that of the deadlines alone; only a caller that is over its share may lose a deadline that could have been kept.

A higher priority goes first, but of 17 pictures that are taken while a lower one waits, one is the lower one's: it is slowed,
never starved. Shadow traffic has no such place, as it must not delay anybody: it goes when nothing else waits, or in place of
padding.

Knows times and names; nothing of arrays, batches or devices.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from eyasd.serving.question import Priority

SHADOW: Final = Priority.LOW + 1
# How many pictures may pass one of a lower priority: so it has 1/17 of the device where it needs it, and costs the higher ones 6 %.
PASSED: Final = 16

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Work:
    """One picture that waits for the network. Times are on the clock of `time.monotonic`.

    Attributes:
        key: what it is to whoever put it, such as the index of a slot.
        arrival: when it began to wait.
        deadline: the answer is of no use after it.
        priority: a `Priority`, or SHADOW; less is sooner.
        caller: who shares with others.
        explain: whether the answer is to hold the feature map.
        waiting: the queue's own mark.
    """

    key: Any
    arrival: float
    deadline: float
    priority: int = Priority.NORMAL
    caller: Hashable = ""
    explain: bool = False
    waiting: bool = field(default=False, init=False)


class Earliest(Generic[T]):
    """A heap in which what no longer counts stays until it comes up or is half of the heap: O(log n) an operation, amortised."""

    def __init__(self, counts: Callable[[int, T], bool]) -> None:
        """Starts empty.

        Args:
            counts: of an entry's number and item, whether it still counts.
        """
        self._counts = counts
        self._entries: list[tuple[float, int, T]] = []
        self._limit = 16

    def push(self, time: float, number: int, item: T) -> None:
        """Adds an entry; of equal times the lower number is earlier, and no number may occur twice."""
        if len(self._entries) >= self._limit:
            self._entries = [entry for entry in self._entries if self._counts(entry[1], entry[2])]
            heapq.heapify(self._entries)
            self._limit = 2 * len(self._entries) + 16
        heapq.heappush(self._entries, (time, number, item))

    def first(self) -> tuple[float, T] | None:
        """Returns the earliest time and its item, which stay; None where nothing counts."""
        while self._entries:
            time, number, item = self._entries[0]
            if self._counts(number, item):
                return time, item
            heapq.heappop(self._entries)
        return None


def still_waits(_: int, work: Work) -> bool:
    """Returns whether a picture counts, for an `Earliest`."""
    return work.waiting


class _Caller:
    """The pictures of one caller in one priority."""

    __slots__ = ("head", "name", "pictures", "place", "used", "waiting")

    def __init__(self, name: Hashable) -> None:
        self.name = name
        self.pictures = Earliest(still_waits)
        self.waiting = 0
        self.used = float("-inf")  # when its share alone would have come as far as it is
        self.head: Work | None = None  # the picture that its entry stands for
        self.place = -1  # the number of its entry in the order, or among those that left


def _in_its_place(number: int, caller: _Caller) -> bool:
    return number == caller.place


class _Level:
    """One priority."""

    def __init__(self) -> None:
        self.lead = 0.0  # of what is due over its deadline
        self.waiting = 0
        self.passed = 0  # pictures of higher priority that were taken since the last of this one
        self._active = 0  # callers with pictures that wait
        self._callers: dict[Hashable, _Caller] = {}
        self._order: Earliest[_Caller] = Earliest(_in_its_place)
        self._left: Earliest[_Caller] = Earliest(_in_its_place)  # nothing of theirs waits, but what they have used still counts
        self._numbers = itertools.count()

    def put(self, work: Work, seconds: float) -> None:
        caller = self._callers.get(work.caller)
        if caller is None:
            caller = self._callers[work.caller] = _Caller(work.caller)
        caller.pictures.push(work.deadline, next(self._numbers), work)
        self.waiting += 1
        self._active += not caller.waiting
        caller.waiting += 1
        if caller.head is None or not caller.head.waiting or work.deadline < caller.head.deadline:
            self._place(caller, seconds)

    def next(self, seconds: float) -> Work | None:
        """Returns the picture that is next, which stays."""
        while entry := self._order.first():
            _, caller = entry
            if caller.head is not None and caller.head.waiting:
                return caller.head
            self._place(caller, seconds)
        return None

    def drop(self, work: Work, seconds: float) -> None:
        """Lets go of a picture that waits."""
        work.waiting = False
        self.waiting -= 1
        caller = self._callers[work.caller]
        caller.waiting -= 1
        self._active -= not caller.waiting
        if not caller.waiting or caller.head is work:
            self._place(caller, seconds)

    def take(self, work: Work, seconds: float) -> None:
        """Lets go of a picture that will be run: its caller has used that much more."""
        caller = self._callers[work.caller]
        caller.used = self._due(caller, work, seconds)
        self.passed = 0
        self.drop(work, seconds)

    def forget(self, now: float) -> None:
        """Forgets callers of which nothing waits and nothing counts any more."""
        while (entry := self._left.first()) and entry[0] <= now:
            entry[1].place = -1
            del self._callers[entry[1].name]

    def _due(self, caller: _Caller, work: Work, seconds: float) -> float:
        """Returns when the caller's share alone would have got to a picture."""
        return max(caller.used, work.arrival) + self._active * seconds

    def _place(self, caller: _Caller, seconds: float) -> None:
        """Gives a caller its place: by what is due of it, or among those that left."""
        caller.place = next(self._numbers)
        first = caller.pictures.first()
        if first is None:
            caller.head = None
            self._left.push(caller.used, caller.place, caller)
        else:
            deadline, caller.head = first
            self._order.push(max(deadline - self.lead, self._due(caller, caller.head, seconds)), caller.place, caller)


class Turns:
    """All that waits, in the order in which it is to be run."""

    def __init__(self) -> None:
        self._levels = [_Level() for _ in range(SHADOW + 1)]
        self._shadow = self._levels[SHADOW]

    @property
    def waiting(self) -> int:
        """Pictures that wait."""
        return sum(level.waiting for level in self._levels)

    @property
    def shadows(self) -> int:
        """Pictures of shadow traffic among them."""
        return self._shadow.waiting

    def lead(self, seconds: float) -> None:
        """Learns how long a batch takes, and so how long before its deadline a picture is due."""
        for level in self._levels:
            level.lead = seconds

    def put(self, work: Work, seconds: float) -> None:
        """Adds a picture.

        Args:
            work: waits from now on.
            seconds: that a picture takes on the busy device, here and below.
        """
        work.waiting = True
        self._levels[work.priority].put(work, seconds)

    def drop(self, work: Work, seconds: float) -> None:
        """Lets go of a picture that waits and will not be run."""
        self._levels[work.priority].drop(work, seconds)

    def next(self, seconds: float, *, shadow: bool) -> Work | None:
        """Returns the picture that is next, which stays; None where none waits, or only shadow traffic, and that is not let in."""
        level = next((level for level in self._levels[1:SHADOW] if level.waiting and level.passed >= PASSED), None)
        level = level or next((level for level in self._levels[:SHADOW] if level.waiting), self._shadow if shadow else None)
        return level.next(seconds) if level else None

    def take(self, work: Work, seconds: float) -> None:
        """Takes out the picture that is next."""
        self._levels[work.priority].take(work, seconds)
        for level in self._levels[work.priority + 1 : SHADOW]:
            level.passed = level.passed + 1 if level.waiting else 0

    def forget(self, now: float) -> None:
        """Forgets what no longer matters. To be called once in a while."""
        for level in self._levels:
            level.forget(now)
