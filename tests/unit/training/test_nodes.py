"""One training on two nodes: it is that of one process, and a wire that is cut ends it on both, to go on later."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from eyasd.core import jobdir
from eyasd.jobs.kubernetes import objects
from eyasd.jobs.retries import Fault, fault_of
from eyasd.jobs.runner import Ending, Launch
from eyasd.jobs.words import exception
from eyasd.training.ranks import SILENCE
from eyasd.training.tuning.checkpoint import CHECKPOINT
from nodes import Cluster

from .test_ranks import ONE, assert_alike, run

SILENCE_SECONDS = 5
PROGRAM = (sys.executable, "-m", "torch.distributed.run")  # torchrun


@pytest.fixture
def launch(folder: Callable[..., Path]) -> Launch:
    return Launch(job="j1", attempt=1, job_dir=folder("several", epochs=30), training=True, devices=2)


@pytest.fixture
def cluster(launch: Launch, tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path, objects.name(launch))
    yield made
    made.end()


class Pods:
    """The pods of an attempt, with the command line that Kubernetes is given."""

    def __init__(self, launch: Launch, cluster: Cluster) -> None:
        options = objects.PodOptions(namespace="n", image="i", volumes={}, devices_per_node=1, gpu_resource="")
        command = [*PROGRAM, *objects.command(launch, options)[1:]]
        own = {SILENCE: str(SILENCE_SECONDS), "OMP_NUM_THREADS": "1"}
        self._logs = [launch.job_dir.with_name(f"{node.name}.log") for node in cluster.nodes]
        self.programs = [
            node.start([word.replace("$(JOB_COMPLETION_INDEX)", str(number)) for word in command], own, log)
            for number, (node, log) in enumerate(zip(cluster.nodes, self._logs, strict=True))
        ]

    @property
    def said(self) -> list[str]:
        return [log.read_text() for log in self._logs]

    def wait(self) -> list[int]:
        try:
            return [program.wait(150) for program in self.programs]
        except subprocess.TimeoutExpired:
            pytest.fail(str(self.said))


def test_two_nodes_train_as_one_process_whatever_becomes_of_the_wire(
    folder: Callable[..., Path], launch: Launch, cluster: Cluster
) -> None:
    several, alone = launch.job_dir, folder("alone", epochs=30)
    cluster.nodes[1].do("mount", "--bind", several, several)
    cluster.nodes[1].do("mount", "-o", "remount,bind,ro", several)  # only the first node writes
    pods = Pods(launch, cluster)
    with ThreadPoolExecutor(1) as thread:
        by_itself = thread.submit(run, ONE, alone)
        deadline = time.monotonic() + 200
        while not (several / CHECKPOINT).exists():
            assert time.monotonic() < deadline, pods.said
            time.sleep(0.005)
        cluster.cut()
        begun = time.monotonic()
        statuses = pods.wait()
        assert time.monotonic() - begun < SILENCE_SECONDS + 25  # of a busy machine's
        assert not (several / jobdir.RESULT).exists()
        for status, log in zip(statuses, pods.said, strict=True):
            words = exception(log)
            assert "The processes that train together cannot reach each other any more" in words, log
            assert fault_of(Ending(status), None, words) is Fault.MACHINE
        cluster.mend()
        pods = Pods(launch, cluster)
        assert pods.wait() == [jobdir.OK] * 2, pods.said
        assert by_itself.result().returncode == jobdir.OK, by_itself.result().stderr
    assert "Went on from the checkpoint of an earlier attempt, after epoch" in (several / jobdir.PROGRESS).read_text()
    assert_alike(alone, several)
