"""Jobs and pods as a cluster tells of them."""

from __future__ import annotations

from typing import Any

from eyasd.jobs.kubernetes.objects import CONTAINER, Object

IMAGE = "registry.example/eyas-trainer:1"


def pod(name: str = "eyas-j1-1-abc", *, phase: str = "Pending", node: str = "node-7", **status: Any) -> Object:
    """Returns a pod; `state` is that of its container."""
    if "state" in status:
        status["containerStatuses"] = [{"name": "sidecar", "state": {}}, {"name": CONTAINER, "state": status.pop("state")}]
    spec = {"containers": [{"name": CONTAINER, "image": IMAGE}], **({"nodeName": node} if node else {})}
    return {"metadata": {"name": name}, "spec": spec, "status": {"phase": phase, **status}}


def running(name: str = "eyas-j1-1-abc", node: str = "node-7") -> Object:
    return pod(name, phase="Running", node=node, state={"running": {"startedAt": "2026-01-01T00:00:00Z"}})


def ended(
    code: int, *, at: str = "2026-01-01T00:00:09Z", name: str = "eyas-j1-1-abc", reason: str = "Error", **status: Any
) -> Object:
    state = {"terminated": {"exitCode": code, "reason": reason, "finishedAt": at}}
    return pod(name, phase="Failed" if code else "Succeeded", state=state, **status)


def waiting(reason: str, message: str = "it is so") -> Object:
    return pod(state={"waiting": {"reason": reason, "message": message}})


def condition(kind: str, *, status: str = "True", **more: str) -> Object:
    return {"type": kind, "status": status, **more}


def unschedulable(message: str) -> Object:
    return pod(node="", conditions=[condition("PodScheduled", status="False", reason="Unschedulable", message=message)])


def failed(
    reason: str = "BackoffLimitExceeded", message: str = "Job has reached the specified backoff limit", **spec: Any
) -> Object:
    """Returns a Job that has failed."""
    container = {"name": CONTAINER, "image": IMAGE, "resources": {"limits": {"memory": "8Gi"}}}
    return {
        "metadata": {"name": "eyas-j1-1"},
        "spec": {"template": {"spec": {"containers": [container]}}, **spec},
        "status": {"conditions": [condition("FailureTarget"), condition("Failed", reason=reason, message=message)]},
    }
