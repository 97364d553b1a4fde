"""An acceptor's half of a version's engines: its slots, and the way to every engine process that lives.

    async with engine.slot(deadline) as slot:                       # waits for a free one, earliest deadline first
        await slot.in_thread(decoders, load_image, encoded, spec, slot.pixels)
        answer = await slot.infer(deadline)

Only indices, deadlines and flags travel. A slot is free again when nobody writes to it any more: a thread that decodes into it has
ended, and the engine has answered, or has said that it forgot the picture, or is gone. Belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from eyasd.core.errors import DeadlineExceeded, OutOfMemory, Unavailable
from eyasd.serving.engine import wire
from eyasd.serving.engine.picture import Answer, Asked, Slot
from eyasd.serving.engine.slots import Arena, Shape
from eyasd.serving.engine.wire import Batch, Kind, Outcome

T = TypeVar("T")
# An engine notices a late picture between two batches; one that says nothing for longer is stuck, or there is none.
_PATIENCE_SECONDS: Final = 1.0
_RETRY_AFTER: Final = timedelta(seconds=1)  # the engine of a small version is back by then
_LATE: Final = "The deadline passed while the picture waited for the network: allow more time, or send less."
_UNLOADED: Final = "The model version was unloaded while the request was on its way: send it again."


@dataclass(order=True, slots=True)
class _Waiting:
    deadline: float
    number: int  # equal deadlines are served in the order of arrival
    slot: asyncio.Future[int] = field(compare=False)


class Engine:
    """The engines of one version, as one acceptor sees them."""

    def __init__(self, name: str, shape: Shape, on_batch: Callable[[int], None] = lambda _: None) -> None:
        """Makes the slots; pictures wait until an engine is connected.

        Args:
            name: of the version, for messages.
            shape: of its slots.
            on_batch: told the size of each batch in which this acceptor had the first picture.
        """
        self.shape = shape
        self._name = name
        self._arena = Arena(shape)
        self._on_batch = on_batch
        self._free = list(range(shape.slots))  # the last one given back is taken first, so that little memory is touched
        self._wanting: list[_Waiting] = []
        self._numbers = itertools.count()
        self._links: set[Link] = set()
        self._parked: dict[Asked, None] = {}
        self._holders = 0
        self._released = asyncio.Event()
        self._released.set()
        self._refusal = ""
        self._closed = False
        self.loop = asyncio.get_running_loop()
        self._timer = self.loop.call_later(_PATIENCE_SECONDS, self._look)

    @property
    def memory(self) -> int:
        """Descriptor of the slots' memory, for the engines."""
        return self._arena.descriptor

    @property
    def waiting(self) -> int:
        """Pictures that were asked and are not answered yet."""
        return len(self._parked) + sum(len(link.asked) for link in self._links)

    @property
    def count(self) -> int:
        """Processes that run batches at the same time; one at least, as one that is missing is being started."""
        return len(self._links) or 1

    async def connect(self, data: socket.socket) -> None:
        """Asks an engine, too, from now on; until the other end of `data` is closed."""
        await self.loop.create_unix_connection(lambda: Link(self), sock=data)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Keeps the engine open for as long as the block lasts, so that a request never loses its engine halfway."""
        self._holders += 1
        self._released.clear()
        try:
            yield
        finally:
            self._holders -= 1
            if not self._holders:
                self._released.set()

    def slot(self, deadline: float) -> Slot:
        """Returns a slot, to be entered with `async with`, which waits until one is free; the deadline is `time.monotonic`'s.

        Raises:
            Unavailable: on entering, the engine is closed, or no process of it will come back.
        """
        return Slot(self, deadline)

    def fail(self, message: str) -> None:
        """Refuses everything from now on: no engine will come back."""
        self._refusal = message
        for asked in self._parked:
            _refuse(asked.answer, message)
        for waiting in self._wanting:
            _refuse(waiting.slot, message)

    async def close(self) -> None:
        """Waits for those who hold the engine, then leaves the processes. Safe to call twice."""
        await self._released.wait()
        if self._closed:
            return
        self._closed, self._refusal = True, _UNLOADED
        self._timer.cancel()
        for link in self._links:
            link.close()
        self._arena.close()

    async def take(self, deadline: float) -> int:
        """Returns the index of a slot, which is the caller's from now on. Raises Unavailable."""
        if self._refusal:
            raise Unavailable(self._refusal, retry_after=_RETRY_AFTER)
        if self._free:
            return self._free.pop()
        slot: asyncio.Future[int] = self.loop.create_future()
        heapq.heappush(self._wanting, _Waiting(deadline, next(self._numbers), slot))
        try:
            return await slot
        except asyncio.CancelledError:
            if slot.done() and not slot.cancelled() and slot.exception() is None:  # it was given in the very moment
                self.give(slot.result())
            raise

    def give(self, index: int) -> None:
        """Takes a slot back."""
        while self._wanting:
            slot = heapq.heappop(self._wanting).slot
            if not slot.done():
                slot.set_result(index)
                return
        self._free.append(index)

    def pixels(self, index: int) -> NDArray[np.uint8]:
        """Returns a slot's picture, uint8 [H, W, 3]."""
        return cast("NDArray[np.uint8]", self._arena.pixels[index])

    def ask(self, asked: Asked) -> None:
        """Sends a picture to the process that has the fewest, or keeps it until there is one."""
        if self._links:
            self._arena.running[asked.index] = False
            min(self._links, key=lambda link: len(link.asked)).ask(asked)
        elif self._refusal:
            _refuse(asked.answer, self._refusal)
        else:
            self._parked[asked] = None

    def forget(self, asked: Asked) -> None:
        """Takes the slot of a picture back, from whose answer on nobody can write to it; an answer that is due is cancelled."""
        self._parked.pop(asked, None)
        if asked.link is None:
            self.give(asked.index)
        else:
            asked.abandoned = True
            asked.link.cancel(asked)

    def joined(self, link: Link) -> None:
        """Asks a new process what waited for one."""
        self._links.add(link)
        parked, self._parked = self._parked, {}
        for asked in parked:
            self.ask(asked)

    def left(self, link: Link) -> None:
        """Asks a sibling, or the next process, what was lost with one.

        What was running may be what ended it: that is asked once more, and of a sibling only, lest a picture end one process after
        another. All else never reached the network, or its answer got lost, and has harmed nobody.
        """
        self._links.discard(link)
        lost = list(link.asked.values())
        link.asked.clear()
        for asked in lost:
            asked.link = None
            if asked.abandoned:
                self.give(asked.index)
            elif not self._arena.running[asked.index]:
                self.ask(asked)
            elif self._links and not asked.retried:
                asked.retried = True
                self.ask(asked)
            else:
                _refuse(asked.answer, f"The engine of {self._name} ended while it ran the picture, and is being started again.")

    def answered(self, asked: Asked, outcome: int, batch: Batch, batch_size: int, queue_seconds: float, run_seconds: float) -> None:
        """Tells a caller what the process said."""
        asked.link = None
        if batch_size:
            self._on_batch(batch_size)
        if asked.abandoned:
            self.give(asked.index)
        elif asked.answer.done():  # the caller is just leaving
            return
        elif outcome == Outcome.DONE:
            asked.answer.set_result(self._read(asked, batch, batch_size, queue_seconds, run_seconds))
        elif outcome == Outcome.LATE:
            asked.answer.set_exception(DeadlineExceeded(_LATE))
        elif outcome == Outcome.NO_MEMORY:
            asked.answer.set_exception(OutOfMemory())
        else:
            asked.answer.set_exception(RuntimeError(f"the engine of {self._name} failed on a batch; its log says why"))

    def _read(self, asked: Asked, batch: Batch, batch_size: int, queue_seconds: float, run_seconds: float) -> Answer:
        score = float(self._arena.ood_scores[asked.index])
        feature_map = self._arena.feature_maps[asked.index] if asked.explain and self.shape.feature_map else None
        probabilities = self._arena.probabilities[asked.index].copy()
        ood_score = None if np.isnan(score) else score
        return Answer(probabilities, queue_seconds, run_seconds, batch_size, ood_score, feature_map, batch)

    def _look(self) -> None:
        """Tells callers of what was due and is not answered: a process is stuck, or there is none."""
        limit = time.monotonic() - _PATIENCE_SECONDS
        for asked in [*self._parked, *(asked for link in self._links for asked in link.asked.values())]:
            if asked.deadline < limit and not asked.answer.done():
                asked.answer.set_exception(DeadlineExceeded(_LATE))
        self._timer = self.loop.call_later(_PATIENCE_SECONDS, self._look)


