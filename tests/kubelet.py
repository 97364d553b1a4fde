"""The kubelet of a cluster that the test plays: it runs the pods of each Job on this machine, by their very command line."""

from __future__ import annotations

import asyncio
import os
import sys
from itertools import chain
from pathlib import Path
from typing import Any

from eyasd.jobs.kubernetes.objects import RENDEZVOUS_PORT
from fake_cluster import JOBS, PODS, SECRETS, FakeCluster
from pods import condition, ended, running
from ports import free_port

BIN = Path(sys.executable).parent


class Kubelet:
    """Runs pods, as far as that is a matter of their command line, their environment and their Secret.

    Attributes:
        commands: of the containers, as they were asked for.
        started: how they were started here, where a folder is another one than in a container.
    """

    def __init__(self, cluster: FakeCluster, folder: Path, **environment: str) -> None:
        """Runs nothing before `work`; the environment is added to that of the pods."""
        self.cluster, self._folder, self._environment = cluster, folder, environment
        self.commands: list[list[str]] = []
        self.started: list[list[str]] = []
        self._jobs: dict[str, asyncio.Task[None]] = {}
        self._processes: dict[str, list[asyncio.subprocess.Process]] = {}

    async def work(self) -> None:
        """Runs pods, and ends those of Jobs that are deleted, until it is cancelled."""
        try:
            while True:
                for name in self.cluster.names(JOBS):
                    job = self.cluster.read(JOBS, name)
                    if job["metadata"].get("deletionTimestamp"):
                        await self._end(name)
                    elif "status" not in job and name not in self._jobs:
                        self._jobs[name] = asyncio.create_task(self._run(job))
                await asyncio.sleep(0.02)
        finally:
            for process in chain.from_iterable(self._processes.values()):
                if process.returncode is None:
                    process.kill()

    async def _end(self, name: str) -> None:
        """Ends the pods of a Job, and then the Job."""
        for process in self._processes.pop(name, []):
            if process.returncode is None:
                process.terminate()
            await process.wait()
        if (work := self._jobs.get(name)) is not None:
            work.cancel()
        for pod in self.cluster.names(PODS):
            if self.cluster.read(PODS, pod)["metadata"]["labels"]["batch.kubernetes.io/job-name"] == name:
                await self.cluster.remove(PODS, pod)
        await self.cluster.remove(JOBS, name)

    async def _run(self, job: dict[str, Any]) -> None:
        name = job["metadata"]["name"]
        await self.cluster.put(JOBS, {"metadata": {"name": name}, "status": {"active": 1}})
        # In a cluster it is known by its name.
        meeting = {f"{name}-0.{name}:{RENDEZVOUS_PORT}": f"127.0.0.1:{free_port()}"}
        pods = (self._pod(job, {**meeting, "$(JOB_COMPLETION_INDEX)": str(i)}, f"{name}-{i}") for i in range(_pods(job)))
        codes = await asyncio.gather(*pods)
        conditions = [condition("Failed" if any(codes) else "Complete")]
        await self.cluster.put(JOBS, {"metadata": {"name": name}, "status": {"active": 0, "conditions": conditions}})

    async def _pod(self, job: dict[str, Any], words: dict[str, str], name: str) -> int:
        """Runs a pod to its end; returns its exit status."""
        labels = {"batch.kubernetes.io/job-name": job["metadata"]["name"]}
        pod = job["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        folders = await self._mount(pod, container, self._folder / name)
        await self._put(running(name), labels)
        self.commands.append(container["command"])
        self.started.append([words.get(word, _here(word, folders)) for word in container["command"]])
        program, *arguments = self.started[-1]
        environment = {**os.environ, **{one["name"]: one["value"] for one in container["env"]}, "GLOO_SOCKET_IFNAME": "lo"}
        environment |= self._environment
        process = await asyncio.create_subprocess_exec(
            BIN / program, *arguments, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        self._processes.setdefault(job["metadata"]["name"], []).append(process)
        said, _ = await process.communicate()
        self.cluster.log = said.decode()
        await self._put(ended(process.returncode or 0, name=name), labels)
        return process.returncode or 0

    async def _mount(self, pod: dict[str, Any], container: dict[str, Any], node: Path) -> dict[str, Path]:
        """Returns where the folders of a pod are here, by where they are in its container; claims are in the same place."""
        paths = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        folders = {path: Path(path) for path in paths.values()}
        for volume in pod["volumes"]:
            folder = node / volume["name"]
            if "emptyDir" in volume:
                folder.mkdir(parents=True, exist_ok=True)
            elif "secret" in volume:
                while (secret := volume["secret"]["secretName"]) not in self.cluster.names(SECRETS):
                    await asyncio.sleep(0.01)
                folder.mkdir(parents=True)
                for key, value in self.cluster.read(SECRETS, secret)["stringData"].items():
                    (folder / key).write_text(value)
            else:
                continue
            folders[paths[volume["name"]]] = folder
        return folders

    async def _put(self, pod: dict[str, Any], labels: dict[str, str]) -> None:
        await self.cluster.put(PODS, {**pod, "metadata": {**pod["metadata"], "labels": labels}})


def _pods(job: dict[str, Any]) -> int:
    return int(job["spec"]["parallelism"])


def _here(word: str, folders: dict[str, Path]) -> str:
    for there in sorted(folders, key=len, reverse=True):
        if word.startswith(f"{there}/"):
            return f"{folders[there]}{word.removeprefix(there)}"
    return word
