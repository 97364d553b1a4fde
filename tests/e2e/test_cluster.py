"""A training as a Job of a cluster: the very command line of its pod, run on this machine in the kubelet's place."""

from __future__ import annotations

import asyncio
from pathlib import Path

import kmock

from fake_cluster import NAMESPACE, FakeCluster
from kubelet import Kubelet

from .conftest import House


async def test_a_training_of_two_processes(house: House, digits: Path, tmp_path: Path) -> None:
    folder = tmp_path / "two"
    for label in "01":
        (folder / label).mkdir(parents=True)
        for picture in sorted((digits / label).iterdir())[:20]:
            (folder / label / picture.name).symlink_to(picture)
    async with FakeCluster() as cluster, kmock.Server(cluster):
        kubelet = Kubelet(cluster, tmp_path / "node")
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
