"""jobs.kubernetes.reasons: what a cluster says, as a cause and a sentence."""

from __future__ import annotations

from typing import Any

import pytest

from eyasd.core import jobdir
from eyasd.jobs.kubernetes import reasons
from eyasd.jobs.kubernetes.objects import Object
from eyasd.jobs.runner import Cause, Ending, Standing
from pods import IMAGE, condition, ended, failed, pod, running, unschedulable, waiting

JOB: Object = {"metadata": {"name": "j"}, "spec": {"parallelism": 1}}
DRAINED = condition("DisruptionTarget", reason="EvictionByEvictionAPI", message="Eviction API: evicting")


@pytest.mark.parametrize(
    ("job", "pods", "expected"),
    [
        (None, [], Standing(running=False)),
        (JOB, [running()], Standing(running=True, place="node node-7")),
        (
            {**JOB, "spec": {"parallelism": 2}},
            [running("a", "node-2"), running("b", "node-1")],
            Standing(running=True, place="nodes node-1, node-2"),
        ),
        ({**JOB, "spec": {"parallelism": 2}}, [running()], Standing(running=False)),
        (
            JOB,
            [unschedulable("0/3 nodes are available: 3 Insufficient nvidia.com/gpu.")],
            Standing(running=False, reason="No node has room for the pod: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu."),
        ),
        (JOB, [pod()], Standing(running=False, reason="The pod is being set up on node node-7.")),
        (
            JOB,
            [waiting("ImagePullBackOff", "back-off")],
            Standing(running=False, reason=f"The image {IMAGE!r} cannot be pulled: back-off."),
        ),
        ({**JOB, "spec": {"suspend": True}}, [], Standing(running=False, reason="The Job is suspended.", suspended=True)),
        (
            {"metadata": {"labels": {"kueue.x-k8s.io/queue-name": "research"}}, "spec": {"suspend": True}},
            [running()],  # which has been told to make way
            Standing(running=False, reason="The Job waits for its turn in the queue 'research'.", suspended=True),
        ),
    ],
)
def test_what_is_seen_of_an_attempt(job: Object | None, pods: list[Object], expected: Standing) -> None:
    assert reasons.standing(job, pods) == expected


@pytest.mark.parametrize(
    ("job", "pods", "name"),
    [
        (None, [], ""),
        (JOB, [], "j"),
        ({**JOB, "spec": {"parallelism": 2}}, [running()], "j"),
        ({**JOB, "spec": {"suspend": True}}, [], ""),
        (JOB, [unschedulable("no room")], ""),
        (JOB, [waiting("ImagePullBackOff", "back-off")], ""),
        (JOB, [waiting("ContainerCreating", "")], "eyas-j1-1-abc"),
        (JOB, [running()], ""),
    ],
)
def test_what_waits_without_a_word_is_named(job: Object | None, pods: list[Object], name: str) -> None:
    assert reasons.silent(job, pods) == name


def test_the_last_warning_is_told() -> None:
    def event(message: str, last: str | None, kind: str = "Warning", **more: str) -> Object:
        return {"type": kind, "message": message, "lastTimestamp": last, **more}

    events = [
        event("exceeded quota: a", "2026-01-01T00:00:02Z"),
        event("exceeded quota: b", "2026-01-01T00:00:03Z"),
        event("exceeded quota: c", "2026-01-01T00:00:01Z"),
        event("0/3 nodes", "2026-01-01T00:00:04Z", reason="FailedScheduling"),
        event("Created pod", "2026-01-01T00:00:05Z", "Normal"),
    ]
    assert reasons.warning(events) == "exceeded quota: b."
    later = event("a volume is away", None, eventTime="2026-01-01T00:00:06.000000Z")
    assert reasons.warning([*events, later]) == "a volume is away."
    assert reasons.warning([]) == ""


