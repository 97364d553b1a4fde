"""An attempt as objects of Kubernetes. Pure.

A `batch/v1` Job; with it go a Service where it has several pods, and a Secret where these share no folder with the trainer.

The names follow from job and attempt, so that creating them again changes nothing. Kubernetes moves a pod off a node that is
drained; whether a failed attempt is followed by another is for the scheduler, which numbers them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Any, Final

from eyasd.core import jobdir
from eyasd.jobs.runner import Launch

Object = dict[str, Any]

JOB: Final = "eyas/job"
ATTEMPT: Final = "eyas/attempt"
OWNER: Final = "eyas/owner"
QUEUE: Final = "kueue.x-k8s.io/queue-name"
CONTAINER: Final = "trainer"
RENDEZVOUS_PORT: Final = 29500  # torchrun's own

# Nodes are found, and the image is pulled, at different times.
_MEETING_SECONDS: Final = 1800
# Of a Job's pods; a label's value has at most 63 characters.
_JOB_NAME: Final = "batch.kubernetes.io/job-name"
_LABEL_CHARACTERS: Final = 63
_SHARED_MEMORY: Final = "shared-memory"
_SCRATCH: Final = "scratch"
_REPORT: Final = "report"
_REPORT_PATH: Final = "/var/run/eyas"
_TOKEN: Final = "token"  # noqa: S105 -- names of keys, and so files
_AUTHORITY: Final = "ca.crt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Apart:
    """How pods that share no folder with the trainer speak to it.

    Attributes:
        store: address of the objects through which they get their work, and hand over what they made.
        trainer: HOST:PORT that takes their reports.
        tls: whether that speaks TLS.
        authority: PEM of who has signed its certificate; "" are those that the image trusts.
    """

    store: str
    trainer: str
    tls: bool = False
    authority: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodOptions:
    """How pods are asked for, see `config.KubernetesSettings`.

    Attributes:
        namespace: where everything is.
        image: of the training program; what `own` stands for, `image` finds out.
        volumes: names of persistent volume claims by the path that each is mounted at, as it is in the daemon's container.
        apart: how they speak to the trainer; None where they share its folder.
        devices: GPUs of a training that does not say; 0 is none, and then one process does it.
        devices_per_node: most that one pod asks for; more are several pods on several nodes.
        gpu_resource: what the cluster calls a GPU; "" asks for none, and so many processes train on the CPU.
        cpu, memory: what a pod is given, in Kubernetes' quantities; "" is not said.
        shared_memory_bytes: size of /dev/shm, which counts as memory of the pod.
        node_selector: labels that a node must have.
        tolerations: taints that are borne, as Kubernetes has them.
        service_account: of the pods, which get no token of it; "" is the namespace's default one.
        pull_secrets: names of Secrets with which the image is pulled.
        queue: Kueue's LocalQueue; "" is none.
        priority_class: of the pods, and so of what Kueue makes wait; "" is the cluster's default.
        runtime_class: of the pods, such as that of NVIDIA's runtime; "" is the node's default.
        environment: variables of the program.
        secrets: names of Secrets whose keys are further ones.
        user: numeric user and group that the program runs as.
        grace_seconds: how long the program has to write a checkpoint and end in.
        time_limit_seconds: most that an attempt runs; 0 is no bound.
        keep_seconds: how long an ended Job stays to be looked at.
    """

    namespace: str
    image: str
    volumes: Mapping[str, str]
    apart: Apart | None = None
    devices: int = 1
    devices_per_node: int = 8
    gpu_resource: str = "nvidia.com/gpu"
    cpu: str = ""
    memory: str = ""
    shared_memory_bytes: int = 1 << 30
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, Any], ...] = ()
    service_account: str = ""
    pull_secrets: tuple[str, ...] = ()
    queue: str = ""
    priority_class: str = ""
    runtime_class: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    user: int = 1000
    grace_seconds: float = 30.0
    time_limit_seconds: float = 0.0
    keep_seconds: int = 86_400


def name(launch: Launch) -> str:
    """Returns the name of the attempt's Job, Service and Secret."""
    return f"eyas-{launch.job}-{launch.attempt}"


def layout(launch: Launch, options: PodOptions) -> tuple[int, int]:
    """Returns how many pods an attempt has, and how many devices each; 0 devices is one process on the CPU.

    So many of each that all pods are alike, and so at times more than were asked for.
    """
    if not launch.training:  # the work of one process
        return 1, min(1, options.devices)
    wanted = launch.devices or options.devices
    pods = max(1, ceil(wanted / options.devices_per_node))
    return pods, ceil(wanted / pods)


