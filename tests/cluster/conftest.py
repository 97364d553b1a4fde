"""A cluster that the environment names, and Eyas in a namespace of its own there, as an overlay has it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest

from builders import write_pictures
from ports import free_port

REPOSITORY: Final = Path(__file__).parents[2]
# The image of the trainer knows no weights here, and the cluster may have no way to any.
SMALL: Final = ("--backbone", "test_resnet", "--set", "pretrained=false", "--set", "image_size_px=32")
SERVERS: Final = "app.kubernetes.io/name=eyas,app.kubernetes.io/component=server"
_READY_SECONDS: Final = 900


class Cluster:
    """What is asked of the cluster, all of it in one namespace.

    Attributes:
        namespace: of the test alone.
    """

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def kubectl(self, *arguments: str | Path, stdin: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        command = [*self._command, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, input=stdin, timeout=_READY_SECONDS, check=False)
        assert not check or done.returncode == 0, f"{done.args}\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, *arguments: str) -> Any:
        return json.loads(self.kubectl(*arguments, "--output", "json").stdout)

    def post(self, path: str, body: dict[str, Any], account: str = "", *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Posts an object to the API server, in the name of a service account if one is named."""
        name = ("--as", f"system:serviceaccount:{self.namespace}:{account}") if account else ()
        return self.kubectl("create", "--raw", path, *name, "--filename", "-", stdin=json.dumps(body), check=check)

    def pods(self, selector: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.json("get", "pods", "--selector", selector)["items"]
        return found

    @contextmanager
    def forwarded(self, to: str) -> Iterator[str]:
        """Yields an address on this machine that leads to a pod, or to one behind a Service."""
        port = free_port()
        with subprocess.Popen([*self._command, "port-forward", to, f"{port}:50051"], stdout=subprocess.PIPE) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline(), "kubectl says why above"  # when it listens
                yield f"127.0.0.1:{port}"
            finally:
                process.terminate()

    @property
    def _command(self) -> list[str]:
        return ["kubectl", "--kubeconfig", os.environ["EYAS_TEST_KUBECONFIG"], "--namespace", self.namespace]


def eyas(address: str, *arguments: str | Path) -> Any:
    """Runs the command; returns the JSON document that it printed."""
    command = [Path(sys.executable).with_name("eyas"), "--address", address, "--json", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_READY_SECONDS, check=False)
    assert done.returncode == 0, f"{done.args}\n{done.stdout}\n{done.stderr}"
    return json.loads(done.stdout) if done.stdout else None


def until(holds: Callable[[], Any], seconds: float = 120) -> Any:
    """Returns what is true in the end, which is asked again until it is."""
    deadline = time.monotonic() + seconds
    while not (seen := holds()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.5)
    return seen


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The cluster, with Eyas in it that has rolled out."""
    made = Cluster(f"eyas-test-{uuid4().hex[:8]}")
    overlay = REPOSITORY / (os.environ.get("EYAS_TEST_OVERLAY") or "k8s/overlays/cpu")
    folder = tmp_path_factory.mktemp("overlay")
    bases = json.dumps([os.path.relpath(overlay, folder.resolve())])
    (folder / "kustomization.yaml").write_text(f"namespace: {made.namespace}\nresources: {bases}\n")
    applied = made.kubectl("apply", "--kustomize", folder).stdout.splitlines()
    # What belongs to the whole cluster stays, if it was there before.
    wide = [line.split()[0] for line in applied if line.startswith("priorityclass") and line.endswith(" created")]
    try:
        for one in made.json("get", "deployments")["items"]:
            made.kubectl("rollout", "status", f"deployment/{one['metadata']['name']}", f"--timeout={_READY_SECONDS - 100}s")
        yield made
    finally:
        made.kubectl("delete", "namespace", made.namespace, "--timeout=300s")
        for one in wide:
            made.kubectl("delete", one)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders of two colours."""
    return write_pictures(tmp_path_factory.mktemp("pictures"), {"red": 30, "blue": 30})


@pytest.fixture(scope="session")
def model(cluster: Cluster, pictures: Path) -> str:
    """Name of a model that was trained in the cluster, and is served."""
    with cluster.forwarded("service/eyas-trainer") as trainer:
        trained = eyas(trainer, "train", pictures, "--model", "colours", "--upload", *SMALL, "--set", "epochs=1")
    assert trained["state"] == "succeeded", trained
    for pod in cluster.pods(SERVERS):  # each finds it by itself
        with cluster.forwarded(f"pod/{pod['metadata']['name']}") as server:
            until(lambda: any(one["name"] == "colours" for one in eyas(server, "models")["models"]))
    return "colours"
