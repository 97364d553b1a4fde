"""What a pod may do: the restricted standard of Kubernetes' Pod Security, and no more rights, files and tokens than it needs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Final

from eyasd.jobs.kubernetes.rights import RIGHTS, RIGHTS_APART
from manifests import Manifests, Object, Pod, Program

# Verbs by API group and resource.
Rights = dict[tuple[str, str], frozenset[str]]

_VOLUMES: Final = frozenset(
    {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
)
_HOST: Final = ("hostNetwork", "hostPID", "hostIPC", "hostUsers", "shareProcessNamespace")
_SCRATCH: Final = PurePosixPath("/tmp")  # noqa: S108 -- a path in the container
_SHARED_MEMORY: Final = PurePosixPath("/dev/shm")  # noqa: S108


def pods_keep_the_restricted_standard(manifests: Manifests) -> Iterator[str]:
    """Every pod would be let into a namespace that enforces it, and so says the namespace."""
    for pod in manifests.pods:
        for container in pod.containers:
            yield from (f"{pod.place(container)} {said}" for said in _loose(pod, container))
        for option in _HOST:
            if pod.spec.get(option):
                yield f"{pod.owner} has {option}"
        for volume in pod.spec.get("volumes", ()):
            if not volume.keys() - {"name"} <= _VOLUMES:
                yield f"{pod.owner} has the volume {volume['name']} of a kind that is not allowed"
    for namespace in manifests.of("Namespace"):
        if namespace["metadata"].get("labels", {}).get("pod-security.kubernetes.io/enforce") != "restricted":
            yield f"the namespace {namespace['metadata']['name']} does not enforce it"


def _loose(pod: Pod, container: Object) -> Iterator[str]:
    own = container.get("securityContext", {})
    effective = pod.spec.get("securityContext", {}) | own
    if effective.get("runAsNonRoot") is not True or effective.get("runAsUser") != 1000 or effective.get("runAsGroup") != 1000:
        yield "does not run as user and group 1000, which is no root"
    if effective.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield "has no seccomp profile"
    if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
        yield "may become more than it is"
    if own.get("capabilities") != {"drop": ["ALL"]}:
        yield "has capabilities"
    if own.get("readOnlyRootFilesystem") is not True:
        yield "may write into its image"
    if {"procMount", "seLinuxOptions", "windowsOptions", "appArmorProfile"} & effective.keys():
        yield "has an option of security that nobody has thought about"
    if any("hostPort" in port for port in container.get("ports", ())):
        yield "takes a port of its node"


def volumes_are_of_the_user(manifests: Manifests) -> Iterator[str]:
    """A volume that comes empty and root's can be written by who runs there."""
    for pod in manifests.pods:
        context = pod.spec.get("securityContext", {})
        claimed = any("persistentVolumeClaim" in volume for volume in pod.spec.get("volumes", ()))
        if claimed and (context.get("fsGroup"), context.get("fsGroupChangePolicy")) != (1000, "OnRootMismatch"):
            yield f"{pod.owner} has a claim and no fsGroup 1000"


def only_what_is_written_is_writable(manifests: Manifests) -> Iterator[str]:
    """Of a program its data and /tmp, of a training those and /dev/shm; what is more is mounted to be read."""
    programs = {id(program.container): program for program in manifests.programs}
    for pod in manifests.pods:
        for container in pod.containers:
            written = _written(pod, programs.get(id(container)))
            mounts = {PurePosixPath(mount["mountPath"]): mount for mount in container.get("volumeMounts", ())}
            for path, mount in mounts.items():
                if not mount.get("readOnly") and path not in written:
                    yield f"{pod.place(container)} may write to {path}, and does not"
                if mount.get("subPath"):
                    yield f"{pod.place(container)} sees no change of {path}, which is mounted by subPath"
            for path in sorted(written - mounts.keys() - {_SHARED_MEMORY}):
                yield f"{pod.place(container)} cannot write to {path}"


def _written(pod: Pod, program: Program | None) -> set[PurePosixPath]:
    if program is not None:
        trains = program.role in {"trainer", "all"} and program.settings.kubernetes.image is None
        return {_SCRATCH, *program.folders, *([_SHARED_MEMORY] if trains else [])}
    if pod.labels.get("app.kubernetes.io/component") != "training":
        return set()
    claims = {volume["name"] for volume in pod.spec["volumes"] if "persistentVolumeClaim" in volume}
    mounts = [mount for container in pod.containers for mount in container["volumeMounts"] if mount["name"] in claims]
    return {_SCRATCH, _SHARED_MEMORY, *(PurePosixPath(mount["mountPath"]) for mount in mounts)}


def accounts_have_the_rights_that_are_used(manifests: Manifests) -> Iterator[str]:
    """The trainer may do exactly what its code does, where it makes Jobs; nobody else may do anything."""
    bound: dict[str, Rights] = {}
    for binding in manifests.of("RoleBinding"):
        role = manifests.find(binding["roleRef"]["kind"], binding["roleRef"]["name"])
        for subject in binding["subjects"]:
            bound.setdefault(subject["name"], {}).update(_rights(role or {"rules": ()}))
    wanted = _wanted(manifests)
    for account in sorted(bound.keys() | wanted.keys()):
        has, needs = bound.get(account, {}), wanted.get(account, {})
        for key in sorted(has.keys() | needs.keys()):
            if has.get(key) != needs.get(key):
                yield f"{account} may {sorted(has.get(key, ()))} {key}, and does {sorted(needs.get(key, ()))}"
    for role in manifests.of("ClusterRole", "ClusterRoleBinding"):
        yield f"{role['metadata']['name']} reaches beyond the namespace"


def only_who_uses_a_token_has_one(manifests: Manifests) -> Iterator[str]:
    """The trainer has a token of its account where it makes Jobs. No other pod has one, nor would have one by its account."""
    wanted = _wanted(manifests)
    for pod in manifests.pods:
        token = pod.spec.get("automountServiceAccountToken")
        if token is not (pod.spec.get("serviceAccountName") in wanted):
            yield f"{pod.owner} has automountServiceAccountToken {token}"
    for account in manifests.of("ServiceAccount"):
        if account.get("automountServiceAccountToken") is not False:
            yield f"pods of {account['metadata']['name']} get a token unless they say no"


def _wanted(manifests: Manifests) -> dict[str, Rights]:
    """Returns what each account's pods do at the API server."""
    wanted: dict[str, Rights] = {}
    for daemon in manifests.daemons:
        kubernetes = daemon.settings.kubernetes
        if daemon.role != "server" and kubernetes.image is not None:
            rights = {**RIGHTS, **(RIGHTS_APART if kubernetes.store else {})}
            wanted[daemon.pod.spec["serviceAccountName"]] = {key: frozenset(verbs) for key, verbs in rights.items()}
    return wanted


def _rights(role: Object) -> Rights:
    found: Rights = {}
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                found[group, resource] = found.get((group, resource), frozenset()) | frozenset(rule["verbs"])
    return found
