"""What Kubernetes says of a Job and its pods, as a sentence and a cause. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from eyasd.core import jobdir
from eyasd.jobs.kubernetes.objects import CONTAINER, QUEUE, Object
from eyasd.jobs.runner import Cause, Ending, Standing

_UNPULLED: Final = frozenset({"ErrImagePull", "ImagePullBackOff", "RegistryUnavailable"})
# Which no wait mends.
_IMPOSSIBLE: Final = frozenset({"InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError", "RunContainerError"})
_EVICTED: Final = frozenset({"Evicted", "NodeLost", "NodeShutdown", "Shutdown", "Terminated", "Preempting"})
_SET_UP: Final = "The pod is being set up on node"
_SIGNAL: Final = 128
_WORDS: Final = 400


def standing(job: Object | None, pods: Iterable[Object]) -> Standing:
    """Returns what is seen of an attempt that has not ended."""
    pods = list(pods)
    if job is not None and job.get("spec", {}).get("suspend"):  # pods that are still at work are about to end
        queue = job["metadata"].get("labels", {}).get(QUEUE)
        why = f"The Job waits for its turn in the queue {queue!r}." if queue else "The Job is suspended."
        return Standing(running=False, reason=why, suspended=True)
    at_work = [pod for pod in pods if pod.get("status", {}).get("phase") == "Running" and _state(pod).get("running")]
    if pods and len(at_work) == _wanted(job):
        nodes = sorted({str(pod["spec"].get("nodeName", "")) for pod in at_work})
        return Standing(running=True, place=f"node{'s' * (len(nodes) > 1)} {', '.join(nodes)}")
    said = [reason for pod in pods if (reason := _waits(pod))]
    return Standing(running=False, reason=said[0] if said else "")


def silent(job: Object | None, pods: Iterable[Object]) -> str:
    """Returns the name of what waits without a word, the Job for a pod or a pod for its node: its events say why; "" of none."""
    pods = list(pods)
    if job is None or job.get("spec", {}).get("suspend"):
        return ""
    if len(pods) < _wanted(job):
        return str(job["metadata"]["name"])
    return next((str(pod["metadata"]["name"]) for pod in pods if _waits(pod).startswith(_SET_UP)), "")


def warning(events: Iterable[Object]) -> str:
    """Returns what the last of an object's events warns of; "" where none does."""
    # That a node was looked for is over when there is one.
    warnings = [one for one in events if one.get("type") == "Warning" and one.get("reason") != "FailedScheduling"]
    last = max(warnings, key=lambda one: str(one.get("lastTimestamp") or one.get("eventTime") or ""), default=None)
    return _brief(last.get("message", "")) if last else ""


def impossible(pods: Iterable[Object]) -> tuple[str, bool]:
    """Returns why a pod cannot begin as it is set up, and whether waiting may mend it; "" where nothing says so."""
    for pod in pods:
        waiting = _state(pod).get("waiting", {})
        if waiting.get("reason") in _UNPULLED | _IMPOSSIBLE:
            return _waits(pod), waiting["reason"] in _UNPULLED
    return "", True


def ended(job: Object) -> bool:
    """Returns whether a Job has ended, and its last pod, too."""
    status = job.get("status", {})
    return not status.get("active") and not status.get("terminating") and bool({"Complete", "Failed"} & _conditions(job).keys())


def ending(job: Object, pods: Iterable[Object], *, disrupted: bool) -> Ending:
    """Returns how an attempt ended.

    Args:
        job: that has ended.
        pods: of the Job.
        disrupted: whether one of its pods, perhaps gone by now, was to make way for something else.
    """
    conditions = _conditions(job)
    if "Complete" in conditions:
        return Ending(0)
    pods = list(pods)
    code, failed = _status(pods), conditions["Failed"]
    if failed.get("reason") == "DeadlineExceeded":
        limit = job["spec"].get("activeDeadlineSeconds")
        return Ending(code, Cause.TIME_LIMIT, f"The pods ran for {limit} s, which is as long as an attempt may.")
    if any(_state(pod).get("terminated", {}).get("reason") == "OOMKilled" for pod in pods):
        return Ending(code, Cause.OUT_OF_MEMORY, f"A pod was killed because it took more memory than it may{_bound(job)}.")
    if moved := disruption(pods) or _eviction(pods):
        return Ending(code, Cause.LOST, moved)
    if disrupted:
        return Ending(code, Cause.LOST, "A pod was moved off its node, and the others could not go on without it.")
    if code is None:
        return Ending(None, Cause.LOST, f"The Job failed, and none of its pods says why: {_brief(failed.get('message', ''))}")
    return Ending(code, Cause.LOST if code < 0 else Cause.PROGRAM)


