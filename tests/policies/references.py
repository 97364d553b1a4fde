"""What one object says of another: that it is there, and is what is meant."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from manifests import CLUSTER_WIDE, Manifests, Object, leaves, name

# Of every cluster.
_THERE: Final = {"ServiceAccount": frozenset({"default"})}


def names_are_unique_and_in_the_namespace(manifests: Manifests) -> Iterator[str]:
    """No object is there twice; each is in the one namespace, which is one of them, or in none."""
    counts = Counter((one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in manifests.objects)
    yield from (f"{kind}/{called} is there {count} times" for (kind, _, called), count in counts.items() if count > 1)
    for one in manifests.objects:
        wanted = None if one["kind"] in CLUSTER_WIDE else manifests.namespace
        if one["metadata"].get("namespace") != wanted:
            yield f"{name(one)} is in the namespace {one['metadata'].get('namespace')}"
        if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", one["metadata"]["name"]):
            yield f"{name(one)} has no good name"
    if manifests.find("Namespace", manifests.namespace) is None:
        yield f"the namespace {manifests.namespace} is not made"


def objects_say_whose_they_are(manifests: Manifests) -> Iterator[str]:
    """Every object has app.kubernetes.io/name, so that all can be found and deleted by it; so have pods, with their component."""
    for one in manifests.objects:
        if one["metadata"].get("labels", {}).get("app.kubernetes.io/name") != "eyas":
            yield f"{name(one)} has no label app.kubernetes.io/name: eyas"
    for pod in manifests.pods:
        if not {"app.kubernetes.io/name", "app.kubernetes.io/component"} <= pod.labels.keys():
            yield f"the pods of {pod.owner} do not say what they are"


def selectors_match_their_templates(manifests: Manifests) -> Iterator[str]:
    """A Deployment's selector chooses its own pods, and no other's."""
    for one in manifests.of("Deployment", "StatefulSet", "DaemonSet"):
        for pod in manifests.pods:
            own = pod.owner == name(one)
            if pod.chosen_by(one["spec"]["selector"]) is not own:
                yield f"{name(one)} {'does not choose its own pods' if own else f'chooses those of {pod.owner}'}"


def whatever_chooses_pods_finds_some(manifests: Manifests) -> Iterator[str]:
    """Budgets choose pods, and monitors Services, that are there; whatever monitors there are ask every daemon at its port."""
    for one in manifests.of("PodDisruptionBudget"):
        if not any(pod.chosen_by(one["spec"]["selector"]) for pod in manifests.pods):
            yield f"{name(one)} chooses no pod"
    for one in manifests.of("ServiceMonitor"):
        if not any(_has(service, one["spec"]["selector"]) for service in manifests.of("Service")):
            yield f"{name(one)} chooses no Service"
    for one in manifests.of("PodMonitor", "ServiceMonitor"):
        if one["spec"].get("namespaceSelector", {}).get("matchNames", [manifests.namespace]) != [manifests.namespace]:
            yield f"{name(one)} looks into another namespace"
        yield from _unscraped(manifests, one)


def _has(service: Object, selector: Object) -> bool:
    labels = service["metadata"].get("labels", {})
    return all(labels.get(key) == value for key, value in selector["matchLabels"].items())


def _unscraped(manifests: Manifests, monitor: Object) -> Iterator[str]:
    """Yields which endpoint of a monitor is no port, and of which daemon nothing is asked."""
    endpoints = monitor["spec"].get("podMetricsEndpoints") or monitor["spec"].get("endpoints", [])
    for endpoint in endpoints:
        if endpoint.get("port") != "metrics":
            yield f"{name(monitor)} asks the port {endpoint.get('port')}"
    for daemon in manifests.daemons:
        if monitor["kind"] == "PodMonitor" and not any(
            daemon.pod.chosen_by(one["spec"]["selector"]) for one in manifests.of("PodMonitor")
        ):
            yield f"no PodMonitor asks {daemon.pod.owner}"


def services_lead_to_ports(manifests: Manifests) -> Iterator[str]:
    """A Service's pods have its ports by name, with the numbers that the Service has; every daemon's calls have a Service."""
    for service in manifests.of("Service"):
        pods = [pod for pod in manifests.pods if pod.chosen_by({"matchLabels": service["spec"]["selector"]})]
        if not pods:
            yield f"{name(service)} leads to no pod"
        for port in service["spec"]["ports"]:
            for pod in pods:
                numbers = {one["name"]: one["containerPort"] for container in pod.containers for one in container.get("ports", ())}
                if numbers.get(port.get("targetPort")) != port["port"] or port.get("name") != port["targetPort"]:
                    yield f"{name(service)} leads port {port} to {pod.owner}, which has {numbers}"


def servers_can_be_found_one_by_one(manifests: Manifests) -> Iterator[str]:
    """Where servers are several pods, a headless Service names each, for clients that spread their calls."""
    for daemon in manifests.daemons:
        if daemon.role == "server" and not any(
            service["spec"].get("clusterIP") == "None" and daemon.pod.chosen_by({"matchLabels": service["spec"]["selector"]})
            for service in manifests.of("Service")
        ):
            yield f"no headless Service leads to {daemon.pod.owner}"


def what_pods_name_is_there(manifests: Manifests) -> Iterator[str]:
    """Accounts, ConfigMaps, claims and classes that pods name are among the manifests; Secrets are the operator's."""
    for pod in manifests.pods:
        for kind, called in _named(pod.spec):
            if manifests.find(kind, called) is None and called not in _THERE.get(kind, ()):
                yield f"{pod.owner} names the {kind} {called}, which is not there"
    for program in manifests.programs:
        if program.pod.spec.get("serviceAccountName") is None:
            yield f"{program.pod.owner} has no account of its own, to which a cloud could give a role"


