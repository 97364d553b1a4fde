"""k8s: every overlay and component keeps to the rules, and to the schemas of Kubernetes and of the operators whose kinds it has."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from manifests import COMPONENTS, K8S, OVERLAYS, Manifests, Object, leaves, name, render
from policies import broken
from schemas import VERSIONS, flaws

# Components on top of an overlay that has them not; each is in one of these, or in an overlay.
COMBINATIONS = [
    ("cpu", "backup", "read-write-many", "monitoring"),
    ("cpu", "backup", "object-store", "saturation", "tracing"),
    ("cpu", "access", "tls", "cert-manager", "prepull"),
    ("cpu", "keda"),
    ("gpu", "object-store", "tls", "prepull"),
    ("prod", "cert-manager", "monitoring", "tracing", "prepull", "model-cache"),
    ("prod", "gpu", "keda"),
    ("dev", "monitoring"),
]
CASES = [*((overlay,) for overlay in OVERLAYS), *COMBINATIONS]
each = pytest.mark.parametrize("case", CASES, ids="+".join)


@each
def test_manifests_keep_to_every_rule(case: tuple[str, ...]) -> None:
    assert broken(render(*case)) == []


def test_every_component_is_tried() -> None:
    within = "".join(path.read_text() for path in K8S.glob("overlays/*/kustomization.yaml"))
    tried = {one for combination in COMBINATIONS for one in combination[1:]} | set(re.findall(r"components/([\w-]+)", within))
    assert tried == set(COMPONENTS)


def test_objects_are_as_kubernetes_and_operators_have_them() -> None:
    found: dict[str, str] = {}
    for case in CASES:
        manifests = render(*case)
        for one in [*manifests.objects, *manifests.jobs]:
            found.setdefault(json.dumps(one, sort_keys=True), f"{'+'.join(case)}: {name(one)}")
    wrong = [
        f"{where}: {said}" for text, where in found.items() for version in VERSIONS if (said := flaws(json.loads(text), version))
    ]
    assert wrong == []


@pytest.mark.parametrize(
    "one",
    [
        {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"selector": {}, "template": {"spec": {"container": []}}}},
        {"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"port": "50051"}]}},
        {"apiVersion": "monitoring.coreos.com/v1", "kind": "PodMonitor", "spec": {"selector": {}, "podMetricEndpoints": []}},
        {
            "apiVersion": "cert-manager.io/v1",
            "kind": "Certificate",
            "spec": {"secretName": "a", "issuerRef": {"name": "b"}, "usages": ["all"]},
        },
        {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "spec": {"scaleTargetRef": {"name": "a"}}},
    ],
    ids=lambda one: one["kind"],
)
def test_a_field_that_there_is_not_is_found(one: Object) -> None:
    assert flaws({**one, "metadata": {"name": "a"}}, VERSIONS[0])


@pytest.mark.parametrize("case", [("cpu", "keda"), CASES[-3], ("cpu", "backup", "read-write-many")], ids="+".join)
def test_everything_moves_to_another_namespace_and_registry(case: tuple[str, ...]) -> None:
    """So that nothing has the namespace or the images written where kustomize does not reach."""
    images = [{"name": f"localhost/{one}", "newName": f"registry.example/{one}"} for one in ("eyas-server", "eyas-trainer")]
    moved = render(*case, namespace="other", images=json.dumps(images))
    assert moved.namespace == "other"
    assert broken(moved) == []
    written = [f"{name(one)}{path}" for one in moved.objects for path, value in leaves(one) if _names_eyas(path, value)]
    assert written == []


def _names_eyas(path: str, value: Any) -> bool:
    """Returns whether a value names the namespace eyas, or an image of this machine."""
    return bool(re.search(r"localhost/|\.eyas\b(?!\.example)|namespace=\W*eyas\b", str(value))) or (
        path.endswith(".namespace") and value == "eyas"
    )


def test_dashboards_and_rules_are_those_of_the_folder() -> None:
    shown = [render(*case) for case in CASES if render(*case).of("PrometheusRule")]
    assert shown
    for manifests in shown:
        boards = {file: text for one in manifests.of("ConfigMap") for file, text in one["data"].items() if file.endswith(".json")}
        assert boards == {f"eyas-{path.name}": path.read_text() for path in (K8S / "monitoring/grafana").glob("*.json")}
        groups = [group for one in manifests.of("PrometheusRule") for group in one["spec"]["groups"]]
        files = [yaml.safe_load(path.read_text())["groups"] for path in (K8S / "monitoring/rules").glob("*.yaml")]
        assert {group["name"]: group for group in groups} == {group["name"]: group for file in files for group in file}


def test_what_is_left_out_is_missed() -> None:
    """The rules look at something: an overlay has daemons, and the pods that its trainer makes."""
    found: Manifests = render("cpu")
    assert sorted(daemon.role for daemon in found.daemons) == ["server", "trainer"]
    assert len(found.training_pods) == 3
