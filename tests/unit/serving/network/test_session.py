"""serving.network.session: only the form of network that Eyas writes is loaded, on the provider that was asked for."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from builders import SIDE, colour_network, golden
from eyasd.core.device import Device
from eyasd.core.errors import BrokenBundle, StartupFailed
from eyasd.core.heap import trim
from eyasd.serving.network.providers import CPU, CUDA, TENSORRT, Gpu, choose_provider, tensorrt_present
from eyasd.serving.network.session import Session
from hostile.networks import refused


def session(model: bytes, max_batch_size: int = 8) -> Session:
    return Session(model, provider=CPU, threads=1, max_batch_size=max_batch_size)


def test_the_network_answers_as_computed_by_hand() -> None:
    loaded = session(colour_network())
    loaded.warm(golden().images[0])
    outputs = loaded.run(golden().images, maps=True)
    assert np.allclose(outputs.probabilities, golden().probabilities, atol=1e-6)
    assert (outputs.ood_scores, outputs.feature_maps) == (None, None)


def test_what_else_the_network_says_is_told_too_and_its_maps_if_they_are_asked_for() -> None:
    loaded = session(colour_network(maps=True, ood_score=True))
    images = golden().images
    plain, explained = loaded.run(images), loaded.run(images, maps=True)
    assert plain.feature_maps is None
    assert explained.feature_maps is not None
    assert (explained.feature_maps == images.transpose(0, 3, 1, 2)).all()
    for outputs in (plain, explained):
        assert np.allclose(outputs.probabilities, golden().probabilities, atol=1e-6)
        assert outputs.ood_scores is not None
        assert (outputs.ood_scores == images.max(axis=(1, 2, 3))).all()


def floats() -> bytes:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["images"], ["probabilities"])],
        "floats",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 3])],
    )
    made: bytes = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10).SerializeToString()
    return made


def beside() -> bytes:
    """A network whose weights are said to lie in another file."""
    model = onnx.load_from_string(colour_network())
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="../../../etc/passwd")
    made: bytes = model.SerializeToString()
    return made


@pytest.mark.parametrize(
    "model",
    [b"", b"garbage", colour_network()[:100], floats(), beside(), refused()["a loop without an end"]],
    ids=["empty", "text", "half", "floats", "beside", "a loop, which ONNX Runtime would load"],
)
def test_another_network_is_refused_in_an_error_and_nowhere_else(model: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BrokenBundle, match=r"model\.onnx"):
        session(model)
    assert capfd.readouterr() == ("", "")


def test_the_session_keeps_no_copy_of_the_file() -> None:
    model = colour_network(work=300)
    before = sys.getrefcount(model)
    loaded = session(model)
    trim()
    assert sys.getrefcount(model) == before
    assert np.allclose(loaded.run(golden().images).probabilities, golden().probabilities, atol=1e-6)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hides the GPU, where there is one."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("provider", [CUDA, TENSORRT])
def test_a_provider_that_is_not_there_is_an_error_never_a_fall_back(provider: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BrokenBundle, match=provider):
        Session(colour_network(), provider=provider, threads=1, max_batch_size=1)
    assert capfd.readouterr().out == ""


@pytest.mark.usefixtures("no_gpu")
def test_asking_for_cuda_without_it_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CPU])
    assert choose_provider(Device.CPU) == CPU
    assert choose_provider(Device.AUTO) == CPU
    for device in (Device.CUDA, Device.TENSORRT):
        with pytest.raises(StartupFailed, match=f"serving.device is {device}, .* install 'eyas\\[server-gpu\\]'"):
            choose_provider(device)


@pytest.mark.gpu
@pytest.mark.parametrize("device", [Device.AUTO, Device.TENSORRT])
def test_on_a_gpu_the_network_answers_as_computed_by_hand(device: Device, tmp_path: Path) -> None:
    if device is Device.TENSORRT and TENSORRT not in ort.get_available_providers():
        pytest.skip("this ONNX Runtime has no TensorRT")
    if device is Device.TENSORRT and not tensorrt_present():
        pytest.skip("TensorRT's libraries are not installed")
    provider = choose_provider(device)
    assert provider == (TENSORRT if device is Device.TENSORRT else CUDA)
    gpu = Gpu(memory_bytes=1 << 30, cache=tmp_path, image_px=SIDE)
    loaded = Session(colour_network(maps=True, ood_score=True), provider=provider, threads=1, max_batch_size=8, gpu=gpu)
    loaded.warm(golden().images[0])
    assert loaded.without_graphs == ""
    assert provider != CUDA or loaded.elsewhere == {}
    for count in (3, 1, 2, 3):  # three are padded to four
        outputs, explained = loaded.run(golden().images[:count]), loaded.run(golden().images[:count], maps=True)
        for found in (outputs, explained):
            assert np.allclose(found.probabilities, golden().probabilities[:count], atol=1e-3)
            assert found.ood_scores is not None
            assert (found.ood_scores == golden().images[:count].max(axis=(1, 2, 3))).all()
        assert explained.feature_maps is not None
        assert (explained.feature_maps == golden().images[:count].transpose(0, 3, 1, 2)).all()