def _named(spec: Object) -> Iterator[tuple[str, str]]:
    yield "ServiceAccount", spec.get("serviceAccountName", "default")
    if "priorityClassName" in spec:
        yield "PriorityClass", spec["priorityClassName"]
    found: list[tuple[str, Any]] = list(leaves(spec))
    for path, value in found:
        if path.endswith("persistentVolumeClaim.claimName"):
            yield "PersistentVolumeClaim", value
        if re.search(r"(configMapRef|configMapKeyRef|configMap)\.name$", path):
            yield "ConfigMap", value


def what_is_there_is_used(manifests: Manifests) -> Iterator[str]:
    """No ConfigMap of settings, claim, account or class is left that nobody names."""
    used = {reference for pod in manifests.pods for reference in _named(pod.spec)}
    for kind in ("ServiceAccount", "PersistentVolumeClaim", "PriorityClass", "ConfigMap"):
        for one in manifests.of(kind):
            shown = "grafana_dashboard" in one["metadata"].get("labels", {})
            if (kind, one["metadata"]["name"]) not in used and not shown:
                yield f"nobody names {name(one)}"


def roles_are_bound_to_who_is_there(manifests: Manifests) -> Iterator[str]:
    """A binding is of a Role and accounts that are there, in the namespace."""
    for binding in manifests.of("RoleBinding"):
        role = binding["roleRef"]
        if manifests.find(role["kind"], role["name"]) is None:
            yield f"{name(binding)} is of {role['name']}, which is not there"
        for subject in binding["subjects"]:
            account = manifests.find(subject["kind"], subject["name"])
            if account is None or subject.get("namespace") != account["metadata"]["namespace"]:
                yield f"{name(binding)} is for {subject}, who is not there"


def mounts_are_of_volumes(manifests: Manifests) -> Iterator[str]:
    """What a container mounts the pod has, and what the pod has is mounted."""
    for pod in manifests.pods:
        has = {volume["name"] for volume in pod.spec.get("volumes", ())}
        mounted = {mount["name"] for container in pod.containers for mount in container.get("volumeMounts", ())}
        if has != mounted:
            yield f"{pod.owner} has the volumes {sorted(has - mounted)} for nobody, and lacks {sorted(mounted - has)}"