class Link(asyncio.Protocol):
    """The way to one process."""

    def __init__(self, engine: Engine) -> None:
        self.asked: dict[int, Asked] = {}
        self._engine = engine
        self._transport: asyncio.WriteTransport | None = None
        self._unread = b""
        self._unsent: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast("asyncio.WriteTransport", transport)
        self._engine.joined(self)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        data = self._unread + data
        whole = len(data) // wire.ANSWER.size * wire.ANSWER.size
        self._unread = data[whole:]
        for outcome, images, batch_size, index, queue_seconds, run_seconds, engine, number in wire.ANSWER.iter_unpack(data[:whole]):
            batch = Batch(images, engine, number)
            self._engine.answered(self.asked.pop(index), outcome, batch, batch_size, queue_seconds, run_seconds)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the name is asyncio's
        """See `asyncio.Protocol`."""
        self._engine.left(self)

    def ask(self, asked: Asked) -> None:
        """Sends a picture."""
        asked.link = self
        self.asked[asked.index] = asked
        self._write(asked.record)

    def cancel(self, asked: Asked) -> None:
        """Says that nobody waits for a picture; the process says when it has forgotten it."""
        self._write(wire.ASK.pack(Kind.CANCEL, 0, False, asked.index, 0, 0.0, 0.0))

    def close(self) -> None:
        """Leaves the process."""
        if self._transport is not None:
            self._transport.close()

    def _write(self, record: bytes) -> None:
        # All that the event loop does in one turn goes in one system call, of 15 us.
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._flush)
        self._unsent.append(record)

    def _flush(self) -> None:
        # What a process that has just ended was asked is in `asked`, and `connection_lost` sees to it.
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(self._unsent))
        self._unsent.clear()


def _refuse(waiting: asyncio.Future[T], message: str) -> None:
    if not waiting.done():
        waiting.set_exception(Unavailable(message, retry_after=_RETRY_AFTER))
