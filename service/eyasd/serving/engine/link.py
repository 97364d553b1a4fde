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
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from types import TracebackType
from typing import Final, ParamSpec, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from eyasd.core.errors import DeadlineExceeded, OutOfMemory, Unavailable
from eyasd.serving.engine import wire
from eyasd.serving.engine.slots import Arena, Shape
from eyasd.serving.engine.wire import Kind, Outcome

P = ParamSpec("P")
T = TypeVar("T")
# An engine notices a late picture between two batches; one that says nothing for longer is stuck, or there is none.
_PATIENCE_SECONDS: Final = 1.0
_RETRY_AFTER: Final = timedelta(seconds=1)  # the engine of a small version is back by then
_LATE: Final = "The deadline passed while the picture waited for the network: allow more time, or send less."
_UNLOADED: Final = "The model version was unloaded while the request was on its way: send it again."


@dataclass(frozen=True, slots=True)
class Answer:
    """What the network said of one picture, and how long it took to say it.

    Attributes:
        probabilities: float32 [C], 0..1.
        queue_seconds: from arrival to the start of its batch.
        inference_seconds: of its whole batch.
        batch_size: pictures in its batch, where this is the first of them; else 0.
        ood_score: larger = less like the training pictures; None where the network has no such output.
        feature_map: float32 [F, h, w], what the head sees before it is pooled; None where nobody asked, or the network has no such
            output. Lies in the slot.
    """

    probabilities: NDArray[np.float32]
    queue_seconds: float
    inference_seconds: float
    batch_size: int = 0
    ood_score: float | None = None
    feature_map: NDArray[np.float32] | None = None


@dataclass(eq=False, slots=True)
class _Asked:
    """A picture that an engine is to answer, or has answered."""

    index: int
    record: bytes
    deadline: float
    explain: bool
    answer: asyncio.Future[Answer]
    link: _Link | None = None  # who may write to the slot
    abandoned: bool = False  # nobody waits, and the slot is given back when the link is done with it
    retried: bool = False


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
        self._links: set[_Link] = set()
        self._parked: dict[_Asked, None] = {}
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
        await self.loop.create_unix_connection(lambda: _Link(self), sock=data)

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

    def ask(self, asked: _Asked) -> None:
        """Sends a picture to the process that has the fewest, or keeps it until there is one."""
        if self._links:
            min(self._links, key=lambda link: len(link.asked)).ask(asked)
        else:
            self._parked[asked] = None

    def forget(self, asked: _Asked) -> None:
        """Takes the slot of a picture back, from whose answer on nobody can write to it; an answer that is due is cancelled."""
        self._parked.pop(asked, None)
        if asked.link is None:
            self.give(asked.index)
        else:
            asked.abandoned = True
            asked.link.cancel(asked)

    def joined(self, link: _Link) -> None:
        """Asks a new process what waited for one."""
        self._links.add(link)
        parked, self._parked = self._parked, {}
        for asked in parked:
            self.ask(asked)

    def left(self, link: _Link) -> None:
        """Asks another process what was lost with one: once, as it may be the picture that ended it."""
        self._links.discard(link)
        for asked in link.asked.values():
            asked.link = None
            if asked.abandoned:
                self.give(asked.index)
            elif self._links and not asked.retried:
                asked.retried = True
                self.ask(asked)
            else:
                _refuse(asked.answer, f"The engine of {self._name} ended while it had the picture, and is being started again.")
        link.asked.clear()

    def answered(self, asked: _Asked, outcome: int, batch_size: int, queue_seconds: float, run_seconds: float) -> None:
        """Tells a caller what the process said."""
        asked.link = None
        if batch_size:
            self._on_batch(batch_size)
        if asked.abandoned:
            self.give(asked.index)
        elif asked.answer.done():  # the caller is just leaving
            return
        elif outcome == Outcome.DONE:
            asked.answer.set_result(self._read(asked, batch_size, queue_seconds, run_seconds))
        elif outcome == Outcome.LATE:
            asked.answer.set_exception(DeadlineExceeded(_LATE))
        elif outcome == Outcome.NO_MEMORY:
            asked.answer.set_exception(OutOfMemory())
        else:
            asked.answer.set_exception(RuntimeError(f"the engine of {self._name} failed on a batch; its log says why"))

    def _read(self, asked: _Asked, batch_size: int, queue_seconds: float, run_seconds: float) -> Answer:
        score = float(self._arena.ood_scores[asked.index])
        feature_map = self._arena.feature_maps[asked.index] if asked.explain and self.shape.feature_map else None
        probabilities = self._arena.probabilities[asked.index].copy()
        return Answer(probabilities, queue_seconds, run_seconds, batch_size, None if np.isnan(score) else score, feature_map)

    def _look(self) -> None:
        """Tells callers of what was due and is not answered: a process is stuck, or there is none."""
        limit = time.monotonic() - _PATIENCE_SECONDS
        for asked in [*self._parked, *(asked for link in self._links for asked in link.asked.values())]:
            if asked.deadline < limit and not asked.answer.done():
                asked.answer.set_exception(DeadlineExceeded(_LATE))
        self._timer = self.loop.call_later(_PATIENCE_SECONDS, self._look)