def command(launch: Launch, options: PodOptions) -> list[str]:
    """Returns the command line of the attempt's pods, the same for each."""
    pods, devices = layout(launch, options)
    if options.apart is not None:
        return _command_apart(launch, options, options.apart)
    program = ["-m", "eyasd.training", str(launch.job_dir)]
    if pods == 1 and devices <= 1:  # whose exit status is its own: torchrun ends with 1, whatever was amiss
        return ["python", *program]
    # The pods meet at the first of them, by its name, as addresses are not known yet. Each is told its number rather than left to
    # find out by its own address whether it is the first: its name may not be known yet, either.
    meeting = ["--rdzv-backend=static", f"--rdzv-endpoint={_meeting(launch)}", f"--rdzv-id={name(launch)}"]
    several = [f"--nnodes={pods}", "--node-rank=$(JOB_COMPLETION_INDEX)", *meeting, f"--rdzv-conf=timeout={_MEETING_SECONDS}"]
    return ["torchrun", *(["--standalone"] if pods == 1 else several), f"--nproc-per-node={devices}", *program]


def _command_apart(launch: Launch, options: PodOptions, apart: Apart) -> list[str]:
    pods, devices = layout(launch, options)
    words = ["--trainer", apart.trainer, "--token", f"{_REPORT_PATH}/{_TOKEN}"]
    if apart.authority:
        words += ["--ca", f"{_REPORT_PATH}/{_AUTHORITY}"]
    elif apart.tls:
        words += ["--tls"]
    words += ["--store", apart.store, "--job", launch.job, "--attempt", str(launch.attempt)]
    words += ["--scratch", "/tmp/job", "--grace", str(_grace_seconds(options))]  # noqa: S108 -- a path in the container
    if devices > 1:
        words += ["--processes", str(devices)]
    if pods > 1:
        words += ["--nodes", str(pods), "--node", "$(JOB_COMPLETION_INDEX)", "--meeting", _meeting(launch)]
    return ["python", "-m", "eyasd.pod", *words]


def _meeting(launch: Launch) -> str:
    return f"{name(launch)}-0.{name(launch)}:{RENDEZVOUS_PORT}"


def _grace_seconds(options: PodOptions) -> int:
    # What a program has written goes through the network then.
    return ceil(options.grace_seconds * (2 if options.apart else 1))


def job(launch: Launch, options: PodOptions) -> Object:
    """Returns the Job."""
    pods, _ = layout(launch, options)
    spec: Object = {
        "backoffLimit": 0,  # attempts are numbered, so each is a Job
        "completions": pods,
        "parallelism": pods,
        "completionMode": "Indexed" if pods > 1 else "NonIndexed",
        "podReplacementPolicy": "Failed",  # two pods never work on the same
        "podFailurePolicy": {
            "rules": [
                {"action": "FailJob", "onExitCodes": _exits(jobdir.USER_ERROR)},
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            ]
        },
        "ttlSecondsAfterFinished": options.keep_seconds,
        "template": {"metadata": {"labels": _labels(launch, options)}, "spec": _pod(launch, options)},
    }
    if options.time_limit_seconds:
        spec["activeDeadlineSeconds"] = ceil(options.time_limit_seconds)
    if options.queue:
        spec["suspend"] = True  # until its turn comes
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name(launch), "namespace": options.namespace, "labels": _labels(launch, options)},
        "spec": spec,
    }


def service(launch: Launch, options: PodOptions, owner: Object) -> Object | None:
    """Returns the headless Service by which the pods find each other; None for a pod alone.

    Args:
        launch: the attempt.
        options: how its pods are asked for.
        owner: the Job as it was created, with which the Service goes.
    """
    pods, _ = layout(launch, options)
    if pods == 1:
        return None
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _owned(launch, options, owner),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,  # they meet before they are ready
            "selector": {_JOB_NAME: name(launch)},
            "ports": [{"name": "rendezvous", "port": RENDEZVOUS_PORT}],
        },
    }


def secret(launch: Launch, options: PodOptions, owner: Object, token: str) -> Object | None:
    """Returns the Secret with which the pods report; None where they do not.

    A pod that finds none yet waits for it, as it is mounted; as a variable it would be an error of the pod's.

    Args:
        launch: the attempt.
        options: how its pods are asked for.
        owner: the Job as it was created, with which the Secret goes.
        token: good for the attempt alone.
    """
    if options.apart is None:
        return None
    content = {_TOKEN: token}
    if options.apart.authority:
        content[_AUTHORITY] = options.apart.authority
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": _owned(launch, options, owner),
        "immutable": True,
        "stringData": content,
    }


