"""What daemons are told: that they take it, that it fits their pod, and that each secret is one that operators are told of."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from eyasd.config import Settings
from eyasd.core.errors import StartupFailed
from eyasd.entrance import check_exposure, has_credentials
from manifests import K8S, Manifests, Object, Program, leaves, options_of

_OPERATIONS: Final = K8S.parent / "docs" / "operations.md"
# What is no setting, and whose it is.
_OTHERS: Final = {"HOME": "the image's own cannot be written"}
_STORE: Final = re.compile(r"AWS_[A-Z_]+|GOOGLE_[A-Z_]+|AZURE_[A-Z_]+|EYAS_[A-Z_]+")


def variables_are_settings(manifests: Manifests) -> Iterator[str]:
    """Each variable is a setting, or known to be another program's; each ConfigMap is of somebody, and holds settings alone."""
    for pod in manifests.written_pods:
        for container in pod.containers:
            for name in manifests.environment_of(container):
                if name.startswith("EYASD_") and not _is_setting(name):
                    yield f"{pod.place(container)} sets {name}, which is no setting"
                if not (name.startswith("EYASD_") or name in _OTHERS or _STORE.fullmatch(name)):
                    yield f"{pod.place(container)} sets {name}, which nobody reads"
    for config in manifests.of("ConfigMap"):
        for name in config.get("data", {}):
            if re.fullmatch(r"[A-Z_0-9]+", name) and not (_is_setting(name) or _STORE.fullmatch(name)):
                yield f"{config['metadata']['name']} holds {name}, which is no setting"


def _is_setting(name: str) -> bool:
    if not name.startswith("EYASD_"):
        return False
    room: Any = Settings
    for part in name.removeprefix("EYASD_").lower().split("__"):
        if not (isinstance(room, type) and issubclass(room, BaseModel)):
            return False
        if part not in room.model_fields:
            return False
        room = room.model_fields[part].annotation
    return not (isinstance(room, type) and issubclass(room, BaseModel))


def daemons_start_without_what_is_optional(manifests: Manifests) -> Iterator[str]:
    """The settings are good with and without the Secrets that a daemon may lack; `eyasd` refuses neither them nor the way in."""
    for daemon in manifests.daemons:
        for optional in (True, False):
            try:
                settings = manifests.settings_of(daemon.container, optional=optional)
                check_exposure(settings)
                if daemon.role != "server" and settings.kubernetes.image is not None:
                    options_of(settings, manifests.namespace)
            except StartupFailed as error:
                yield f"{daemon.pod.place(daemon.container)} would not start: {error.message}"


def credentials_do_not_travel_in_the_clear(manifests: Manifests) -> Iterator[str]:
    """Where a daemon always wants credentials it speaks TLS: clients send none in the clear to another machine."""
    for daemon in manifests.daemons:
        settings = manifests.settings_of(daemon.container, optional=False)
        if has_credentials(settings) and settings.api.tls_certificate is None:
            yield f"{daemon.pod.owner} wants credentials, and speaks no TLS"


def ports_are_those_that_are_listened_on(manifests: Manifests) -> Iterator[str]:
    """Each port of a daemon's container has the name and number of an address it listens on, for every machine; none is missing."""
    defaults = Settings.model_construct()
    for daemon in manifests.daemons:
        settings, place = daemon.settings, daemon.pod.place(daemon.container)
        listened = {"grpc": settings.api.listen, "metrics": settings.telemetry.metrics_listen}
        listened |= {"http": settings.api.http_listen} if settings.api.http_listen else {}
        ports = {port["name"]: port["containerPort"] for port in daemon.container.get("ports", ())}
        if ports != {name: int(address.rpartition(":")[2]) for name, address in listened.items()}:
            yield f"{place} has the ports {ports}, and listens on {listened}"
        for name, address in listened.items():
            if address.rpartition(":")[0] not in {"0.0.0.0", "[::]"}:  # noqa: S104
                yield f"{place} listens on {address} ({name}), where no other machine reaches it"
        usual = {"grpc": defaults.api.listen, "metrics": defaults.telemetry.metrics_listen}
        for name, address in usual.items():
            if listened[name].rpartition(":")[2] != address.rpartition(":")[2]:
                yield f"{place} listens on {listened[name]}, and by default on {address}"


def files_of_settings_are_mounted(manifests: Manifests) -> Iterator[str]:
    """Each file or folder that a setting names is in a volume, so that it is there and outlives the container."""
    for program in manifests.programs:
        mounts = [Path(mount["mountPath"]) for mount in program.container.get("volumeMounts", ())]
        named = {f"folder {folder}": Path(folder) for folder in program.folders}
        if program in manifests.daemons:  # a back-up reads no certificate
            named |= {setting[1:]: value for setting, value in leaves(program.settings.model_dump()) if isinstance(value, Path)}
        for setting, path in named.items():
            if path.is_absolute() and not any(path.is_relative_to(mount) for mount in mounts):
                yield f"{program.pod.place(program.container)} has {setting} = {path}, which is in no volume"


