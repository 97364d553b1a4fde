"""MLServer with a runtime of its own: `python mlserver_runtime.py TASK THREADS` writes its settings and becomes `mlserver start`.

In one process (`parallel_workers` 0), since a core has no use for more; threads decode the pictures and run the network.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mlserver import MLModel
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput
from shared import read_task


class Runtime(MLModel):
    """Labels pictures."""

    async def load(self) -> bool:
        """Opens the network."""
        self._task = read_task()
        self._threads = ThreadPoolExecutor(int(os.environ["BENCH_THREADS"]))
        return bool(self._task.session)

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Labels the pictures of a request."""
        loop = asyncio.get_running_loop()
        pictures = payload.inputs[0].data
        said = await asyncio.gather(*(loop.run_in_executor(self._threads, self._task.label, picture) for picture in pictures))
        output = ResponseOutput(name="label", shape=[len(said), 1], datatype="BYTES", data=[text.encode() for text in said])
        return InferenceResponse(model_name=self.name, outputs=[output])


def main() -> None:
    task = Path(sys.argv[1])
    folder = Path(tempfile.mkdtemp(prefix="eyas-bench-mlserver-", dir=task.parent))
    ports = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    http, metrics = (port.getsockname()[1] for port in ports)
    settings = {"host": "127.0.0.1", "grpc_port": json.loads(task.read_text())["port"], "http_port": http, "metrics_port": metrics}
    (folder / "settings.json").write_text(json.dumps(settings | {"parallel_workers": 0, "debug": False}))
    (folder / "model-settings.json").write_text(json.dumps({"name": "bench", "implementation": "mlserver_runtime.Runtime"}))
    for port in ports:
        port.close()
    environment = {"BENCH_TASK": str(task), "BENCH_THREADS": sys.argv[2], "PYTHONPATH": str(Path(__file__).parent)}
    program = Path(sys.executable).parent / "mlserver"
    os.execve(program, [str(program), "start", str(folder)], os.environ | environment)  # noqa: S606


if __name__ == "__main__":
    main()