@pytest.mark.parametrize(
    ("reason", "says", "passing"),
    [
        ("ErrImagePull", f"The image {IMAGE!r} cannot be pulled: it is so.", True),
        ("InvalidImageName", f"The image {IMAGE!r} cannot be used: it is so.", False),
        ("CreateContainerConfigError", "The container cannot be started: it is so.", False),
        ("ContainerCreating", "", True),
    ],
)
def test_why_a_pod_cannot_begin(reason: str, says: str, passing: bool) -> None:
    assert reasons.impossible([running(), waiting(reason)]) == (says, passing)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({}, False),
        ({"active": 1}, False),
        ({"conditions": [condition("FailureTarget")], "terminating": 1}, False),
        ({"conditions": [condition("Failed")], "terminating": 1}, False),  # before Kubernetes 1.31
        ({"conditions": [condition("Failed")], "active": 1}, False),
        ({"conditions": [condition("Suspended")]}, False),
        ({"conditions": [condition("Failed")], "terminating": 0}, True),
        ({"conditions": [condition("Complete")], "succeeded": 1}, True),
    ],
)
def test_a_job_has_ended_when_its_last_pod_has(status: Object, expected: bool) -> None:
    assert reasons.ended({"status": status}) is expected


LOST_BY_NODE = pod(phase="Failed", reason="Evicted", message="The node was low on resource: memory.")


@pytest.mark.parametrize(
    ("job", "pods", "disrupted", "expected"),
    [
        ({"status": {"conditions": [condition("Complete")]}}, [ended(0)], True, Ending(0)),
        (failed("PodFailurePolicy"), [ended(42)], False, Ending(42)),
        (failed(), [ended(1)], False, Ending(1)),
        (failed(), [ended(jobdir.TERMINATED)], False, Ending(jobdir.TERMINATED)),
        (failed(), [ended(139)], False, Ending(-11, Cause.LOST)),
        # Of several the first to fail is the one that is to blame.
        (
            failed(),
            [ended(1, at="2026-01-01T00:00:09Z", name="b"), ended(42, at="2026-01-01T00:00:08Z", name="a"), ended(0, name="c")],
            False,
            Ending(42),
        ),
        (
            failed(),
            [ended(137, reason="OOMKilled")],
            False,
            Ending(-9, Cause.OUT_OF_MEMORY, "A pod was killed because it took more memory than it may (8Gi)."),
        ),
        (
            failed("DeadlineExceeded", activeDeadlineSeconds=60),
            [ended(143)],
            False,
            Ending(143, Cause.TIME_LIMIT, "The pods ran for 60 s, which is as long as an attempt may."),
        ),
        (
            failed(),
            [ended(143, conditions=[DRAINED])],
            False,
            Ending(143, Cause.LOST, "The pod had to make way (EvictionByEvictionAPI): Eviction API: evicting."),
        ),
        (
            failed(),
            [LOST_BY_NODE],
            False,
            Ending(None, Cause.LOST, "The pod was evicted from its node: The node was low on resource: memory."),
        ),
        (
            failed(),
            [ended(1)],
            True,
            Ending(1, Cause.LOST, "A pod was moved off its node, and the others could not go on without it."),
        ),
        (
            failed(),
            [],
            False,
            Ending(None, Cause.LOST, "The Job failed, and none of its pods says why: Job has reached the specified backoff limit."),
        ),
    ],
)
def test_why_an_attempt_ended(job: Object, pods: list[Object], disrupted: bool, expected: Ending) -> None:
    assert reasons.ending(job, pods, disrupted=disrupted) == expected


def test_a_pod_that_has_to_make_way_says_why() -> None:
    assert reasons.disruption([running(), pod(conditions=[DRAINED])]).startswith("The pod had to make way")
    assert reasons.disruption([running(), pod(conditions=[{**DRAINED, "status": "False"}])]) == ""


def test_whatever_kubernetes_says_is_one_sentence_of_bearable_length() -> None:
    said: Any = reasons.standing(JOB, [unschedulable("many\n  words " * 200)]).reason
    assert len(said) < 450
    assert "\n" not in said
    assert said.endswith(".")
