"""A Deployment of `eyasd server` in miniature: its pods are processes of this machine, each with an address of its own.

They come and go in the order that Kubernetes keeps to. A pod is found by callers once its readiness probe succeeds; one that is to
go is told so, and taken from those that are found, at the same moment, of which callers hear later than the pod.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

EYASD = Path(sys.executable).parent / "eyasd"
_numbers = itertools.count(2)  # a pod's address is never given to another one


@dataclass(frozen=True)
class Steps:
    """What manifests and cluster say of how pods come and go, in seconds.

    Attributes:
        probe: between two looks of the readiness probe.
        min_ready: how long a new pod is ready before an old one goes (`minReadySeconds`).
        news: until callers hear of a pod that has come or goes.
        termination_grace: until a pod that was told to go is killed (`terminationGracePeriodSeconds`).
    """

    probe: float = 1.0
    min_ready: float = 0.0
    news: float = 1.0
    termination_grace: float = 60.0


@dataclass
class Pod:
    """A server.

    Attributes:
        ip: its address.
        process: that runs it.
    """

    ip: str
    process: asyncio.subprocess.Process


@dataclass
class Deployment:
    """Pods that are replaced one at a time, a new one first: `maxSurge: 1`, `maxUnavailable: 0`.

    Attributes:
        data_dir: of all pods.
        port: of their gRPC servers.
        hears: is told of the addresses at which pods are to be found.
        steps: how they come and go.
        environment: of the pods.
        http_port: of their HTTP doors, if they are to have one.
        log: where they write.
        pods: that are to stay, oldest first.
    """

    data_dir: Path
    port: int
    hears: Callable[[Sequence[str]], None]
    steps: Steps = Steps()
    environment: Mapping[str, str] = field(default_factory=dict)
    http_port: int | None = None
    log: Path = Path(os.devnull)
    pods: list[Pod] = field(default_factory=list)
    _started: list[Pod] = field(default_factory=list)  # all that there ever were
    _ends: set[asyncio.Task[None]] = field(default_factory=set)
    _exits: list[int] = field(default_factory=list)

    async def scale(self, replicas: int) -> None:
        """Starts pods, or ends the newest, and returns when there are so many."""
        if replicas > len(self.pods):
            started = [await self._start() for _ in range(replicas - len(self.pods))]
            await asyncio.gather(*map(self._await_ready, started))
            self.pods += started
            self._tell()
        for pod in self.pods[replicas:]:
            self._end(pod, signal.SIGTERM)

    async def roll(self) -> None:
        """Replaces every pod."""
        for old in list(self.pods):
            new = await self._start()
            await self._await_ready(new)
            self.pods.append(new)
            self._tell()
            await asyncio.sleep(self.steps.min_ready)
            self._end(old, signal.SIGTERM)

    async def replace_without_drain(self) -> None:
        """Does what must not be done: kills every pod without a word, one after the other, before there is another in its place."""
        for old in list(self.pods):
            self._end(old, signal.SIGKILL)
            new = await self._start()
            await self._await_ready(new)
            self.pods.append(new)
            self._tell()

    async def settle(self) -> list[int]:
        """Waits until the pods that are to go have gone; returns the exit status of all that have gone so far."""
        while self._ends:
            await asyncio.gather(*self._ends)
        return list(self._exits)

    async def close(self) -> None:
        """Kills what is left, also of pods that never were ready."""
        for pod in self._started:
            if pod.process.returncode is None:
                pod.process.kill()
                await pod.process.wait()
        await self.settle()

    async def _start(self) -> Pod:
        number = next(_numbers)
        ip = f"127.1.{number // 250}.{number % 250 + 1}"
        command = ["server", "--data-dir", self.data_dir, "--listen", f"{ip}:{self.port}"]
        settings = dict(self.environment) | {"EYASD_TELEMETRY__METRICS_LISTEN": f"{ip}:0"}
        if self.http_port is not None:
            settings["EYASD_API__HTTP_LISTEN"] = f"{ip}:{self.http_port}"
        with self.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(EYASD, *command, env=os.environ | settings, stderr=log)
        pod = Pod(ip, process)
        self._started.append(pod)
        return pod

    async def _await_ready(self, pod: Pod) -> None:
        options = [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 50)]
        async with grpc.aio.insecure_channel(f"{pod.ip}:{self.port}", options=options) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            while pod.process.returncode is None:
                try:
                    answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=1)
                except grpc.RpcError:
                    answer = None
                if answer is not None and answer.status == health_pb2.HealthCheckResponse.SERVING:
                    return
                await asyncio.sleep(self.steps.probe)
        raise RuntimeError(f"A pod ended with {pod.process.returncode} before it was ready.")

    def _end(self, pod: Pod, how: signal.Signals) -> None:
        self.pods.remove(pod)
        self._tell()
        task = asyncio.create_task(self._see_off(pod, how))
        self._ends.add(task)
        task.add_done_callback(self._ends.discard)

    async def _see_off(self, pod: Pod, how: signal.Signals) -> None:
        pod.process.send_signal(how)
        try:
            code = await asyncio.wait_for(pod.process.wait(), self.steps.termination_grace)
        except TimeoutError:
            pod.process.kill()
            code = await pod.process.wait()
        self._exits.append(code)

    def _tell(self) -> None:
        addresses = [pod.ip for pod in self.pods]
        asyncio.get_running_loop().call_later(self.steps.news, self.hears, addresses)
