"""serving.network.providers: what ONNX Runtime is told of each device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime as ort
import pytest

from builders import colour_network
from eyasd.core.device import Device
from eyasd.core.errors import StartupFailed
from eyasd.core.variants import Precision
from eyasd.serving.network.providers import (
    CPU,
    CUDA,
    TENSORRT,
    Gpu,
    choose_provider,
    nodes_elsewhere,
    provider_options,
    session_options,
)


def told(provider: str, precision: Precision = Precision.FP32, *, graphs: bool = False, **gpu: Any) -> dict[str, dict[str, str]]:
    found = provider_options(provider, precision=precision, max_batch_size=12, gpu=Gpu(**gpu), graphs=graphs)
    assert found[0][0] == provider
    return {name: dict(options) for name, options in found}


def test_a_cpu_alone_is_for_a_cpu() -> None:
    assert told(CPU) == {CPU: {}}


def test_cuda_searches_briefly_grows_by_what_it_needs_and_up_to_what_it_may() -> None:
    plain = told(CUDA)[CUDA]
    assert plain == {"cudnn_conv_algo_search": "HEURISTIC", "arena_extend_strategy": "kSameAsRequested"}
    assert told(CUDA, memory_bytes=5)[CUDA] == plain | {"gpu_mem_limit": "5"}
    assert told(CUDA, graphs=True)[CUDA] == plain | {"enable_cuda_graph": "1"}
    assert told(CUDA, Precision.FP16)[CUDA] == plain | {"prefer_nhwc": "1"}


def test_tensorrt_knows_its_shapes_rounds_only_what_may_be_rounded_and_keeps_what_it_built(tmp_path: Path) -> None:
    options = told(TENSORRT, image_px=32)
    assert list(options) == [TENSORRT, CUDA, CPU]
    assert options[TENSORRT] == {
        "trt_profile_min_shapes": "images:1x32x32x3",
        "trt_profile_opt_shapes": "images:12x32x32x3",
        "trt_profile_max_shapes": "images:12x32x32x3",
        "trt_fp16_enable": "0",
    }
    assert "enable_cuda_graph" not in options[CUDA]
    more = told(TENSORRT, Precision.FP16, image_px=32, memory_bytes=7, cache=tmp_path)[TENSORRT]
    assert (more["trt_fp16_enable"], more["trt_max_workspace_size"]) == ("1", "7")
    assert more["trt_engine_cache_path"] == more["trt_timing_cache_path"] == str(tmp_path)


@pytest.mark.parametrize(("provider", "threads"), [(CPU, 3), (CUDA, 1), (TENSORRT, 1)])
def test_a_gpu_needs_no_threads(provider: str, threads: int) -> None:
    options = session_options(provider, 3)
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (threads, 1)


def test_what_runs_elsewhere_is_counted() -> None:
    session = ort.InferenceSession(colour_network(), session_options(CUDA, 1), providers=[CPU])
    assert nodes_elsewhere(session, CUDA) == {"Cast": 1, "ReduceMean": 1, "MatMul": 1, "Identity": 1, "Softmax": 1}
    plain = ort.InferenceSession(colour_network(), session_options(CPU, 1), providers=[CPU])
    assert nodes_elsewhere(plain, CPU) == {}


def test_tensorrt_without_its_libraries_stops_the_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: [TENSORRT, CUDA, CPU])
    monkeypatch.setenv("LD_LIBRARY_PATH", f":{tmp_path}")
    with pytest.raises(StartupFailed, match="the loader finds no libnvinfer: install TensorRT's libraries"):
        choose_provider(Device.TENSORRT)
    (tmp_path / "libnvinfer.so.10").touch()
    assert choose_provider(Device.TENSORRT) == TENSORRT
