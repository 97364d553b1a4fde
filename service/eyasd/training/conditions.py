"""What decides a training beside its dataset and its hyper-parameters: versions, the device, and where weights would come from."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Final

from eyasd.core.tasks import Conditions
from eyasd.training.network import device_name

# They decide the numbers; the others only carry them.
_PACKAGES: Final = ("numpy", "onnx", "onnxruntime", "onnxscript", "pillow", "timm", "torch")
# Of which one is installed: the build for GPUs is a package of its own.
_BUILDS: Final = {"onnxruntime": "onnxruntime-gpu"}


def conditions(weights_source: str | None) -> Conditions:
    """Returns those of this process; `weights_source` is where its weights come from, see `Conditions`."""
    packages = {package: _version(package) for package in _PACKAGES}
    return Conditions(version("eyas"), packages, device_name(), weights_source)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        if package not in _BUILDS:
            raise
        return version(_BUILDS[package])
