"""A picture on its way to the network and back: the slot it lies in, what is asked of it, and the answer."""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, ParamSpec, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from eyasd.serving.engine import wire
from eyasd.serving.engine.wire import NO_BATCH, Batch, Kind

if TYPE_CHECKING:
    from eyasd.serving.engine.link import Engine, Link

P = ParamSpec("P")
T = TypeVar("T")


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
        batch: that it was computed in.
    """

    probabilities: NDArray[np.float32]
    queue_seconds: float
    inference_seconds: float
    batch_size: int = 0
    ood_score: float | None = None
    feature_map: NDArray[np.float32] | None = None
    batch: Batch = NO_BATCH


@dataclass(eq=False, slots=True)
class Asked:
    """A picture that an engine is to answer, or has answered."""

    index: int
    record: bytes
    deadline: float
    explain: bool
    answer: asyncio.Future[Answer]
    link: Link | None = None  # who may write to the slot
    abandoned: bool = False  # nobody waits, and the slot is given back when the link is done with it
    retried: bool = False  # it was in the batch that an engine ended with


class Slot:
    """A place for one picture, its caller's until the block ends."""

    def __init__(self, engine: Engine, deadline: float) -> None:
        self._engine = engine
        self._deadline = deadline
        self._index = -1
        self._work: Future[object] | None = None
        self._asked: Asked | None = None

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
        # An error that these ended with has the frames that have this slot: it would have itself.
        self._work = self._asked = None

    async def in_thread(self, executor: Executor, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Returns what `work` returns; it may read and write the slot, whoever leaves meanwhile."""
        future = executor.submit(work, *args, **kwargs)
        self._work = cast("Future[object]", future)
        awaited = asyncio.wrap_future(future)
        del future
        try:
            return await awaited
        finally:
            del awaited

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
        self._asked = Asked(self._index, record, deadline, explain, answer)
        self._engine.ask(self._asked)
        try:
            return await answer
        finally:
            del answer
