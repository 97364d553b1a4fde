"""training.conditions: what else decided a training, with either build of ONNX Runtime."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import pytest

from eyasd.training import conditions


@pytest.mark.parametrize("installed", ["onnxruntime", "onnxruntime-gpu"])
def test_each_build_of_the_runtime_is_known_by_one_name(installed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {package: version(package) for package in ("eyas", "numpy", "onnx", "onnxscript", "pillow", "timm", "torch")}

    def found(package: str) -> str:
        try:
            return (versions | {installed: "1.31.0"})[package]
        except KeyError:
            raise PackageNotFoundError(package) from None

    monkeypatch.setattr(conditions, "version", found)
    packages = conditions.conditions(None).packages
    assert packages["onnxruntime"] == "1.31.0"
    assert set(packages) == {"numpy", "onnx", "onnxruntime", "onnxscript", "pillow", "timm", "torch"}
    del versions["timm"]
    with pytest.raises(PackageNotFoundError):
        conditions.conditions(None)
