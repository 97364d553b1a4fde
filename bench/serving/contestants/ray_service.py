"""Ray Serve behind its gRPC proxy, one replica: `python ray_service.py TASK THREADS`."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

HERE = str(Path(__file__).parent)
os.environ["PYTHONPATH"] = HERE  # of the processes that Ray starts
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import grpc  # noqa: E402
import ray  # noqa: E402
from google.protobuf.wrappers_pb2 import BytesValue, StringValue  # noqa: E402
from ray import serve  # noqa: E402
from ray.serve.config import HTTPOptions, gRPCOptions  # noqa: E402
from shared import METHOD, SERVICE, read_task  # noqa: E402


def add_service(servicer: Any, server: Any) -> None:
    """What grpcio's generator would write for `bench.Classifier`."""
    method = grpc.unary_unary_rpc_method_handler(servicer.Classify, BytesValue.FromString, StringValue.SerializeToString)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: method}),))


@serve.deployment(max_ongoing_requests=256, ray_actor_options={"num_cpus": 0})
class Classifier:
    """Labels pictures."""

    def __init__(self, task: str, threads: int) -> None:
        """Opens the network."""
        self._task = read_task(task)
        self._threads = ThreadPoolExecutor(threads)
        assert self._task.session

    async def Classify(self, request: BytesValue) -> StringValue:  # noqa: N802 - gRPC's name
        """Labels a picture."""
        said = await asyncio.get_running_loop().run_in_executor(self._threads, self._task.label, request.value)
        return StringValue(value=said)


def main() -> None:
    port = read_task(sys.argv[1]).port
    with socket.create_server(("127.0.0.1", 0)) as free:
        http = free.getsockname()[1]
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    serve.start(
        http_options=HTTPOptions(host="127.0.0.1", port=http),
        grpc_options=gRPCOptions(port=port, grpc_servicer_functions=["ray_service.add_service"]),
    )
    serve.run(Classifier.bind(sys.argv[1], int(sys.argv[2])))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(ray.shutdown()))
    signal.pause()


if __name__ == "__main__":
    main()