def _owned(launch: Launch, options: PodOptions, owner: Object) -> Object:
    made = owner["metadata"]
    return {
        "name": name(launch),
        "namespace": options.namespace,
        "labels": _labels(launch, options),
        "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": made["name"], "uid": made["uid"]}],
    }


def pods_of(job: str) -> str:
    """Returns the selector of a Job's pods."""
    return f"{_JOB_NAME}={job}"


def _exits(*codes: int) -> Object:
    return {"containerName": CONTAINER, "operator": "In", "values": list(codes)}


def _labels(launch: Launch, options: PodOptions) -> dict[str, str]:
    labels = {
        "app.kubernetes.io/name": "eyas",
        "app.kubernetes.io/component": "training",
        "app.kubernetes.io/managed-by": "eyasd",
        JOB: launch.job,
        ATTEMPT: str(launch.attempt),
    }
    if owner := label_value(launch.owner):
        labels[OWNER] = owner
    if options.queue:
        labels[QUEUE] = options.queue
    return labels


def label_value(text: str) -> str:
    """Returns a text in the characters that a label's value may have."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", text)[:_LABEL_CHARACTERS].strip("._-")


def _pod(launch: Launch, options: PodOptions) -> Object:
    pods, _ = layout(launch, options)
    own = {_SHARED_MEMORY: "/dev/shm", _SCRATCH: "/tmp"}  # noqa: S108 -- paths in the container
    claims = {f"data-{number}": path for number, path in enumerate(options.volumes)}
    spec: Object = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": _grace_seconds(options),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": options.user,
            "runAsGroup": options.user,
            "fsGroup": options.user,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": CONTAINER,
                "image": options.image,
                "command": command(launch, options),
                "env": [{"name": key, "value": value} for key, value in _environment(options).items()],
                "resources": _resources(launch, options),
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "terminationMessagePolicy": "FallbackToLogsOnError",
                "volumeMounts": [{"name": volume, "mountPath": path} for volume, path in {**own, **claims}.items()],
            }
        ],
        "volumes": [
            # The container's own /dev/shm has 64 MiB, which processes that share pictures fill at once.
            {"name": _SHARED_MEMORY, "emptyDir": {"medium": "Memory", "sizeLimit": str(options.shared_memory_bytes)}},
            {"name": _SCRATCH, "emptyDir": {}},
            *(
                {"name": f"data-{number}", "persistentVolumeClaim": {"claimName": claim}}
                for number, claim in enumerate(options.volumes.values())
            ),
        ],
    }
    (container,) = spec["containers"]
    if options.secrets:
        container["envFrom"] = [{"secretRef": {"name": secret}} for secret in options.secrets]
    if options.apart is not None:
        container["volumeMounts"].append({"name": _REPORT, "mountPath": _REPORT_PATH, "readOnly": True})
        spec["volumes"].append({"name": _REPORT, "secret": {"secretName": name(launch), "defaultMode": 0o440}})
    if pods > 1:
        spec["subdomain"] = name(launch)
    if options.service_account:
        spec["serviceAccountName"] = options.service_account
    if options.pull_secrets:
        spec["imagePullSecrets"] = [{"name": secret} for secret in options.pull_secrets]
    if options.priority_class:
        spec["priorityClassName"] = options.priority_class
    if options.runtime_class:
        spec["runtimeClassName"] = options.runtime_class
    if options.node_selector:
        spec["nodeSelector"] = dict(options.node_selector)
    if options.tolerations:
        spec["tolerations"] = [dict(toleration) for toleration in options.tolerations]
    return spec


def _environment(options: PodOptions) -> dict[str, str]:
    # The image's own HOME cannot be written.
    return {"HOME": "/tmp", "PYTHONUNBUFFERED": "1", **options.environment}  # noqa: S108 -- a path in the container


def _resources(launch: Launch, options: PodOptions) -> Object:
    _, devices = layout(launch, options)
    limits: dict[str, str] = {}
    if devices and options.gpu_resource:
        limits[options.gpu_resource] = str(devices)
    if options.memory:
        limits["memory"] = options.memory
    requests = dict(limits)
    if options.cpu:
        requests["cpu"] = options.cpu  # a bound of it would only let cores idle
    return {kind: values for kind, values in (("limits", limits), ("requests", requests)) if values}
