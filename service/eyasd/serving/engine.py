"""One version on one device: a queue ordered by deadline, a batcher, and the thread that runs the network.

The batcher knows nothing of pictures; it stacks arrays. While a batch runs, the next one gathers, so an idle device answers at
once and a busy one fills its batches by itself.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from eyasd.core.errors import DeadlineExceeded, Unavailable
from eyasd.serving.network.session import Outputs

Run = Callable[[NDArray[np.uint8], bool], Outputs]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the network said of one picture, and how long it took to say it.

    Attributes:
        probabilities: float32 [C], 0..1.
        queue_seconds: from arrival to the start of its batch.
        inference_seconds: of its whole batch.
        ood_score: larger = less like the training pictures; None where the network has no such output.
        feature_map: float32 [F, h, w], what the head sees before it is pooled; None where nobody asked, or the network has no such
            output.
    """

    probabilities: NDArray[np.float32]
    queue_seconds: float
    inference_seconds: float
    ood_score: float | None = None
    feature_map: NDArray[np.float32] | None = None


@dataclass(order=True, slots=True)
class _Waiting:
    deadline: float
    number: int  # equal deadlines are served in the order of arrival
    image: NDArray[np.uint8] = field(compare=False)
    explain: bool = field(compare=False)
    arrival: float = field(compare=False)
    answer: asyncio.Future[Answer] = field(compare=False)


class Engine:
    """Answers pictures with one network, earliest deadline first.

    Work whose caller has gone or whose deadline has passed never reaches the device. Belongs to the event loop it was made in.
    """

    def __init__(
        self, run: Run, *, max_batch_size: int, max_delay_seconds: float, on_batch: Callable[[int], None] = lambda _: None
    ) -> None:
        """Starts the batcher.

        Args:
            run: the network, see `Session.run`; called in a thread of the engine's own, one call at a time.
            max_batch_size: largest N.
            max_delay_seconds: how long an idle device waits for a fuller batch.
            on_batch: told the size of each batch.
        """
        self._run = run
        self._max_batch_size = max_batch_size
        self._max_delay_seconds = max_delay_seconds
        self._on_batch = on_batch
        self._queue: list[_Waiting] = []
        self._holders = 0
        self._released = asyncio.Event()
        self._released.set()
        self._numbers = itertools.count()
        self._arrived = asyncio.Event()
        self._closing = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="network")
        self._batcher = asyncio.create_task(self._serve())

    @property
    def waiting(self) -> int:
        """Pictures that wait for a batch."""
        return len(self._queue)

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

    async def infer(self, image: NDArray[np.uint8], deadline: float, *, explain: bool = False) -> Answer:
        """Returns what the network says of one picture.

        Args:
            image: uint8 [H, W, 3].
            deadline: on the clock of `time.monotonic`.
            explain: whether the answer is to hold the feature map.

        Raises:
            DeadlineExceeded: the deadline passed in the queue.
            Unavailable: the engine is closed.
        """
        if self._closing:
            raise Unavailable("The model version was unloaded while the request was on its way: send it again.")
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        waiting = _Waiting(deadline, next(self._numbers), image, explain, time.monotonic(), answer)
        heapq.heappush(self._queue, waiting)
        self._arrived.set()
        return await answer

    async def close(self) -> None:
        """Waits for those who hold the engine, answers what is waiting, then stops. Safe to call twice."""
        await self._released.wait()
        self._closing = True
        self._arrived.set()
        await self._batcher
        self._thread.shutdown()

    async def _serve(self) -> None:
        while self._queue or not self._closing:
            await self._arrived.wait()
            if self._max_delay_seconds and len(self._queue) < self._max_batch_size and not self._closing:
                await asyncio.sleep(self._max_delay_seconds)
            batch = self._cut()
            if not self._queue and not self._closing:
                self._arrived.clear()
            if batch:
                self._on_batch(len(batch))
                await self._answer(batch)

    def _cut(self) -> list[_Waiting]:
        """Takes the most urgent pictures that somebody still waits for."""
        batch: list[_Waiting] = []
        now = time.monotonic()
        while self._queue and len(batch) < self._max_batch_size:
            waiting = heapq.heappop(self._queue)
            if waiting.answer.done():  # the caller has gone
                continue
            if waiting.deadline <= now:
                waiting.answer.set_exception(
                    DeadlineExceeded("The deadline passed while the picture waited for the network: allow more time, or send less.")
                )
                continue
            batch.append(waiting)
        return batch

    async def _answer(self, batch: list[_Waiting]) -> None:
        start = time.monotonic()
        images = np.stack([waiting.image for waiting in batch])
        try:
            wanted = any(waiting.explain for waiting in batch)
            outputs = await asyncio.get_running_loop().run_in_executor(self._thread, self._run, images, wanted)
        except Exception as error:  # noqa: BLE001 - whatever the device raises belongs to the callers of this batch, not to the batcher
            for waiting in batch:
                if not waiting.answer.done():
                    waiting.answer.set_exception(error)
            return
        seconds = time.monotonic() - start
        for row, waiting in enumerate(batch):
            if not waiting.answer.done():
                score = None if outputs.ood_scores is None else float(outputs.ood_scores[row])
                # A copy, so that an answer does not hold the maps of its whole batch.
                feature_map = outputs.feature_maps[row].copy() if waiting.explain and outputs.feature_maps is not None else None
                answer = Answer(outputs.probabilities[row], start - waiting.arrival, seconds, score, feature_map)
                waiting.answer.set_result(answer)
