"""Where tests of the manifests' rules change them."""

from __future__ import annotations

from typing import Any

from manifests import Manifests, Object


def spec(manifests: Manifests, called: str, kind: str = "Deployment") -> Object:
    found = manifests.find(kind, called)
    assert found
    return found["spec"]  # type: ignore[no-any-return]


def pod(manifests: Manifests, called: str = "eyas-server") -> Object:
    return spec(manifests, called)["template"]["spec"]  # type: ignore[no-any-return]


def container(manifests: Manifests, called: str = "eyas-server") -> Object:
    return pod(manifests, called)["containers"][0]  # type: ignore[no-any-return]


def config(manifests: Manifests, called: str = "eyas-server") -> Object:
    (found,) = [one for one in manifests.of("ConfigMap") if one["metadata"]["name"].startswith(called)]
    return found["data"]  # type: ignore[no-any-return]


def remove(manifests: Manifests, kind: str, called: str) -> None:
    one = manifests.find(kind, called)
    assert one
    manifests.objects.remove(one)


def again(manifests: Manifests, kind: str, called: str, **fields: Any) -> None:
    """Adds an object like another, with other fields of its spec."""
    one = manifests.find(kind, called)
    assert one
    manifests.objects.append({**one, "metadata": {**one["metadata"], "name": f"{called}-b"}, "spec": {**one["spec"], **fields}})


def rule(manifests: Manifests, called: str) -> Object:
    return spec(manifests, called, "NetworkPolicy")["ingress"][0]  # type: ignore[no-any-return]
