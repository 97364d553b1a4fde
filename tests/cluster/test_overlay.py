"""Eyas in a real cluster: it may do what it must, trains, serves, and loses no call while its pods are replaced."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eyasd.jobs.kubernetes.rights import RIGHTS, RIGHTS_APART

from .conftest import SERVERS, SMALL, Cluster, eyas, until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]

LOAD = Path(__file__).with_name("load.py").read_text()


def rights(cluster: Cluster, account: str) -> dict[tuple[str, str], set[str]]:
    """Returns the verbs that a service account has, by API group and resource."""
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": cluster.namespace}}
    said = cluster.post("/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", review, account).stdout
    found: dict[tuple[str, str], set[str]] = {}
    for rule in json.loads(said)["status"]["resourceRules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                found.setdefault((group, resource), set()).update(rule["verbs"])
    return found


def test_accounts_may_do_what_they_must_and_nothing_else(cluster: Cluster) -> None:
    everybody = rights(cluster, "nobody")
    stores = any(secret for secret in RIGHTS_APART if secret in rights(cluster, "eyas-trainer"))
    wanted = {what: set(verbs) for what, verbs in (RIGHTS | (RIGHTS_APART if stores else {})).items()}
    assert rights(cluster, "eyas-trainer") == everybody | wanted
    assert rights(cluster, "eyas-server") == rights(cluster, "eyas-job") == everybody


def test_a_training_is_a_job_of_the_cluster(cluster: Cluster, model: str) -> None:
    (job,) = cluster.json("get", "jobs", "--selector", "app.kubernetes.io/component=training")["items"]
    assert job["status"]["succeeded"] == 1
    (pod,) = cluster.pods(f"job-name={job['metadata']['name']}")
    assert pod["spec"]["serviceAccountName"] == "eyas-job"
    assert "kube-api-access" not in json.dumps(pod["spec"]["volumes"])


def test_a_server_answers(cluster: Cluster, model: str, pictures: Path) -> None:
    with cluster.forwarded("service/eyas-server") as server:
        (said,) = eyas(server, "classify", model, pictures / "red/000.png", "--top-k", "2")["results"]
    assert said["version"] == f"{model}/1"
    assert {one["label"] for one in said["predictions"]} == {"red", "blue"}


def test_a_job_that_is_cancelled_leaves_the_cluster(cluster: Cluster, pictures: Path) -> None:
    with cluster.forwarded("service/eyas-trainer") as trainer:
        asked = ("train", pictures, "--model", "never", "--upload", *SMALL, "--set", "epochs=1000", "--no-wait")
        job = eyas(trainer, *asked)["id"]
        until(lambda: any(pod["status"]["phase"] == "Running" for pod in cluster.pods(f"eyas/job={job}")))
        eyas(trainer, "jobs", "cancel", job)
        until(lambda: not cluster.pods(f"eyas/job={job}"))
        assert not cluster.json("get", "jobs", "--selector", f"eyas/job={job}")["items"]


class Load:
    """Callers in the cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def said(self) -> dict[str, Any]:
        """Returns how many calls were answered until now, and why others failed."""
        lines = self._cluster.kubectl("logs", "load", "--tail=5", check=False).stdout.splitlines()
        said = [json.loads(line) for line in lines if line.startswith("{")]
        return said[-1] if said else {"answered": 0, "failed": {}}

    def goes_on(self) -> None:
        """Waits until many more calls were answered; none may have failed."""
        seen = self.said()["answered"]
        until(lambda: self.said()["answered"] > seen + 100)
        assert self.said()["failed"] == {}


@pytest.fixture
def load(cluster: Cluster, model: str) -> Iterator[Load]:
    (server, *_) = cluster.pods(SERVERS)
    pods = server["spec"]
    container = {
        "name": "load",
        "image": pods["containers"][0]["image"],
        "command": ["python", "-c", LOAD, "dns:///eyas-server-headless:50051", model],
        "securityContext": pods["containers"][0]["securityContext"],
    }
    spec = {"containers": [container], "securityContext": pods["securityContext"], "automountServiceAccountToken": False}
    named = {"name": "load", "labels": {"eyas-test": "load"}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": named, "spec": spec}
    # Pods that are not described may speak to nobody.
    out = {"podSelector": {"matchLabels": named["labels"]}, "policyTypes": ["Egress"], "egress": [{}]}
    policy = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": named, "spec": out}
    cluster.kubectl("apply", "--filename", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": [policy, pod]}))
    made = Load(cluster)
    made.goes_on()
    yield made
    cluster.kubectl("delete", "pod/load", "networkpolicy/load", "--grace-period=1")


def test_no_call_is_lost_while_servers_are_replaced(cluster: Cluster, load: Load) -> None:
    before = {pod["metadata"]["name"] for pod in cluster.pods(SERVERS)}
    cluster.kubectl("rollout", "restart", "deployment/eyas-server")
    cluster.kubectl("rollout", "status", "deployment/eyas-server", "--timeout=600s")
    until(lambda: before.isdisjoint(pod["metadata"]["name"] for pod in cluster.pods(SERVERS)))
    load.goes_on()


def test_no_call_is_lost_while_a_node_is_drained(cluster: Cluster, load: Load) -> None:
    first, second, *_ = (pod["metadata"]["name"] for pod in cluster.pods(SERVERS))
    assert evicted(cluster, first)
    assert not evicted(cluster, second)  # one at a time
    until(lambda: evicted(cluster, second), 600)
    until(lambda: not {first, second} & {pod["metadata"]["name"] for pod in cluster.pods(SERVERS)})
    load.goes_on()


def evicted(cluster: Cluster, pod: str) -> bool:
    """Has a pod evicted, as a drain has it; returns whether that is allowed now."""
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": cluster.namespace}}
    done = cluster.post(f"/api/v1/namespaces/{cluster.namespace}/pods/{pod}/eviction", eviction, check=False)
    assert done.returncode == 0 or "disruption budget" in done.stderr, done.stderr
    return done.returncode == 0
