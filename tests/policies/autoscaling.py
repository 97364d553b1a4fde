"""How many servers there are, and that a node can always be drained."""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import ceil
from pathlib import Path
from typing import Final

from manifests import Manifests, Object, leaves, name

_METRICS: Final = Path(__file__).parents[2] / "docs/metrics.md"
_RULES: Final = Path(__file__).parents[2] / "k8s/monitoring/rules"


def autoscalers_scale_what_is_there(manifests: Manifests) -> Iterator[str]:
    """An autoscaler is of a Deployment that does not say its number itself; never two of one, and none of a single trainer."""
    scaled: list[str] = []
    for one in manifests.of("HorizontalPodAutoscaler", "ScaledObject"):
        target = one["spec"]["scaleTargetRef"]
        scaled.append(target["name"])
        deployment = manifests.find(target.get("kind", "Deployment"), target["name"])
        if deployment is None:
            yield f"{name(one)} scales {target['name']}, which is not there"
            continue
        if "replicas" in deployment["spec"]:
            yield f"{name(one)} and {name(deployment)} both say how many there are"
        least, most = _bounds(one)
        if not 1 <= least < most:
            yield f"{name(one)} goes from {least} to {most}"
        yield from _unasked(one, deployment)
    yield from (f"{target} is scaled twice" for target in {target for target in scaled if scaled.count(target) > 1})


def _bounds(one: Object) -> tuple[int, int]:
    spec = one["spec"]
    if one["kind"] == "ScaledObject":
        return spec.get("minReplicaCount", 0), spec["maxReplicaCount"]
    return spec.get("minReplicas", 1), spec["maxReplicas"]


def _unasked(one: Object, deployment: Object) -> Iterator[str]:
    """Yields which resource an autoscaler goes by that the pods do not ask for."""
    containers = deployment["spec"]["template"]["spec"]["containers"]
    for metric in one["spec"].get("metrics", ()):
        if metric["type"] == "Resource":
            resource = metric["resource"]["name"]
            if any(resource not in container["resources"].get("requests", {}) for container in containers):
                yield f"{name(one)} goes by {resource}, which {name(deployment)} does not ask for"


def series_are_counted(manifests: Manifests) -> Iterator[str]:
    """Every series that an autoscaler or an adapter names is one that daemons have, or that the rules record."""
    known = _METRICS.read_text() + "".join(file.read_text() for file in sorted(_RULES.glob("*.yaml")))
    for one in manifests.of("HorizontalPodAutoscaler", "ScaledObject", "ConfigMap"):
        if "grafana_dashboard" in one["metadata"].get("labels", {}):
            continue
        for path, value in leaves(one.get("spec", one.get("data"))):
            if one["kind"] == "ConfigMap" and "seriesQuery" not in str(value):
                continue
            for series in re.findall(r"\beyas(?:_[a-z0-9]+)+\b|\beyas(?::[a-z0-9_]+)+", str(value)):
                if series not in known:
                    yield f"{name(one)} goes by {series} ({path[1:]}), which nobody counts"


def a_node_can_be_drained(manifests: Manifests) -> Iterator[str]:
    """Servers go one at a time, whatever happens to their nodes, and one may always go; also one that is not well."""
    for daemon in manifests.daemons:
        if daemon.role != "server":
            continue
        budgets = [one for one in manifests.of("PodDisruptionBudget") if daemon.pod.chosen_by(one["spec"]["selector"])]
        if len(budgets) != 1:
            yield f"{daemon.pod.owner} has {len(budgets)} budgets of disruptions, and so none of its pods may go"
        for budget in budgets:
            spec = budget["spec"]
            if spec.get("maxUnavailable") != 1 or spec.get("unhealthyPodEvictionPolicy") != "AlwaysAllow":
                yield f"{name(budget)} holds up whoever drains a node"


def a_roll_out_adds_servers(manifests: Manifests) -> Iterator[str]:
    """A new server comes before an old one goes, and no more of them than there may be."""
    for one in manifests.of("HorizontalPodAutoscaler", "ScaledObject"):
        deployment = manifests.find("Deployment", one["spec"]["scaleTargetRef"]["name"])
        if deployment is None:
            continue
        surge = deployment["spec"].get("strategy", {}).get("rollingUpdate", {}).get("maxSurge", "25%")
        most = _bounds(one)[1]
        more = ceil(most * int(surge[:-1]) / 100) if isinstance(surge, str) else surge
        if not 1 <= more <= most:
            yield f"{name(deployment)} rolls out with {surge} more"
