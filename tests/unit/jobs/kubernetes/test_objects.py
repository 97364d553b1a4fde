"""jobs.kubernetes.objects: what a cluster is asked for, proven by Kubernetes' own schemas."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from eyasd.core import jobdir
from eyasd.jobs.kubernetes import objects
from eyasd.jobs.kubernetes.objects import Apart, Object, PodOptions
from eyasd.jobs.runner import Launch

LAUNCH = Launch(job="4f0c2a91de", attempt=3, job_dir=Path("/var/lib/eyas/jobs/4f0c2a91de"), training=True)
PLAIN = PodOptions(namespace="ml", image="registry.example/eyas-trainer:1", volumes={"/var/lib/eyas": "eyas-data"})
FULL = replace(
    PLAIN,
    volumes={"/var/lib/eyas": "eyas-data", "/photos": "photos"},
    devices=16,
    cpu="4",
    memory="64Gi",
    node_selector={"cloud.example/gpu": "h100"},
    tolerations=({"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},),
    service_account="eyas-trainer",
    pull_secrets=("registry",),
    queue="research",
    priority_class="eyas-training",
    runtime_class="nvidia",
    environment={"NCCL_SOCKET_IFNAME": "eth0"},
    time_limit_seconds=3600.5,
)
APART = replace(
    FULL,
    volumes={},
    secrets=("s3-key",),
    apart=Apart(store="s3://photos/jobs", trainer="eyas.ml:50051", tls=True, authority="-----BEGIN CERTIFICATE-----"),
)
MADE = {"metadata": {"name": "eyas-4f0c2a91de-3", "uid": "0b2f"}}


def made(launch: Launch, options: PodOptions) -> list[Object]:
    every = objects.job(launch, options), objects.service(launch, options, MADE), objects.secret(launch, options, MADE, "a token")
    return [one for one in every if one is not None]


def pod_of(job: Object) -> Object:
    found: Object = job["spec"]["template"]["spec"]
    return found


@pytest.mark.parametrize("version", ["1.31", "1.36"])
@pytest.mark.parametrize("options", [PLAIN, replace(PLAIN, devices=0), replace(PLAIN, devices=8), FULL, APART])
def test_every_object_keeps_kubernetes_own_schema_strictly(options: PodOptions, version: str) -> None:
    for one in made(LAUNCH, options):
        assert kubernetes_validate.validate(one, version, strict=True) == version


def test_a_schema_would_see_a_field_that_there_is_not() -> None:
    job = objects.job(LAUNCH, PLAIN)
    pod_of(job)["containers"][0]["resource"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="resource"):
        kubernetes_validate.validate(job, "1.36", strict=True)


def test_the_same_attempt_has_the_same_name_and_another_one_another() -> None:
    assert objects.name(LAUNCH) == "eyas-4f0c2a91de-3"
    assert objects.job(LAUNCH, FULL) == objects.job(replace(LAUNCH), replace(FULL))
    assert objects.name(replace(LAUNCH, attempt=4)) == "eyas-4f0c2a91de-4"


@pytest.mark.parametrize(
    ("training", "devices", "gpus", "per_node", "expected"),
    [
        (True, 0, 1, 8, (1, 1)),
        (True, 0, 8, 8, (1, 8)),
        (True, 0, 16, 8, (2, 8)),
        (True, 0, 9, 8, (2, 5)),  # all pods are alike
        (True, 4, 1, 8, (1, 4)),  # as the job wants
        (True, 0, 0, 8, (1, 0)),
        (False, 4, 8, 8, (1, 1)),
        (False, 0, 0, 8, (1, 0)),
    ],
)
def test_pods_and_their_devices(training: bool, devices: int, gpus: int, per_node: int, expected: tuple[int, int]) -> None:
    options = replace(PLAIN, devices=gpus, devices_per_node=per_node)
    assert objects.layout(replace(LAUNCH, training=training, devices=devices), options) == expected


def test_one_process_is_the_program_itself_whose_exit_status_is_seen() -> None:
    program = ["python", "-m", "eyasd.training", "/var/lib/eyas/jobs/4f0c2a91de"]
    assert [objects.command(LAUNCH, replace(PLAIN, devices=devices)) for devices in (0, 1)] == [program, program]
    assert objects.command(replace(LAUNCH, training=False), replace(PLAIN, devices=16)) == program


def test_several_processes_of_one_pod_are_torchruns() -> None:
    assert objects.command(LAUNCH, replace(PLAIN, devices=8)) == [
        "torchrun",
        "--standalone",
        "--nproc-per-node=8",
        "-m",
        "eyasd.training",
        "/var/lib/eyas/jobs/4f0c2a91de",
    ]


def test_pods_on_several_nodes_meet_at_the_first_by_its_name() -> None:
    job, service = made(LAUNCH, FULL)
    assert " ".join(pod_of(job)["containers"][0]["command"]) == (
        "torchrun --nnodes=2 --node-rank=$(JOB_COMPLETION_INDEX) --rdzv-backend=static "
        "--rdzv-endpoint=eyas-4f0c2a91de-3-0.eyas-4f0c2a91de-3:29500 --rdzv-id=eyas-4f0c2a91de-3 --rdzv-conf=timeout=1800 "
        "--nproc-per-node=8 -m eyasd.training /var/lib/eyas/jobs/4f0c2a91de"
    )
    spec = job["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 2, 2)
    assert pod_of(job)["subdomain"] == service["metadata"]["name"] == objects.name(LAUNCH)
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"]
    assert service["spec"]["selector"] == {"batch.kubernetes.io/job-name": objects.name(LAUNCH)}
    # It goes with the Job, which nobody has to see to.
    assert service["metadata"]["ownerReferences"] == [{"apiVersion": "batch/v1", "kind": "Job", **MADE["metadata"]}]
    assert objects.service(LAUNCH, PLAIN, MADE) is None


def test_a_disruption_is_no_failure_a_wrong_request_is_final_and_two_pods_never_overlap() -> None:
    spec = objects.job(LAUNCH, PLAIN)["spec"]
    final, disrupted = spec["podFailurePolicy"]["rules"]
    assert final == {
        "action": "FailJob",
        "onExitCodes": {"containerName": "trainer", "operator": "In", "values": [jobdir.USER_ERROR]},
    }
    assert disrupted == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    assert (spec["podReplacementPolicy"], spec["backoffLimit"]) == ("Failed", 0)
    assert pod_of(objects.job(LAUNCH, PLAIN))["restartPolicy"] == "Never"


def test_pods_apart_are_told_where_their_work_is_and_whom_to_report_to() -> None:
    alone = replace(PLAIN, apart=Apart(store="s3://photos/jobs", trainer="eyas.ml:50051"))
    assert " ".join(objects.command(LAUNCH, alone)) == (
        "python -m eyasd.pod --trainer eyas.ml:50051 --token /var/run/eyas/token --store s3://photos/jobs --job 4f0c2a91de "
        "--attempt 3 --scratch /tmp/job --grace 60"
    )
    assert "--tls" in objects.command(LAUNCH, replace(alone, apart=Apart(store="s3://photos", trainer="eyas.ml:50051", tls=True)))
    job, service, _ = made(LAUNCH, APART)
    assert " ".join(pod_of(job)["containers"][0]["command"]).endswith(
        " --ca /var/run/eyas/ca.crt --store s3://photos/jobs --job 4f0c2a91de --attempt 3 --scratch /tmp/job --grace 60 "
        "--processes 8 --nodes 2 --node $(JOB_COMPLETION_INDEX) --meeting eyas-4f0c2a91de-3-0.eyas-4f0c2a91de-3:29500"
    )
    assert pod_of(job)["subdomain"] == service["metadata"]["name"]
    assert pod_of(job)["terminationGracePeriodSeconds"] == 60  # half of it to hand over what the program has written


def test_what_is_secret_is_in_secrets_alone() -> None:
    job, _, secret = made(LAUNCH, APART)
    assert secret["stringData"] == {"token": "a token", "ca.crt": "-----BEGIN CERTIFICATE-----"}
    assert secret["metadata"]["ownerReferences"] == [{"apiVersion": "batch/v1", "kind": "Job", **MADE["metadata"]}]
    assert "a token" not in str(job)
    (container,) = pod_of(job)["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": "s3-key"}}]
    # Mounted, not a variable: where it is not there yet, the pod waits.
    assert pod_of(job)["volumes"][-1] == {"name": "report", "secret": {"secretName": "eyas-4f0c2a91de-3", "defaultMode": 0o440}}
    assert container["volumeMounts"][-1] == {"name": "report", "mountPath": "/var/run/eyas", "readOnly": True}
    assert objects.secret(LAUNCH, PLAIN, MADE, "a token") is None


def test_what_the_settings_say_reaches_the_pod() -> None:
    job = objects.job(replace(LAUNCH, owner="ann@example.com"), FULL)
    labels, pod = job["metadata"]["labels"], pod_of(job)
    (container,) = pod["containers"]
    assert container["resources"] == {
        "limits": {"nvidia.com/gpu": "8", "memory": "64Gi"},
        "requests": {"nvidia.com/gpu": "8", "memory": "64Gi", "cpu": "4"},
    }
    mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
    assert mounts == ["/dev/shm", "/tmp", "/var/lib/eyas", "/photos"]  # noqa: S108 -- paths in the container
    assert {"name": "NCCL_SOCKET_IFNAME", "value": "eth0"} in container["env"]
    assert pod["volumes"][0]["emptyDir"] == {"medium": "Memory", "sizeLimit": str(1 << 30)}
    assert [one["persistentVolumeClaim"]["claimName"] for one in pod["volumes"][2:]] == ["eyas-data", "photos"]
    assert (pod["nodeSelector"], pod["tolerations"]) == ({"cloud.example/gpu": "h100"}, list(FULL.tolerations))
    assert (pod["serviceAccountName"], pod["imagePullSecrets"]) == ("eyas-trainer", [{"name": "registry"}])
    assert (job["spec"]["activeDeadlineSeconds"], job["spec"]["ttlSecondsAfterFinished"]) == (3601, 86_400)
    # Kueue lets it begin.
    assert (labels["kueue.x-k8s.io/queue-name"], job["spec"]["suspend"]) == ("research", True)
    assert (pod_of(job)["priorityClassName"], pod_of(job)["runtimeClassName"]) == ("eyas-training", "nvidia")
    assert (labels[objects.JOB], labels[objects.ATTEMPT], labels[objects.OWNER]) == ("4f0c2a91de", "3", "ann_example.com")
    assert job["spec"]["template"]["metadata"]["labels"] == labels


def test_nothing_is_asked_for_that_was_not_set() -> None:
    job = objects.job(LAUNCH, replace(PLAIN, devices=0))
    assert pod_of(job)["containers"][0]["resources"] == {}
    assert {"suspend", "activeDeadlineSeconds"}.isdisjoint(job["spec"])
    assert {"nodeSelector", "tolerations", "serviceAccountName", "imagePullSecrets", "subdomain"}.isdisjoint(pod_of(job))
    assert objects.OWNER not in job["metadata"]["labels"]
    on_the_cpu = objects.job(LAUNCH, replace(PLAIN, devices=2, gpu_resource=""))
    assert pod_of(on_the_cpu)["containers"][0]["resources"] == {}
    assert "--nproc-per-node=2" in pod_of(on_the_cpu)["containers"][0]["command"]


def test_a_pod_has_no_rights_that_it_does_not_need() -> None:
    """The restricted standard of pod security, and no token for the API server."""
    pod: dict[str, Any] = pod_of(objects.job(LAUNCH, FULL))
    context, container = pod["securityContext"], pod["containers"][0]["securityContext"]
    assert (context["runAsNonRoot"], context["runAsUser"], context["seccompProfile"]) == (True, 1000, {"type": "RuntimeDefault"})
    assert (container["allowPrivilegeEscalation"], container["readOnlyRootFilesystem"]) == (False, True)
    assert container["capabilities"] == {"drop": ["ALL"]}
    assert pod["automountServiceAccountToken"] is False


@pytest.mark.parametrize(
    ("text", "label"),
    [("", ""), ("ann", "ann"), ("ann@example.com", "ann_example.com"), ("--", ""), ("é" * 70, ""), ("a" * 70, "a" * 63)],
)
def test_any_owner_is_a_label_that_kubernetes_takes(text: str, label: str) -> None:
    assert objects.label_value(text) == label
