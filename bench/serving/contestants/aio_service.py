"""A service on grpc.aio, written by hand: `python aio_service.py TASK THREADS [BATCH]`.

Threads decode the pictures and run the network. With BATCH one thread runs the network for whatever has gathered meanwhile, at
most so many at a time, and THREADS others decode.
"""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
from google.protobuf.wrappers_pb2 import BytesValue, StringValue
from shared import METHOD, SERVICE, Task, read_task


class Batches:
    """A task that runs the network in a thread."""

    def __init__(self, task: Task, threads: ThreadPoolExecutor, most: int) -> None:
        """Starts it."""
        self._task, self._threads, self._most = task, threads, most
        self._thread = ThreadPoolExecutor(1)
        self._queue: asyncio.Queue[tuple[np.ndarray, asyncio.Future[str]]] = asyncio.Queue()
        self._runner = asyncio.create_task(self._serve())

    async def label(self, encoded: bytes) -> str:
        """Returns the answer for one picture."""
        loop = asyncio.get_running_loop()
        image = await loop.run_in_executor(self._threads, self._task.decode, encoded)
        future: asyncio.Future[str] = loop.create_future()
        self._queue.put_nowait((image, future))
        return await future

    async def _serve(self) -> None:
        while True:
            batch = [await self._queue.get()]
            while len(batch) < self._most and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            images = np.stack([image for image, _ in batch])
            rows = await asyncio.get_running_loop().run_in_executor(self._thread, self._task.run, images)
            for row, (_, future) in zip(rows, batch, strict=True):
                if not future.done():
                    future.set_result(self._task.say(row))


async def main() -> None:
    task = read_task(sys.argv[1])
    threads = ThreadPoolExecutor(int(sys.argv[2]))
    batches = Batches(task, threads, int(sys.argv[3])) if len(sys.argv) > 3 else None

    async def classify(request: BytesValue, _: Any) -> StringValue:
        if batches:
            return StringValue(value=await batches.label(request.value))
        return StringValue(value=await asyncio.get_running_loop().run_in_executor(threads, task.label, request.value))

    method = grpc.unary_unary_rpc_method_handler(classify, BytesValue.FromString, StringValue.SerializeToString)
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, {METHOD: method})])
    server.add_insecure_port(f"127.0.0.1:{task.port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main())