class Slot:
    """A place for one picture, its caller's until the block ends."""

    def __init__(self, engine: Engine, deadline: float) -> None:
        self._engine = engine
        self._deadline = deadline
        self._index = -1
        self._work: Future[object] | None = None
        self._asked: _Asked | None = None

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """The picture, uint8 [H, W, 3]."""
        return self._engine.pixels(self._index)

    async def __aenter__(self) -> Slot:
        self._index = await self._engine.take(self._deadline)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._work is not None and not self._work.cancel() and not self._work.done():
            # A thread cannot be called off, so the slot is in use until it ends; by then the loop may be closed.
            loop, give, index = asyncio.get_running_loop(), self._engine.give, self._index

            def ended(_: object) -> None:
                with suppress(RuntimeError):
                    loop.call_soon_threadsafe(give, index)

            self._work.add_done_callback(ended)
        elif self._asked is not None:
            self._engine.forget(self._asked)
        else:
            self._engine.give(self._index)

    async def in_thread(self, executor: Executor, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Returns what `work` returns; it may read and write the slot, whoever leaves meanwhile."""
        future = executor.submit(work, *args, **kwargs)
        self._work = cast("Future[object]", future)
        return await asyncio.wrap_future(future)

    async def infer(self, deadline: float, *, priority: int = 1, caller: str = "", explain: bool = False) -> Answer:
        """Returns what the network says of the picture in the slot; asked once.

        Args:
            deadline: on the clock of `time.monotonic`.
            priority: less is sooner.
            caller: who asks; any text.
            explain: whether the answer is to hold the feature map.

        Raises:
            DeadlineExceeded: the deadline passed in the queue.
            Unavailable: the engine ended, and no other could take over.
        """
        # Of equal value in every process, which `hash` is not.
        record = wire.ASK.pack(Kind.ASK, priority, explain, self._index, zlib.crc32(caller.encode()), time.monotonic(), deadline)
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._asked = _Asked(self._index, record, deadline, explain, answer)
        self._engine.ask(self._asked)
        return await answer


class _Link(asyncio.Protocol):
    """The way to one process."""

    def __init__(self, engine: Engine) -> None:
        self.asked: dict[int, _Asked] = {}
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
        for outcome, batch_size, index, queue_seconds, run_seconds in wire.ANSWER.iter_unpack(data[:whole]):
            self._engine.answered(self.asked.pop(index), outcome, batch_size, queue_seconds, run_seconds)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the name is asyncio's
        """See `asyncio.Protocol`."""
        self._engine.left(self)

    def ask(self, asked: _Asked) -> None:
        """Sends a picture."""
        asked.link = self
        self.asked[asked.index] = asked
        self._write(asked.record)

    def cancel(self, asked: _Asked) -> None:
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
        # Of a process that has just ended, what was asked is in `asked`, and `connection_lost` sees to it.
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(self._unsent))
        self._unsent.clear()


def _refuse(waiting: asyncio.Future[T], message: str) -> None:
    if not waiting.done():
        waiting.set_exception(Unavailable(message, retry_after=_RETRY_AFTER))
