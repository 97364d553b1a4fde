"""Of which answers the truth was reported already, so that none is counted twice. Knows nonces, no answers.

A server of one process remembers for itself. Several acceptors have their supervisor remember for all of them, as the second report
of an answer may reach another of them than the first. Servers do not ask each other: what is reported to two of them, or again
after a restart, is counted twice.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any, Final, Protocol

from eyasd.serving.engine.channel import Channel

# Some 15 MB, and at ten reports a second three hours.
MOST: Final = 100_000
_ANSWER_SECONDS: Final = 2.0

# The nonce of an answer, and a number that stands for what is true of it.
Note = tuple[bytes, int]


class Known(IntEnum):
    """Whether an answer was reported before: not, with the same truth, or with another."""

    NEW = 0
    SAME = 1
    OTHER = 2


class Memory(Protocol):
    """What remembers."""

    async def note(self, notes: Sequence[Note]) -> list[Known]:
        """Returns of each whether it was known, and remembers it; in their order, so of two alike the second is."""
        ...


class OwnMemory:
    """Remembers the newest in this process."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._truths: OrderedDict[bytes, int] = OrderedDict()

    async def note(self, notes: Sequence[Note]) -> list[Known]:
        """See `Memory.note`."""
        return self.take(notes)

    def take(self, notes: Sequence[Note]) -> list[Known]:
        """Does what `note` does."""
        return [self._take(nonce, truth) for nonce, truth in notes]

    def answer(self, message: Mapping[str, Any], channel: Channel) -> bool:
        """Answers an acceptor that asks through `SharedMemory`; returns whether the message was for the memory."""
        match message:
            case {"note": ticket, "of": notes}:
                channel.send({"noted": ticket, "known": self.take([(bytes.fromhex(nonce), truth) for nonce, truth in notes])})
            case _:
                return False
        return True

    def _take(self, nonce: bytes, truth: int) -> Known:
        before = self._truths.get(nonce)
        self._truths[nonce] = truth  # a correction is the truth from now on
        if before is not None:
            return Known.SAME if before == truth else Known.OTHER
        if len(self._truths) > self._most:
            self._truths.popitem(last=False)
        return Known.NEW


class SharedMemory:
    """An acceptor's way to the memory of its supervisor. Belongs to one event loop."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._own = OwnMemory()
        self._tickets = itertools.count()
        self._asked: dict[int, asyncio.Future[list[Known]]] = {}
        # One question at a time: who fills the channel faster than it is read loses it.
        self._turn = asyncio.Lock()

    async def note(self, notes: Sequence[Note]) -> list[Known]:
        """See `Memory.note`; asks this process alone where the supervisor does not answer."""
        async with self._turn:
            ticket = next(self._tickets)
            answer = self._asked[ticket] = asyncio.get_running_loop().create_future()
            self._channel.send({"note": ticket, "of": [(nonce.hex(), truth) for nonce, truth in notes]})
            try:
                return await asyncio.wait_for(answer, _ANSWER_SECONDS)
            except TimeoutError:
                return self._own.take(notes)
            finally:
                del self._asked[ticket]

    def heed(self, message: Mapping[str, Any]) -> bool:
        """Takes what the supervisor says; returns whether it was for the memory."""
        match message:
            case {"noted": ticket, "known": known}:
                if (asked := self._asked.get(ticket)) is not None and not asked.done():
                    asked.set_result([Known(one) for one in known])
            case _:
                return False
        return True
