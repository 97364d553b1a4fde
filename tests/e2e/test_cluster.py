"""A training as a Job of a cluster: the very command line of its pod, run on this machine in the kubelet's place."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import kmock

from fake_cluster import JOBS, NAMESPACE, PODS, FakeCluster
from pods import condition, ended, running

from .conftest import House

BIN = Path(sys.executable).parent


class Kubelet:
    """Runs the pod of each Job, as far as that is a matter of its command line and environment."""

    def __init__(self, cluster: FakeCluster) -> None:
        self.cluster = cluster
        self.commands: list[list[str]] = []

    async def work(self) -> None:
        while True:
            for job in self.cluster.names(JOBS):
                if "status" not in self.cluster.read(JOBS, job):
                    await self._run(self.cluster.read(JOBS, job))
            await asyncio.sleep(0.02)

    async def _run(self, job: dict[str, Any]) -> None:
        name = job["metadata"]["name"]
        labels = {"batch.kubernetes.io/job-name": name}
        (container,) = job["spec"]["template"]["spec"]["containers"]
        await self.cluster.put(JOBS, {"metadata": {"name": name}, "status": {"active": 1}})
        await self._put(running(), labels)
        program, *arguments = container["command"]
        self.commands.append(container["command"])
        environment = {**os.environ, **{one["name"]: one["value"] for one in container["env"]}}
        process = await asyncio.create_subprocess_exec(
            BIN / program, *arguments, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        said, _ = await process.communicate()
        self.cluster.log = said.decode()
        await self._put(ended(process.returncode or 0), labels)
        conditions = [condition("Failed" if process.returncode else "Complete")]
        await self.cluster.put(JOBS, {"metadata": {"name": name}, "status": {"active": 0, "conditions": conditions}})

    async def _put(self, pod: dict[str, Any], labels: dict[str, str]) -> None:
        await self.cluster.put(PODS, {**pod, "metadata": {**pod["metadata"], "labels": labels}})


async def test_a_training_of_two_processes(house: House, digits: Path, tmp_path: Path) -> None:
    folder = tmp_path / "two"
    for label in "01":
        (folder / label).mkdir(parents=True)
        for picture in sorted((digits / label).iterdir())[:20]:
            (folder / label / picture.name).symlink_to(picture)
    async with FakeCluster() as cluster, kmock.Server(cluster):
        kubelet = Kubelet(cluster)
        working = asyncio.create_task(kubelet.work())
        settings = {
            "EYASD_KUBERNETES__IMAGE": "eyas-trainer:1",
            "EYASD_KUBERNETES__API_URL": str(cluster.url),
            "EYASD_KUBERNETES__NAMESPACE": NAMESPACE,
            "EYASD_KUBERNETES__VOLUMES": f'{{"{house.data_dir}": "eyas-data"}}',
            "EYASD_KUBERNETES__GPU_RESOURCE": "",
            "EYASD_KUBERNETES__GPUS": "2",
        }
        await asyncio.to_thread(lambda: house.start("trainer", **settings))
        arguments = ("--model", "digits", "--backbone", "test_resnet", "--set", "pretrained=false", "--set", "image_size_px=32")
        arguments += ("--set", "epochs=1")
        trained = await asyncio.to_thread(house.json, "train", folder, *arguments)
        assert trained["state"] == "succeeded"
        job = trained["id"]
        assert kubelet.commands[0] == [
            "torchrun",
            "--standalone",
            "--nproc-per-node=2",
            "-m",
            "eyasd.training",
            str(house.data_dir / "jobs" / job),
        ]
        await asyncio.to_thread(house.stop)
        working.cancel()
