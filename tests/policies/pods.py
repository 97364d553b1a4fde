"""What a pod is: its image, what it is given, how it is asked whether it is well, and how it ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from typing import Final

from eyasd import health
from manifests import Manifests, Object, Program, quantity

_IMAGES: Final = {"eyas-server": ("", "-cpu"), "eyas-trainer": ("",)}
_PROBES: Final = ("startupProbe", "readinessProbe", "livenessProbe")


def images_are_of_this_version(manifests: Manifests) -> Iterator[str]:
    """Every pod has an image of this repository, tagged with its version and never `latest`, and all servers the same."""
    images = {container["image"] for pod in manifests.pods for container in pod.containers}
    for path, count in Counter(image.rpartition(":")[0] for image in images).items():
        if count > 1:
            yield f"pods have {count} images of {path}"
    for pod in manifests.pods:
        for container in pod.containers:
            path, _, tag = container["image"].rpartition(":")
            if tag not in {f"{version('eyas')}{kind}" for kind in _IMAGES.get(path.rpartition("/")[2], ())}:
                yield f"{pod.place(container)} has the image {container['image']}"
            if container.get("imagePullPolicy", "IfNotPresent") != "IfNotPresent":
                yield f"{pod.place(container)} asks a registry for an image that its node may have"


def servers_have_the_image_of_their_device(manifests: Manifests) -> Iterator[str]:
    """One that is to serve on a GPU asks for one, and has the image with CUDA; no other does."""
    for daemon in manifests.daemons:
        if daemon.role == "server":
            wants = daemon.settings.serving.device == "cuda"
            asks = daemon.settings.kubernetes.gpu_resource in daemon.container["resources"].get("limits", {})
            if not wants == asks == (not daemon.container["image"].endswith("-cpu")):
                yield f"{daemon.pod.owner} has the image {daemon.container['image']} for {daemon.settings.serving.device}"


def resources_are_bounded(manifests: Manifests) -> Iterator[str]:
    """Each container asks for processors and memory, and is bounded in memory; those of daemons in processors, too.

    A bound of processors would only let those of a training idle. What is in an emptyDir counts, in memory or on the node's disk.
    """
    training = {pod.owner for pod in manifests.training_pods}
    for pod in manifests.pods:
        for container in pod.containers:
            resources = container.get("resources", {})
            requests, limits = resources.get("requests", {}), resources.get("limits", {})
            missing = (
                {"cpu", "memory"} - requests.keys(),
                ({"memory"} if pod.owner in training else {"cpu", "memory"}) - limits.keys(),
            )
            if any(missing):
                yield f"{pod.place(container)} lacks requests of {sorted(missing[0])}, limits of {sorted(missing[1])}"
            for name, asked in requests.items():
                if quantity(asked) > quantity(limits.get(name, "inf")):
                    yield f"{pod.place(container)} asks for more {name} than it may have"
        for volume in pod.spec.get("volumes", ()):
            if pod.owner not in training and "emptyDir" in volume and "sizeLimit" not in volume["emptyDir"]:
                yield f"{pod.owner} has no sizeLimit of {volume['name']}"


def trainings_fit_the_quota(manifests: Manifests) -> Iterator[str]:
    """A namespace's quota admits a pod that says what it counts, and each of its kind alone is within it."""
    for quota in manifests.of("ResourceQuota"):
        terms = quota["spec"].get("scopeSelector", {}).get("matchExpressions", [])
        classes = [term["values"] for term in terms if term["scopeName"] == "PriorityClass"]
        within = [pod for pod in manifests.pods if all(pod.spec.get("priorityClassName") in named for named in classes)]
        if not within:
            yield f"{quota['metadata']['name']} is of no pod"
        for pod in within:
            for counted, most in quota["spec"]["hard"].items():
                kind, _, resource = counted.partition(".")
                given = [container.get("resources", {}).get(kind, {}).get(resource) for container in pod.containers]
                unsaid = resource in {"cpu", "memory"} and None in given
                if unsaid or sum(map(quantity, filter(None, given))) > quantity(most):
                    yield f"{pod.owner} has {given} of {counted}, of which {quota['metadata']['name']} counts {most}"
            if classes and pod.labels.get("app.kubernetes.io/component") != "training":
                yield f"{pod.owner} takes room of {quota['metadata']['name']} from trainings"


