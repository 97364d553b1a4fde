"""The execution providers of ONNX Runtime that Eyas serves on, and what each is told.

ONNX Runtime is imported where it is needed: a daemon whose engines are processes of their own starts sooner, and smaller, without.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from ctypes.util import find_library
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from eyasd.core import bundle
from eyasd.core.device import Device
from eyasd.core.errors import StartupFailed
from eyasd.core.variants import EXACT_INT8, Precision

if TYPE_CHECKING:
    import onnxruntime as ort

CPU: Final = "CPUExecutionProvider"
CUDA: Final = "CUDAExecutionProvider"
TENSORRT: Final = "TensorrtExecutionProvider"

# On a CPU further pictures of a batch gain little and cost memory: a process that has run 32 holds 544 MiB, one that has run 8
# holds 207 (tf_efficientnet_lite0, docs/benchmarks.md).
DEFAULT_BATCH_SIZES: Final = {CPU: 8, CUDA: 32, TENSORRT: 32}
_ERROR: Final = 3  # ONNX Runtime's severity; below it, it warns of harmless things on standard error
_PROVIDERS: Final = {Device.CUDA: CUDA, Device.TENSORRT: TENSORRT}


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """What a session on a GPU is told.

    Attributes:
        memory_bytes: most that it may take for weights and activations; 0 is what the card has.
        cache: folder for what TensorRT builds, which takes minutes; None keeps nothing.
        image_px: side of the pictures, which TensorRT has to know beforehand.
    """

    memory_bytes: int = 0
    cache: Path | None = None
    image_px: int = 0


def choose_provider(device: Device) -> str:
    """Returns the execution provider for `device`.

    `auto` takes CUDA where the machine has an NVIDIA GPU and ONNX Runtime is the build for it; a GPU that is there and cannot
    be used is an error when a session is made, never a silent fall-back.

    Raises:
        StartupFailed: a GPU is asked for, and this ONNX Runtime was built without it; or TensorRT, and its libraries are missing.
    """
    if device is Device.CPU or (device is Device.AUTO and not _gpu_present()):
        return CPU
    import onnxruntime as ort  # noqa: PLC0415

    available = ort.get_available_providers()
    wanted = _PROVIDERS.get(device)
    if wanted and wanted not in available:
        raise StartupFailed(
            f"serving.device is {device}, but this ONNX Runtime has no {wanted}: install 'eyas[server-gpu]' instead of "
            "'eyas[server]', or choose another device."
        )
    if wanted == TENSORRT and not tensorrt_present():
        raise StartupFailed(
            "serving.device is tensorrt, but the loader finds no libnvinfer: install TensorRT's libraries and name their folder in "
            "LD_LIBRARY_PATH, or choose another device."
        )
    return wanted or (CUDA if CUDA in available else CPU)


def tensorrt_present() -> bool:
    """Returns whether the loader will find TensorRT, which ONNX Runtime is built for and does not bring along."""
    folders = filter(None, os.environ.get("LD_LIBRARY_PATH", "").split(":"))
    return any(any(Path(folder).glob("libnvinfer.so*")) for folder in folders) or find_library("nvinfer") is not None


def _gpu_present() -> bool:
    """Returns whether the NVIDIA driver shows a GPU that this process may see."""
    return os.environ.get("CUDA_VISIBLE_DEVICES") != "" and any(Path("/proc/driver/nvidia/gpus").glob("*"))


def session_options(provider: str, threads: int) -> ort.SessionOptions:
    """Returns how a session runs.

    Args:
        provider: that it runs on.
        threads: for the operators of one run; on a GPU one is enough.
    """
    import onnxruntime as ort  # noqa: PLC0415

    if provider != CPU:
        # Finds the CUDA and cuDNN libraries that pip installed, in the process that needs them; else the loader must.
        ort.preload_dlls()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads if provider == CPU else 1
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERROR
    # Idle threads that spin would take the cores that decode the next pictures.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry(*EXACT_INT8)
    if provider != CPU:
        # Weights never move: outside the arena they leave no gaps in it.
        options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
        # So that `nodes_elsewhere` can say what the GPU does not run.
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    return options


def provider_options(
    provider: str, *, precision: Precision, max_batch_size: int, gpu: Gpu, graphs: bool
) -> list[tuple[str, Mapping[str, str]]]:
    """Returns the providers of a session, the first one for all that it can run.

    Args:
        provider: the first one.
        precision: of the network.
        max_batch_size: the largest batch.
        gpu: see there.
        graphs: whether runs are captured as CUDA graphs.
    """
    cpu: tuple[str, Mapping[str, str]] = (CPU, {})
    if provider == CPU:
        return [cpu]
    cuda = {
        # EXHAUSTIVE, the default, searches 0.3 to 1.3 s for each new shape; kSameAsRequested keeps the arena from doubling.
        "cudnn_conv_algo_search": "HEURISTIC",
        "arena_extend_strategy": "kSameAsRequested",
    }
    if gpu.memory_bytes:
        cuda["gpu_mem_limit"] = str(gpu.memory_bytes)
    if precision is Precision.FP16:  # in 16 bits cuDNN's kernels for tensor cores want the channels last
        cuda["prefer_nhwc"] = "1"
    if provider == TENSORRT:
        return [(TENSORRT, _tensorrt(precision, max_batch_size, gpu)), (CUDA, cuda), cpu]
    return [(CUDA, cuda | {"enable_cuda_graph": "1"} if graphs else cuda), cpu]


def _tensorrt(precision: Precision, max_batch_size: int, gpu: Gpu) -> dict[str, str]:
    """Returns what TensorRT is told. It builds one engine for all batch sizes, quickest for the largest."""
    shape = f"{gpu.image_px}x{gpu.image_px}x3"
    options = {
        "trt_profile_min_shapes": f"{bundle.INPUT}:1x{shape}",
        "trt_profile_opt_shapes": f"{bundle.INPUT}:{max_batch_size}x{shape}",
        "trt_profile_max_shapes": f"{bundle.INPUT}:{max_batch_size}x{shape}",
        # It computes in 16 bits only what the file has in 16 bits: model.onnx is never rounded behind its back.
        "trt_fp16_enable": str(int(precision is Precision.FP16)),
    }
    if gpu.memory_bytes:
        options["trt_max_workspace_size"] = str(gpu.memory_bytes)
    if gpu.cache:
        folder = str(gpu.cache)
        options |= {"trt_engine_cache_enable": "1", "trt_engine_cache_path": folder}
        options |= {"trt_timing_cache_enable": "1", "trt_timing_cache_path": folder}
    return options


def nodes_elsewhere(session: ort.InferenceSession, provider: str) -> dict[str, int]:
    """Returns how many nodes of each kind a session runs on another provider than the one it was made for.

    Empty where `session_options` recorded nothing, as on a CPU.
    """
    found: dict[str, int] = {}
    for part in session.get_provider_graph_assignment_info() if provider != CPU else []:
        if part.ep_name != provider:
            for node in part.get_nodes():
                found[node.op_type] = found.get(node.op_type, 0) + 1
    return found
