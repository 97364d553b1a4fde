"""Whether an object is as Kubernetes, or the operator that brings its kind, has it: no field too many or of another type."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from collections.abc import Iterator
from functools import cache
from types import ModuleType
from typing import Any, Final

import kubernetes_validate
from kubernetes_validate import utils
from pydantic import TypeAdapter, ValidationError

from manifests import Object

# The oldest and the newest that docs/operations.md names.
VERSIONS: Final = ("1.30", "1.36")
# Kinds that operators bring, and the module of their types: those of cloudcoil's packages, which are made of the operators' own.
_MODULES: Final = {
    "monitoring.coreos.com/v1": ("prometheus-operator", "prometheus_operator/v1.py"),
    "keda.sh/v1alpha1": ("keda", "keda/v1alpha1.py"),
    "cert-manager.io/v1": ("cert-manager", "cert_manager/v1.py"),
}
# What the packages do not know yet, and since when it is there.
_NEWER: Final = {"spec.fallback.behavior": "KEDA 2.17"}


def flaws(one: Object, version: str) -> str:
    """Returns what is wrong with an object for a version of Kubernetes; "" where nothing is."""
    try:
        if one["apiVersion"] in _MODULES:
            return _flaws_of_custom(one)
        kubernetes_validate.validate(one, version, strict=True)
    except (ValidationError, kubernetes_validate.ValidationError) as error:
        return str(error)
    return ""


def _flaws_of_custom(one: Object) -> str:
    kinds = _kinds(*_MODULES[one["apiVersion"]])
    spec: TypeAdapter[Any] = TypeAdapter(getattr(kinds, one["kind"]).model_fields["spec"].annotation)
    kept = spec.dump_python(spec.validate_python(one["spec"], strict=True), mode="json", by_alias=True, exclude_unset=True)
    unknown = set(_paths(one["spec"])) - set(_paths(kept)) - _NEWER.keys()
    more = one.keys() - {"apiVersion", "kind", "metadata", "spec"}
    return f"There are no fields {sorted(unknown | more)}." if unknown or more else ""


def _paths(tree: Any, path: str = "spec") -> Iterator[str]:
    yield path
    if isinstance(tree, dict | list):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from _paths(value, f"{path}.{key}")


@cache
def _kinds(package: str, file: str) -> ModuleType:
    """Returns a module of a package, without those beside it, each of which takes a second to import."""
    (path,) = [one for one in importlib.metadata.files(f"cloudcoil-models-{package}") or () if str(one).endswith(file)]
    spec = importlib.util.spec_from_file_location(f"kinds_of_{package}", path.locate())
    assert spec
    assert spec.loader
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Each object would have the same megabytes read again.
_read: Any = utils.schema_contents
utils.schema_contents = cache(_read)