def daemons_are_probed(manifests: Manifests) -> Iterator[str]:
    """A daemon is asked by gRPC, or over TLS by `eyasd.health`, while it starts, for readiness, and seldom whether it is alive."""
    for daemon in manifests.daemons:
        probes = {kind: daemon.container.get(kind, {}) for kind in _PROBES}
        for kind, probe in probes.items():
            yield from (f"{daemon.pod.place(daemon.container)}: {kind} {said}" for said in _probe(daemon, probe))
        patience = {kind: _patience(probe) for kind, probe in probes.items()}
        if patience["livenessProbe"] < 3 * patience["readinessProbe"] or patience["livenessProbe"] < 30:
            yield f"{daemon.pod.place(daemon.container)} is ended by its livenessProbe while it is but busy"
        if patience["startupProbe"] < 60:
            yield f"{daemon.pod.place(daemon.container)} has {patience['startupProbe']} s to start"


def _patience(probe: Object) -> float:
    return float(probe.get("periodSeconds", 10) * probe.get("failureThreshold", 3))


def _probe(daemon: Program, probe: Object) -> Iterator[str]:
    api = daemon.settings.api
    port = int(api.listen.rpartition(":")[2])
    if api.tls_certificate is None:
        if probe.get("grpc", {}).get("port") != port or probe["grpc"].get("service"):
            yield f"does not ask port {port} by gRPC"
        return
    command = probe.get("exec", {}).get("command", [])
    if command[:3] != ["python", "-m", "eyasd.health"]:
        yield "does not ask over TLS"
        return
    asked = health._arguments(command[3:])
    if int(asked.address.rpartition(":")[2]) != port or asked.ca is None:
        yield f"does not ask port {port} over TLS"
    if daemon.settings.api.tls_client_ca and asked.cert is None:
        yield "shows no certificate, which the daemon wants"
    paths = [mount["mountPath"] for mount in daemon.container["volumeMounts"]]
    for file in filter(None, (asked.ca, asked.cert, asked.key)):
        if not any(file.is_relative_to(path) for path in paths):
            yield f"names {file}, which is not mounted"
    if probe.get("timeoutSeconds", 1) < 5:
        yield "ends the command before it has said why it got no answer"


def daemons_end_in_order(manifests: Manifests) -> Iterator[str]:
    """A pod is not killed before its daemon has gone down in order, and no call meets one that has."""
    for daemon in manifests.daemons:
        settings = daemon.settings
        trains_here = daemon.role != "server" and settings.kubernetes.image is None
        hook = daemon.container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        needed = hook + settings.api.lame_duck_seconds + settings.api.grace_seconds
        needed += settings.jobs.stop_grace_seconds if trains_here else 0
        given = daemon.pod.spec.get("terminationGracePeriodSeconds", 30)
        if not needed + 5 <= given <= needed + 60:
            yield f"{daemon.pod.owner} is killed after {given} s, and may need {needed} s"
        if daemon.role == "server" and hook + settings.api.lame_duck_seconds < 5:
            yield f"{daemon.pod.owner} refuses calls before those who call know that it goes"


def servers_are_replaced_one_by_one(manifests: Manifests) -> Iterator[str]:
    """Of servers none goes before its successor is ready; of trainers with SQLite there are never two."""
    for deployment in manifests.of("Deployment"):
        roles = {
            daemon.role: daemon
            for daemon in manifests.daemons
            if daemon.pod.owner == f"Deployment/{deployment['metadata']['name']}"
        }
        strategy = deployment["spec"].get("strategy", {})
        if "server" in roles and strategy.get("rollingUpdate", {}).get("maxUnavailable") != 0:
            yield f"{deployment['metadata']['name']} may go before its successor is ready"
        for daemon in roles.values():
            alone = daemon.role != "server" and daemon.settings.jobs.database is None
            if alone and (strategy.get("type") != "Recreate" or deployment["spec"].get("replicas") != 1):
                yield f"{deployment['metadata']['name']} may be two, with one jobs.sqlite"


def servers_are_spread(manifests: Manifests) -> Iterator[str]:
    """Servers are on different nodes and zones where there are such, counted by what chooses them."""
    for daemon in manifests.daemons:
        if daemon.role != "server":
            continue
        spread = {one["topologyKey"]: one for one in daemon.pod.spec.get("topologySpreadConstraints", ())}
        if spread.keys() != {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}:
            yield f"{daemon.pod.owner} is spread over {sorted(spread)}"
        for key, one in spread.items():
            if not daemon.pod.chosen_by(one["labelSelector"]):
                yield f"{daemon.pod.owner} is spread over {key} by others' labels"
