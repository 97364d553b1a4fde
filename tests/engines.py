"""Engines that tests ask: the real loop in a thread, with a network that a test can stop."""

from __future__ import annotations

import asyncio
import socket
import threading
import time

import numpy as np
from numpy.typing import NDArray

from eyasd.core import document
from eyasd.serving.engine import wire
from eyasd.serving.engine.link import Answer, Engine
from eyasd.serving.engine.program import ControlLog, Loop
from eyasd.serving.engine.slots import Shape
from eyasd.serving.network.session import Outputs
from eyasd.serving.queue.batcher import Batcher, Options

SHAPE = Shape(slots=64, side=1, labels=3, feature_map=(3, 1, 1))


class Network:
    """A network whose answer is its input, and which runs only while its gate is open.

    13 makes it fail, and more than it holds; 66 takes it away.
    """

    def __init__(self) -> None:
        self.lost = False
        self.gate = threading.Event()
        self.gate.set()
        self.batches: list[list[int]] = []
        self.maps: list[bool] = []
        self.holds = 64

    def run(self, images: NDArray[np.uint8], maps: bool = False) -> Outputs:
        numbers = [int(image[0, 0, 0]) for image in images]
        self.batches.append(numbers)
        self.gate.wait()
        self.lost = self.lost or 66 in numbers
        if 13 in numbers or self.lost:
            raise RuntimeError("the device is unhappy")
        if len(numbers) > self.holds:
            raise RuntimeError("CUDA failure 2: out of memory")
        self.maps.append(maps)
        rows = images.reshape(len(images), -1).astype(np.float32)
        return Outputs(rows, rows[:, 0], rows[:, :, None, None] if maps else None)


class Worker:
    """An engine's loop in a thread."""

    def __init__(self, network: Network, max_batch_size: int) -> None:
        self._control, theirs = wire.control_pair()
        self._theirs = theirs
        self._loop = Loop(theirs, network.run, Batcher(Options(max_batch_size, 0)), ControlLog(theirs))
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._loop.run()
        except RuntimeError as error:
            self.error = error

    async def join(self, engine: Engine) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            wire.send(self._control, {"attach": document.dump(engine.shape)}, (theirs.fileno(), engine.memory))
        await engine.connect(ours)

    async def leave(self) -> None:
        self._control.close()
        await asyncio.to_thread(self._thread.join)
        self._theirs.close()


async def ask(engine: Engine, number: int, deadline: float | None = None, *, explain: bool = False) -> Answer:
    """Returns the answer to a picture of that number; whoever keeps its feature map copies it."""
    deadline = time.monotonic() + 60 if deadline is None else deadline
    async with engine.slot(deadline) as slot:
        slot.pixels[:] = number
        return await slot.infer(deadline, explain=explain)
