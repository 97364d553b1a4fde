"""Whose message may come: a place for each that is on its way, and who waits for one, or has to give his up.

    ask -> there is room: take          -> left, once it is whole
        -> else in its turn, by caller  -> take

Nobody knows how large a message is before it is whole, so each place stands for the largest. A caller who has no place gets one
before those who have some, and at the expense of who has most. Knows no gRPC; what is to come, and how it ends, its `Arrival` says.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import ExitStack, asynccontextmanager
from datetime import timedelta
from enum import Enum
from typing import Final, NamedTuple, Protocol, TypeVar

from eyasd.core.errors import MessageLate, Overloaded

T = TypeVar("T")
_MOST_WAITING: Final = 1_000  # of one caller
# Who looks because somebody waits does so for all who begin to within this time.
_SOON_SECONDS: Final = 0.02
_REMEMBERED_SECONDS: Final = 60.0
_STRUCK_PATIENCE_SECONDS: Final = 0.2  # with who was given up before
_RETRY: Final = timedelta(seconds=1)

Refused = MessageLate | Overloaded


class Turn(Enum):
    """When something comes: at once, when it has a place, or not at all, as too many wait."""

    NOW, LATER, NEVER = range(3)


class Arrival(Protocol):
    """Something that is to come."""

    @property
    def key(self) -> Hashable:
        """Whose it is."""

    def take(self) -> None:
        """Lets it come; may be called in any thread."""

    def expel(self, error: Refused, seconds: float) -> None:
        """Gives it up, so many seconds after it was asked for; is called in the event loop."""


class Patience(NamedTuple):
    """How long a place is kept at least where somebody wants it who has fewer.

    Attributes:
        with_more: by who has two more than he.
        with_one: by who has one more.
    """

    with_more: float
    with_one: float


# Pictures take their time over slow lines.
PATIENT: Final = Patience(1.0, 5.0)


class Arrivals:
    """The places. Belongs to one event loop, but for `ask` and `left`.

    A quarter of them is only for callers who have none. Of those who wait, who has least comes first, and what he sent within the
    last minute counts for or against him: whether a message of his came whole, and how many were given up.
    """

    def __init__(self, most: int, seconds: float, patience: Patience = PATIENT, now: Callable[[], float] = time.monotonic) -> None:
        """Makes them, all free.

        Args:
            most: how many there are.
            seconds: how long one may take to come whole, or wait for its place.
            patience: with who is slow while others wait.
            now: seconds.
        """
        self._most, self._seconds, self._patience, self._now = most, seconds, patience, now
        self._reserve = most // 4
        self._held: dict[Arrival, float] = {}  # since when, the first of them first
        self._counts: Counter[Hashable] = Counter()  # of those held, by whose they are
        self._leaving: set[Arrival] = set()  # of those held; what came of them is there until they have left
        self._waiting: dict[Hashable, deque[tuple[Arrival, float]]] = {}  # by whose they are, the first of them first
        self._strikes: dict[Hashable, tuple[int, float]] = {}  # how many were given up of somebody, and the last of them when
        self._proven: dict[Hashable, float] = {}  # of whom one came whole, and when it was taken
        self._lock = threading.Lock()
        self._soon = False

    @property
    def counts(self) -> tuple[int, int]:
        """How many come, and how many wait."""
        return len(self._held), sum(map(len, self._waiting.values()))

    def ask(self, one: Arrival) -> Turn:
        """Lets something come, at once or in its turn; may be called in any thread. Where that is later, `look_soon` is due."""
        key, now = one.key, self._now()
        with self._lock:
            at_once = not self._waiting and self._has_room(key)
            if at_once:
                self._held[one] = now
                self._counts[key] += 1
            else:
                waiting = self._waiting.setdefault(key, deque())
                if len(waiting) >= _MOST_WAITING:
                    return Turn.NEVER
                waiting.append((one, now))
                granted = self._grant(now)
        if at_once:
            one.take()
            return Turn.NOW
        for each in granted:
            each.take()
        return Turn.NOW if one in granted else Turn.LATER

    def left(self, one: Arrival, *, whole: bool) -> None:
        """Notes that something is whole, or comes no more; may be called in any thread, and again."""
        key = one.key
        with self._lock:
            since = self._held.pop(one, None)
            if since is None:
                self._forget(one)
            else:
                self._leaving.discard(one)
                self._counts[key] -= 1
                if not self._counts[key]:
                    del self._counts[key]
                if whole:
                    self._proven[key] = since
            if not self._waiting:
                return
            granted = self._grant(self._now())
        for each in granted:
            each.take()

    def gave_up(self, one: Arrival) -> None:
        """Notes that nobody wants something any more; if it comes already, its place is free when it has `left`."""
        with self._lock:
            self._forget(one)

    def look(self) -> None:
        """Gives up what is too late, and what has to make room."""
        now = self._now()
        expelled: list[tuple[Arrival, Refused, float]] = []
        with self._lock:
            self._strikes = {key: struck for key, struck in self._strikes.items() if now - struck[1] < _REMEMBERED_SECONDS}
            self._proven = {key: since for key, since in self._proven.items() if now - since < _REMEMBERED_SECONDS}
            for one, since in self._held.items():
                if now - since < self._seconds:
                    break
                if one not in self._leaving:
                    self._strike(one, now)
                    expelled.append((one, _late(self._seconds), now - since))
            for one, since in [each for waiting in self._waiting.values() for each in waiting if now - each[1] >= self._seconds]:
                self._forget(one)
                expelled.append((one, crowded(), now - since))
            expelled += [(one, crowded(), now - self._held[one]) for one in self._victims(now)]
        for one, error, seconds in expelled:
            one.expel(error, seconds)

    def look_soon(self) -> None:
        """Looks in a moment, once for all who begin to wait until then."""
        if not self._soon:
            self._soon = True
            asyncio.get_running_loop().call_later(_SOON_SECONDS, self._look_now)

    @asynccontextmanager
    async def place(self, key: Hashable) -> AsyncIterator[None]:
        """Waits for a place, and has it while the block reads.

        Args:
            key: whose it is.

        Raises:
            MessageLate: the block took too long.
            Overloaded: there was no place for so long, or too many wait, or another caller needed it.
        """
        async with asyncio.timeout(None) as scope:
            body = _Body(key, scope)
            match self.ask(body):
                case Turn.LATER:
                    self.look_soon()
                case Turn.NEVER:
                    raise crowded()
            whole = False
            try:
                await body.taken
                yield
                whole = True
            except asyncio.CancelledError:
                if body.error is not None:
                    raise body.error from None
                raise
            finally:
                self.left(body, whole=whole)

    async def within(self, coming: Awaitable[T]) -> T:
        """Returns what comes without a place.

        Raises:
            MessageLate: it took longer than what has one may take.
        """
        try:
            async with asyncio.timeout(self._seconds):
                return await coming
        except TimeoutError:
            raise _late(self._seconds) from None

    def _look_now(self) -> None:
        self._soon = False
        self.look()

    def _has_room(self, key: Hashable) -> bool:
        free = self._most - len(self._held)
        return free > self._reserve or (free > 0 and key not in self._counts)

    def _grant(self, now: float) -> list[Arrival]:
        """Gives away what is free, to those first who are in front."""
        granted = []
        while self._waiting:
            key = min(self._waiting, key=self._rank)
            if not self._has_room(key):
                break
            one = self._waiting[key][0][0]
            self._forget(one)
            self._held[one] = now
            self._counts[key] += 1
            granted.append(one)
        return granted

    def _victims(self, now: float) -> list[Arrival]:
        """Returns who has to make room for those in front, as far as others do not leave anyway."""
        due = self._most - len(self._held) + len(self._leaving)
        victims = []
        for key in sorted(self._waiting, key=self._rank):
            if due > 0:
                due -= 1
            elif (victim := self._victim(key, now)) is not None:
                self._strike(victim, now)
                victims.append(victim)
        return victims

    def _victim(self, key: Hashable, now: float) -> Arrival | None:
        """Returns the first who came of those who have most, if it is more than somebody has, and he has had his time."""
        counts = self._counts - Counter(one.key for one in self._leaving)
        if not counts:
            return None
        loads = {of: self._load(of, count) for of, count in counts.items()}
        most, load = max(loads.values()), self._load(key, counts[key])
        for one, since in self._held.items():
            if loads.get(one.key) == most > load and one not in self._leaving:
                struck = self._struck(one.key) > self._struck(key)
                patience = self._patience.with_more if most > load + 1 else self._patience.with_one
                if now - since >= (_STRUCK_PATIENCE_SECONDS if struck else patience):
                    return one
        return None

    def _strike(self, one: Arrival, now: float) -> None:
        self._leaving.add(one)
        self._strikes[one.key] = self._struck(one.key) + 1, now

    def _struck(self, key: Hashable) -> int:
        return self._strikes[key][0] if key in self._strikes else 0

    def _load(self, key: Hashable, count: int) -> int:
        return count + self._struck(key) - (key in self._proven)

    def _rank(self, key: Hashable) -> tuple[int, float]:
        return self._load(key, self._counts[key]), self._waiting[key][0][1]

    def _forget(self, one: Arrival) -> None:
        """Takes something out of those that wait, if it is there."""
        waiting = self._waiting.get(one.key)
        if waiting is None:
            return
        for each in waiting:
            if each[0] is one:
                waiting.remove(each)
                break
        if not waiting:
            del self._waiting[one.key]


class Streams:
    """The streams of requests that are open, in each of which a message may be coming at any time. Belongs to one event loop."""

    def __init__(self, most: int) -> None:
        """Makes room for so many; a quarter of it only for those who have none."""
        self._most = most
        self._counts: Counter[Hashable] = Counter()

    def place(self, key: Hashable) -> ExitStack:
        """Returns a place, which is free again once the block ends.

        Args:
            key: whose it is.

        Raises:
            Overloaded: there is none.
        """
        free = self._most - self._counts.total()
        if free <= 0 or (self._counts[key] and free <= self._most // 4):
            raise Overloaded(
                f"The server reads {self._counts.total()} streams already (api.streams is {self._most}): close those that are not "
                "needed, or try again later.",
                retry_after=_RETRY,
                cause="streams",
            )
        self._counts[key] += 1
        held = ExitStack()
        held.callback(self._leave, key)
        return held

    def _leave(self, key: Hashable) -> None:
        self._counts[key] -= 1
        if not self._counts[key]:
            del self._counts[key]


class _Body:
    """What a task reads."""

    def __init__(self, key: Hashable, scope: asyncio.Timeout) -> None:
        self.key = key
        self.error: Refused | None = None
        self._scope = scope
        self._loop = asyncio.get_running_loop()
        self.taken: asyncio.Future[None] = self._loop.create_future()

    def take(self) -> None:
        self._loop.call_soon_threadsafe(self._begin)

    def expel(self, error: Refused, _: float) -> None:
        self.error = error
        self._scope.reschedule(self._loop.time())

    def _begin(self) -> None:
        if not self.taken.done():
            self.taken.set_result(None)


def _late(seconds: float) -> MessageLate:
    return MessageLate(f"The message was not whole within {seconds:g} s: send less at a time.", cause="late")


def crowded() -> Overloaded:
    """Returns what those are told for whose message there is no place."""
    return Overloaded(
        "More messages come than the server takes at once, and others have fewer of them: send it again later, or less at a time.",
        retry_after=_RETRY,
        cause="messages",
    )
