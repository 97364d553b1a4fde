"""Who may speak to whom."""

from __future__ import annotations

from collections.abc import Iterator

from manifests import Manifests, Object, Pod, name


def nobody_speaks_but_as_said(manifests: Manifests) -> Iterator[str]:
    """Every pod is under a policy for both directions, so what none allows is refused."""
    for pod in manifests.pods:
        covered = {kind for one in _of(manifests, pod) for kind in one["spec"]["policyTypes"]}
        if covered != {"Ingress", "Egress"}:
            yield f"{pod.owner} is under a policy for {sorted(covered)} alone"


def policies_are_of_pods(manifests: Manifests) -> Iterator[str]:
    """Each policy chooses pods, says for which directions, and lets in at ports that they have."""
    for policy in manifests.of("NetworkPolicy"):
        spec = policy["spec"]
        pods = [pod for pod in manifests.pods if pod.chosen_by(spec["podSelector"])]
        if not pods:
            yield f"{name(policy)} chooses no pod"
        for direction in ("ingress", "egress"):
            if direction in spec and direction.capitalize() not in spec["policyTypes"]:
                yield f"{name(policy)} says {direction}, and not that it is for it"
        numbers = {port["containerPort"] for pod in pods for container in pod.containers for port in container.get("ports", ())}
        for rule in spec.get("ingress", ()):
            for port in rule.get("ports", ()):
                if port["port"] not in numbers:
                    yield f"{name(policy)} lets in at {port['port']}, where nobody listens"
        yield from _peers(manifests, policy)


def _peers(manifests: Manifests, policy: Object) -> Iterator[str]:
    """Yields which peer within the namespace is nobody."""
    rules = [*policy["spec"].get("ingress", ()), *policy["spec"].get("egress", ())]
    for peer in (peer for rule in rules for peer in [*rule.get("from", ()), *rule.get("to", ())]):
        within = "podSelector" in peer and "namespaceSelector" not in peer
        if within and not any(pod.chosen_by(peer["podSelector"]) for pod in manifests.pods):
            yield f"{name(policy)} is for {peer['podSelector']}, whom nobody is"


def callers_are_let_in(manifests: Manifests) -> Iterator[str]:
    """Daemons are called by pods of the namespace and of those that are labelled, at every port but that of metrics."""
    for daemon in manifests.daemons:
        rules = [rule for policy in _of(manifests, daemon.pod) for rule in policy["spec"].get("ingress", ())]
        for port in daemon.container["ports"]:
            peers = [peer for rule in rules if _opens(rule, port["containerPort"]) for peer in rule.get("from", ())]
            labelled = {"namespaceSelector": {"matchLabels": {"eyas/client": "true"}}} in peers
            if port["name"] != "metrics" and not ({"podSelector": {}} in peers and labelled):
                yield f"{daemon.pod.owner} is not to be called at {port['name']}"
            if any("from" not in rule for rule in rules if _opens(rule, port["containerPort"])):
                yield f"{daemon.pod.owner} lets anybody in at {port['name']}"


def pods_get_what_they_need(manifests: Manifests) -> Iterator[str]:
    """All may ask for names; a trainer with Jobs reaches the API server, and their pods each other and, to report, the trainer."""
    for pod in manifests.pods:
        if not {("UDP", 53), ("TCP", 53)} <= {
            (port.get("protocol", "TCP"), port["port"]) for rule in _out(manifests, pod) for port in rule.get("ports", ())
        }:
            yield f"{pod.owner} cannot ask for names"
    trainings = manifests.training_pods
    for daemon in manifests.daemons:
        kubernetes = daemon.settings.kubernetes
        if daemon.role == "server" or kubernetes.image is None:
            continue
        if not any(_opens(rule, 443) and _opens(rule, 6443) and "to" not in rule for rule in _out(manifests, daemon.pod)):
            yield f"{daemon.pod.owner} does not reach the API server"
        for training in trainings:
            if not _reaches(manifests, training, training, 29500):
                yield f"{training.owner} does not reach the other pods of the training"
            port = int(daemon.settings.api.listen.rpartition(":")[2])
            if kubernetes.store and not _reaches(manifests, training, daemon.pod, port):
                yield f"{training.owner} does not reach its trainer"


def _of(manifests: Manifests, pod: Pod) -> list[Object]:
    return [policy for policy in manifests.of("NetworkPolicy") if pod.chosen_by(policy["spec"]["podSelector"])]


def _out(manifests: Manifests, pod: Pod) -> list[Object]:
    return [rule for policy in _of(manifests, pod) for rule in policy["spec"].get("egress", ())]


def _opens(rule: Object, port: int) -> bool:
    return "ports" not in rule or any(one["port"] <= port <= one.get("endPort", one["port"]) for one in rule["ports"])


def _reaches(manifests: Manifests, caller: Pod, called: Pod, port: int) -> bool:
    """Returns whether a pod may speak to another of the namespace, by the policies of both."""
    goes = any(_opens(rule, port) and _names(rule.get("to"), called) for rule in _out(manifests, caller))
    rules = [rule for policy in _of(manifests, called) for rule in policy["spec"].get("ingress", ())]
    return goes and any(_opens(rule, port) and _names(rule.get("from"), caller) for rule in rules)


def _names(peers: list[Object] | None, pod: Pod) -> bool:
    return peers is None or any("podSelector" in peer and pod.chosen_by(peer["podSelector"]) for peer in peers)
