"""What decides a training beside its dataset and its hyper-parameters: versions, the device, and where weights would come from."""

from __future__ import annotations

from importlib.metadata import version
from typing import Final

from eyasd.core.tasks import Conditions
from eyasd.training.network import device_name

# They decide the numbers; the others only carry them.
_PACKAGES: Final = ("numpy", "onnx", "onnxruntime", "onnxscript", "pillow", "timm", "torch")


def conditions(weights_source: str | None) -> Conditions:
    """Returns those of this process; `weights_source` is where its weights come from, see `Conditions`."""
    packages = {package: version(package) for package in _PACKAGES}
    return Conditions(version("eyas"), packages, device_name(), weights_source)