def certificates_have_the_names_that_are_checked(manifests: Manifests) -> Iterator[str]:
    """One that cert-manager makes has the names by which probes, trainings and callers within the cluster know the daemons."""
    daemons = [daemon for daemon in manifests.daemons if daemon.settings.api.tls_certificate]
    secrets = {volume["secret"]["secretName"] for one in daemons for volume in one.pod.spec["volumes"] if "secret" in volume}
    for certificate in manifests.of("Certificate"):
        if certificate["spec"].get("isCA") or certificate["spec"]["secretName"] not in secrets:
            continue
        wanted = {"localhost"}
        for service in (one["metadata"]["name"] for one in manifests.of("Service")):
            within = f"{service}.{manifests.namespace}"
            wanted |= {service, within, f"{within}.svc", f"{within}.svc.cluster.local"}
        for missing in sorted(wanted - set(certificate["spec"]["dnsNames"])):
            yield f"{certificate['metadata']['name']} has not the name {missing}"
        if not {"server auth", "client auth"} <= set(certificate["spec"]["usages"]):
            yield f"{certificate['metadata']['name']} is not for servers and their probes"


def training_pods_reach_their_trainer(manifests: Manifests) -> Iterator[str]:
    """Where pods share no folder with the trainer they are told of its Service; where they do, both mount it at one place."""
    for daemon in manifests.daemons:
        kubernetes = daemon.settings.kubernetes
        if daemon.role == "server" or kubernetes.image is None:
            continue
        if kubernetes.store is not None:
            host, _, port = (kubernetes.trainer or "").rpartition(":")
            service = manifests.find("Service", host.partition(".")[0])
            if service is None or int(port) not in [one["port"] for one in service["spec"]["ports"]]:
                yield f"{daemon.pod.owner} has kubernetes.trainer {kubernetes.trainer}, which is no Service here"
            elif not daemon.pod.chosen_by({"matchLabels": service["spec"]["selector"]}):
                yield f"{daemon.pod.owner} has kubernetes.trainer {kubernetes.trainer}, which leads elsewhere"
        yield from (
            f"{daemon.pod.owner} has {claim} at {path} for its Jobs, and not for itself"
            for path, claim in kubernetes.volumes.items()
            if _claims(daemon).get(path) != claim
        )


def _claims(daemon: Program) -> dict[str, str]:
    """Returns the names of claims by the path where a daemon has them."""
    claims = {
        one["name"]: one["persistentVolumeClaim"]["claimName"]
        for one in daemon.pod.spec["volumes"]
        if "persistentVolumeClaim" in one
    }
    return {one["mountPath"]: claims[one["name"]] for one in daemon.container["volumeMounts"] if one["name"] in claims}


def secrets_are_explained(manifests: Manifests) -> Iterator[str]:
    """Every Secret, and every key of one, that pods want is in the table of docs/operations.md."""
    explained: dict[str, str] = {}
    secret = ""
    for line in _OPERATIONS.read_text().splitlines():
        if line.startswith("|"):
            secret = line.split("|")[1].strip(" `") or secret  # a Secret has a row for each group of its keys
            explained[secret] = explained.get(secret, "") + line
    for secret, key in sorted(set(_secrets(manifests))):
        if f"`{secret}`" not in explained.get(secret, "") or (key and f"`{key}`" not in explained[secret]):
            yield f"the key {key!r} of the Secret {secret} is not in docs/operations.md"


def no_secret_is_written_down(manifests: Manifests) -> Iterator[str]:
    """No manifest has a Secret in it, and no variable of a secret setting has a value."""
    for secret in manifests.of("Secret"):
        yield f"the Secret {secret['metadata']['name']} is written down"
    written = [
        (config["metadata"]["name"], key, value) for config in manifests.of("ConfigMap") for key, value in config["data"].items()
    ]
    written += [
        (pod.place(container), one["name"], one["value"])
        for pod in manifests.written_pods
        for container in pod.containers
        for one in container.get("env", ())
        if "value" in one and "$(" not in one["value"]
    ]
    for place, name, value in written:
        known = name.endswith("TLS_KEY") or value.startswith("sqlite:")
        if re.search(r"(TOKEN|KEY|SECRET|PASSWORD|DATABASE)$", name) and not known:
            yield f"{place} has a value of {name}, which is for a Secret"


def _secrets(manifests: Manifests) -> Iterator[tuple[str, str]]:
    """Yields the names of Secrets with their keys; "" for all of one."""
    for pod in manifests.pods:
        for volume in pod.spec.get("volumes", ()):
            if "secret" in volume and not volume["secret"]["secretName"].startswith("eyas-j"):  # which the trainer makes
                yield from _items(volume["secret"]["secretName"], volume["secret"])
        for container in pod.containers:
            for source in container.get("envFrom", ()):
                if "secretRef" in source:
                    yield source["secretRef"]["name"], ""
            for one in container.get("env", ()):
                if found := one.get("valueFrom", {}).get("secretKeyRef"):
                    yield found["name"], found["key"]


def _items(name: str, volume: Object) -> Iterator[tuple[str, str]]:
    yield name, ""
    for item in volume.get("items", ()):
        yield name, item["key"]
