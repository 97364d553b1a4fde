"""What the benchmarks share: a daemon of their own, and a line that says where and when they ran."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc


@dataclass(frozen=True)
class Daemon:
    """A running daemon.

    Attributes:
        address: of its gRPC server.
        pid: of its process.
        seconds_to_serving: from the start of the process to the first SERVING.
    """

    address: str
    pid: int
    seconds_to_serving: float

    def memory_mib(self) -> float:
        """Returns the resident memory of its process."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS"))


@contextmanager
def daemon(
    role: str,
    data_dir: Path,
    *,
    cores: str | None = None,
    settings: Mapping[str, str] | None = None,
    port: int | None = None,
    program: Sequence[str] = ("-m", "eyasd"),
    metrics_port: int = 0,
) -> Iterator[Daemon]:
    """Starts `eyasd ROLE`, on a port of its own or `port`, on cores such as 0 or 0-3 if asked, and stops it at the end."""
    port = port or free_port()
    command = [
        sys.executable,
        *program,
        role,
        "--data-dir",
        str(data_dir),
        "--listen",
        f"127.0.0.1:{port}",
        "--metrics-port",
        str(metrics_port),
    ]
    if cores is not None:
        command = ["taskset", "-c", cores, *command]
    environment = os.environ | {"EYASD_API__LAME_DUCK_SECONDS": "0", "EYASD_TELEMETRY__LOG_LEVEL": "WARNING"} | dict(settings or {})
    start = time.perf_counter()
    with subprocess.Popen(command, env=environment) as process:
        try:
            _await_serving(f"127.0.0.1:{port}", process)
            yield Daemon(f"127.0.0.1:{port}", process.pid, time.perf_counter() - start)
        finally:
            process.terminate()


def _await_serving(address: str, process: subprocess.Popen[bytes]) -> None:
    with grpc.insecure_channel(
        address, options=[("grpc.initial_reconnect_backoff_ms", 20), ("grpc.max_reconnect_backoff_ms", 20)]
    ) as channel:
        while process.poll() is None:
            try:
                answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=1)
            except grpc.RpcError:
                answer = None
            if answer is not None and answer.status == health_pb2.HealthCheckResponse.SERVING:
                return
            time.sleep(0.005)
    sys.exit("The daemon ended before it served.")


def free_port() -> int:
    """Returns a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def describe() -> str:
    """Returns date, processor, cores, GPU and the versions that matter."""
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "CPU"
    )
    gpus = [
        path.read_text().split("Model:")[1].splitlines()[0].strip()
        for path in Path("/proc/driver/nvidia/gpus").glob("*/information")
    ]
    hardware = ", ".join([f"{len(os.sched_getaffinity(0))} cores of {model}", *gpus])
    return f"{datetime.now(UTC):%Y-%m-%d}, {hardware}, Python {platform.python_version()}"


def scratch() -> tempfile.TemporaryDirectory[str]:
    """Returns a folder that is removed at the end."""
    return tempfile.TemporaryDirectory(prefix="eyas-bench-")
