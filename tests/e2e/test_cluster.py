"""A training as a Job of a cluster: the very command lines of its pods, run on this machine in the kubelet's place."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import kmock

from eyasd.storage.address import open_store
from fake_cluster import NAMESPACE, FakeCluster
from kubelet import Kubelet
from waits import until, wait_until

from .conftest import House


async def test_a_training_of_two_pods_that_share_no_disk_outlives_its_trainer(
    house: House, digits: Path, tmp_path: Path, s3_address: str
) -> None:
    folder = tmp_path / "two"
    for label in "01":
        (folder / label).mkdir(parents=True)
        for picture in sorted((digits / label).iterdir())[:20]:
            shutil.copy(picture, folder / label)
    async with FakeCluster() as cluster, kmock.Server(cluster):
        kubelet = Kubelet(cluster, tmp_path / "nodes")
        working = asyncio.create_task(kubelet.work())
        settings = {
            "EYASD_KUBERNETES__IMAGE": "eyas-trainer:1",
            "EYASD_KUBERNETES__API_URL": str(cluster.url),
            "EYASD_KUBERNETES__NAMESPACE": NAMESPACE,
            "EYASD_KUBERNETES__STORE": s3_address,
            "EYASD_KUBERNETES__TRAINER": house.address,
            "EYASD_KUBERNETES__GPU_RESOURCE": "",
            "EYASD_KUBERNETES__GPUS": "2",
            "EYASD_KUBERNETES__GPUS_PER_NODE": "1",
        }
        await asyncio.to_thread(lambda: house.start("trainer", **settings))
        arguments = ("--model", "digits", "--backbone", "test_resnet", "--set", "pretrained=false", "--set", "image_size_px=32")
        arguments += ("--set", "epochs=1", "--upload")
        training = asyncio.create_task(asyncio.to_thread(house.json, "train", folder, *arguments))
        await until(lambda: len(kubelet.started) >= 2)
        # An upgrade: pods go on, and who watches the job does, too.
        assert await asyncio.to_thread(house.stop) == 0
        await asyncio.to_thread(lambda: house.start("trainer", **settings))
        trained = await training
        assert trained["state"] == "succeeded"
        assert [command[command.index("--node") + 1] for command in kubelet.started] == ["0", "1"]
        assert trained["attempt"] == 1
        watched = await asyncio.to_thread(house.eyas, "jobs", "watch", trained["id"])
        assert "evaluate, validation accuracy" in watched.stderr
        store = open_store(s3_address, tmp_path)
        await asyncio.to_thread(wait_until, lambda: not store.keys("jobs"))  # a job that has ended leaves nothing
        await asyncio.to_thread(house.stop)
        working.cancel()