def disruption(pods: Iterable[Object]) -> str:
    """Returns why a pod has to make way, or ""."""
    for pod in pods:
        for condition in pod.get("status", {}).get("conditions", ()):
            if condition["type"] == "DisruptionTarget" and condition.get("status") == "True":
                reason = condition.get("reason", "no reason given")
                return f"The pod had to make way ({reason}): {_brief(condition.get('message', ''))}"
    return ""


def _wanted(job: Object | None) -> int:
    return int((job or {}).get("spec", {}).get("parallelism", 1))


def _state(pod: Object) -> dict[str, Any]:
    """Returns the state of the container, which has one of `waiting`, `running` and `terminated`."""
    for container in pod.get("status", {}).get("containerStatuses", ()):
        if container["name"] == CONTAINER:
            return dict(container.get("state", {}))
    return {}


def _waits(pod: Object) -> str:
    """Returns why a pod has not begun."""
    status = pod.get("status", {})
    for condition in status.get("conditions", ()):
        if condition["type"] == "PodScheduled" and condition.get("status") == "False":
            return f"No node has room for the pod: {_brief(condition.get('message', ''))}"
    waiting = _state(pod).get("waiting", {})
    reason, message = waiting.get("reason", ""), _brief(waiting.get("message", ""))
    image = pod["spec"]["containers"][0]["image"]
    if reason in _UNPULLED:
        return f"The image {image!r} cannot be pulled: {message}"
    if reason in {"InvalidImageName", "ErrImageNeverPull"}:
        return f"The image {image!r} cannot be used: {message}"
    if reason in _IMPOSSIBLE:
        return f"The container cannot be started: {message}"
    if status.get("phase") == "Pending" and pod["spec"].get("nodeName"):
        return f"{_SET_UP} {pod['spec']['nodeName']}."
    return ""


def _eviction(pods: Iterable[Object]) -> str:
    """Returns why a node has ended a pod by itself, or ""."""
    for status in (pod.get("status", {}) for pod in pods):
        if status.get("phase") == "Failed" and status.get("reason") in _EVICTED:
            return f"The pod was evicted from its node: {_brief(status.get('message', ''))}"
    return ""


def by_failure(pods: Iterable[Object]) -> list[Object]:
    """Returns the pods that have ended, the one that failed first before all others, as these may have failed because of it."""

    def rank(pod: Object) -> tuple[bool, str]:
        state = _state(pod)["terminated"]
        return not state.get("exitCode"), str(state.get("finishedAt", ""))

    return sorted((pod for pod in pods if _state(pod).get("terminated")), key=rank)


def _status(pods: Iterable[Object]) -> int | None:
    """Returns the exit status of the pod that failed first; None where none is known to have failed."""
    for pod in by_failure(pods):
        code = int(_state(pod)["terminated"]["exitCode"])
        return _SIGNAL - code if code > _SIGNAL and code != jobdir.TERMINATED else code or None
    return None


def _conditions(job: Object) -> dict[str, Object]:
    """Returns the conditions that hold, by their type."""
    return {one["type"]: one for one in job.get("status", {}).get("conditions", ()) if one.get("status") == "True"}


def _bound(job: Object) -> str:
    limits = job["spec"]["template"]["spec"]["containers"][0].get("resources", {}).get("limits", {})
    return f" ({limits['memory']})" if "memory" in limits else ""


def _brief(text: str) -> str:
    text = " ".join(text.split())
    return (text[:_WORDS] or "Kubernetes does not say more") + "." * (not text[:_WORDS].endswith("."))
