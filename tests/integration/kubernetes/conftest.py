"""A cluster whose controllers the tests play, and a runner that speaks to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import kmock
import pytest
import structlog

from eyasd.jobs.kubernetes import api
from eyasd.jobs.kubernetes.api import Access, Cluster
from eyasd.jobs.kubernetes.objects import Apart, PodOptions
from eyasd.jobs.kubernetes.runner import KubernetesProcess, KubernetesRunner
from eyasd.jobs.permits import Permits
from eyasd.jobs.runner import Ending, Launch
from fake_cluster import JOBS, NAMESPACE, PODS, FakeCluster
from pods import condition
from waits import until

OPTIONS = PodOptions(namespace=NAMESPACE, image="eyas-trainer:1", volumes={"/data": "data"})
APART = replace(OPTIONS, volumes={}, apart=Apart(store="s3://photos/jobs", trainer="eyas.ml:50051"))
PERMITS = Permits(b"a key")
NAME = "eyas-j1-1"


class House:
    """A cluster, and a runner that speaks to it."""

    def __init__(self, cluster: FakeCluster, folder: Path, log: structlog.typing.FilteringBoundLogger) -> None:
        self.cluster = cluster
        self.client = Cluster(Access(str(cluster.url).rstrip("/")))
        self.launch = Launch(job="j1", attempt=1, job_dir=folder, training=True)
        self.options = OPTIONS
        self._log = log

    async def start(self) -> tuple[KubernetesProcess, asyncio.Task[Ending]]:
        process = await KubernetesRunner(self.client, self.options, PERMITS, self._log).start(self.launch)
        return process, asyncio.create_task(process.wait())

    async def attach(self) -> tuple[KubernetesProcess, asyncio.Task[Ending]]:
        process = await KubernetesRunner(self.client, self.options, PERMITS, self._log).attach(self.launch)
        assert process is not None
        return process, asyncio.create_task(process.wait())

    async def made(self, name: str = NAME) -> None:
        await until(lambda: name in self.cluster.names(JOBS))

    async def pod(self, pod: dict[str, object], job: str = NAME) -> None:
        """Has the Job's pod be so."""
        labelled = {**pod, "metadata": {**pod["metadata"], "labels": {"batch.kubernetes.io/job-name": job}}}  # type: ignore[dict-item]
        await self.cluster.put(PODS, labelled)

    async def succeed(self, job: str = NAME) -> None:
        await self.finish("Complete", job=job, succeeded=1)

    async def finish(self, kind: str, *, job: str = NAME, reason: str = "", **status: int) -> None:
        conditions = [condition(kind, reason=reason, message="")]
        await self.cluster.put(JOBS, {"metadata": {"name": job}, "status": {"conditions": conditions, "active": 0, **status}})

    async def end_foreground(self, job: str = NAME) -> None:
        """Ends the pods of a Job that is being deleted, and then the Job."""
        await until(lambda: self.cluster.read(JOBS, job)["metadata"].get("deletionTimestamp"))
        for pod in self.cluster.names(PODS):
            if self.cluster.read(PODS, pod)["metadata"]["labels"]["batch.kubernetes.io/job-name"] == job:
                await self.cluster.remove(PODS, pod)
        await self.cluster.remove(JOBS, job)


@pytest.fixture
async def house(
    tmp_path: Path, log: structlog.typing.FilteringBoundLogger, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[House]:
    monkeypatch.setattr(api, "_FIRST_PAUSE_SECONDS", 0.01)
    async with FakeCluster() as cluster, kmock.Server(cluster):
        made = House(cluster, tmp_path, log)
        yield made
        await made.client.close()
        cluster.drop_watches()
