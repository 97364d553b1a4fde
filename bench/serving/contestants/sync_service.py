"""A service on grpcio's sync server, written by hand: `python sync_service.py TASK THREADS [BATCH]`.

A call's own thread decodes the picture and runs the network. With BATCH one thread more runs the network for whatever has
gathered meanwhile, at most so many at a time.
"""

from __future__ import annotations

import queue
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
from google.protobuf.wrappers_pb2 import BytesValue, StringValue
from shared import METHOD, SERVICE, Task, read_task


class Batches:
    """A thread that runs the network."""

    def __init__(self, task: Task, most: int) -> None:
        """Starts it."""
        self._task, self._most = task, most
        self._queue: queue.SimpleQueue[tuple[np.ndarray, Future[str]]] = queue.SimpleQueue()
        threading.Thread(target=self._serve, daemon=True).start()

    def label(self, encoded: bytes) -> str:
        """Returns the answer for one picture."""
        future: Future[str] = Future()
        self._queue.put((self._task.decode(encoded), future))
        return future.result()

    def _serve(self) -> None:
        while True:
            batch = [self._queue.get()]
            while len(batch) < self._most and not self._queue.empty():
                batch.append(self._queue.get())
            for row, (_, future) in zip(self._task.run(np.stack([image for image, _ in batch])), batch, strict=True):
                future.set_result(self._task.say(row))


def main() -> None:
    task = read_task(sys.argv[1])
    label = Batches(task, int(sys.argv[3])).label if len(sys.argv) > 3 else task.label

    def classify(request: BytesValue, _: Any) -> StringValue:
        return StringValue(value=label(request.value))

    method = grpc.unary_unary_rpc_method_handler(classify, BytesValue.FromString, StringValue.SerializeToString)
    server = grpc.server(ThreadPoolExecutor(int(sys.argv[2])), options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, {METHOD: method})])
    server.add_insecure_port(f"127.0.0.1:{task.port}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
