"""One ONNX file in ONNX Runtime on one device.

Knows arrays and execution providers; nothing of pictures, models' names or queues.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from eyasd.core import bundle
from eyasd.core.device import Device
from eyasd.core.errors import BrokenBundle, StartupFailed
from eyasd.core.variants import EXACT_INT8

CUDA: Final = "CUDAExecutionProvider"
CPU: Final = "CPUExecutionProvider"
# On one core of an EPYC tf_efficientnet_lite0 runs 108 pictures/s one by one and 104 in batches of 8 or 32; a process that has
# warmed 32 holds 501 MiB, one that has warmed 8 holds 192.
DEFAULT_BATCH_SIZES: Final = {CPU: 8, CUDA: 32}
ERROR: Final = 3  # ONNX Runtime's severity; below it, it warns of harmless things on standard error


def choose_provider(device: Device) -> str:
    """Returns the execution provider for `device`.

    `auto` takes CUDA where the machine has an NVIDIA GPU and ONNX Runtime is the build for it; a GPU that is there and cannot
    be used is an error when a session is made, never a silent fall-back.

    Raises:
        StartupFailed: CUDA is asked for, and this ONNX Runtime was built without it.
    """
    built = CUDA in ort.get_available_providers()
    if device is Device.CUDA and not built:
        raise StartupFailed(
            "serving.device is cuda, but this ONNX Runtime has no CUDA: install 'eyas[server-gpu]' instead of 'eyas[server]'."
        )
    if device is Device.CUDA or (device is Device.AUTO and built and _gpu_present()):
        # Finds the CUDA and cuDNN libraries that pip installed; without it they must be on the loader's path.
        ort.preload_dlls()
        return CUDA
    return CPU


def _gpu_present() -> bool:
    """Returns whether the NVIDIA driver shows a GPU that this process may see."""
    return os.environ.get("CUDA_VISIBLE_DEVICES") != "" and any(Path("/proc/driver/nvidia/gpus").glob("*"))


def _provider_options(provider: str) -> list[tuple[str, dict[str, str]]]:
    if provider == CPU:
        return [(CPU, {})]
    # EXHAUSTIVE, the default, searches 0.3 to 1.3 s for each new shape; kSameAsRequested keeps the arena from doubling.
    options = {"cudnn_conv_algo_search": "HEURISTIC", "arena_extend_strategy": "kSameAsRequested"}
    return [(CUDA, options), (CPU, {})]


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a network says of N pictures.

    Attributes:
        probabilities: float32 [N, C], each row in 0..1.
        ood_scores: float32 [N], larger = less like the training pictures; None where the network has no such output.
        feature_maps: float32 [N, F, h, w], what the head sees before it is pooled; None where nobody asked, or the network has no
            such output.
    """

    probabilities: NDArray[np.float32]
    ood_scores: NDArray[np.float32] | None = None
    feature_maps: NDArray[np.float32] | None = None


class Session:
    """A loaded network. `run` may be called from any thread, one call at a time for the best throughput."""

    def __init__(self, model: bytes, *, provider: str, threads: int, max_batch_size: int, name: str = bundle.MODEL) -> None:
        """Loads the network.

        Args:
            model: content of model.onnx. Loaded from memory, so what runs is what was verified, and the file cannot name others.
            provider: CPU or CUDA execution provider; if it is not the one in use afterwards, that is an error.
            threads: for the operators of one run; on CUDA one is enough.
            max_batch_size: the largest batch `run` is called with.
            name: of the file, for messages.

        Raises:
            BrokenBundle: the file is no network of the bundle's form, or the provider cannot run it.
        """
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads if provider == CPU else 1
        options.inter_op_num_threads = 1
        options.log_severity_level = ERROR
        # Idle threads that spin would take the cores that decode the next pictures.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry(*EXACT_INT8)
        try:
            self._session = ort.InferenceSession(model, options, providers=_provider_options(provider))
            inputs = {i.name: i.type for i in self._session.get_inputs()}
            outputs = {o.name: o.type for o in self._session.get_outputs()}
        except Exception as error:  # ONNX Runtime raises its own kinds, and UnicodeDecodeError on damaged files
            raise BrokenBundle(f"{name} cannot be loaded: {error}") from error
        if inputs != {bundle.INPUT: "tensor(uint8)"} or outputs.get(bundle.PROBABILITIES) != "tensor(float)":
            raise BrokenBundle(f"{name} has inputs {inputs} and outputs {outputs}; it was not made by Eyas.")
        if self._session.get_providers()[0] != provider:
            raise BrokenBundle(f"{name} cannot run on {provider}; ONNX Runtime offers {self._session.get_providers()}.")
        self._outputs = [name for name in (bundle.PROBABILITIES, bundle.OOD_SCORE) if name in outputs]
        self._has_maps = bundle.FEATURE_MAP in outputs
        self._pads = provider == CUDA
        self._max_batch_size = max_batch_size

    def run(self, images: NDArray[np.uint8], maps: bool = False) -> Outputs:
        """Returns what the network says of each picture.

        Args:
            images: uint8 [N, H, W, 3], RGB, with 1 <= N <= max_batch_size.
            maps: whether the feature maps are wanted too, if the network has them: a copy of 4 * F * h * w bytes a picture.
        """
        count = len(images)
        padded = _pad(images, self._max_batch_size) if self._pads else images
        names = [*self._outputs, bundle.FEATURE_MAP] if maps and self._has_maps else self._outputs
        found = dict(zip(names, (rows[:count] for rows in self._session.run(names, {bundle.INPUT: padded})), strict=True))
        return Outputs(found[bundle.PROBABILITIES], found.get(bundle.OOD_SCORE), found.get(bundle.FEATURE_MAP))

    def warm(self, image: NDArray[np.uint8]) -> None:
        """Runs every batch shape that will occur, twice: the first run of a shape allocates and, on CUDA, chooses kernels.

        Args:
            image: uint8 [H, W, 3], any picture.
        """
        sizes = _ladder(self._max_batch_size) if self._pads else [1, self._max_batch_size]
        for size in sizes:
            for _ in range(2):
                self.run(np.repeat(image[None], size, axis=0))


def _ladder(max_batch_size: int) -> list[int]:
    """Returns 1, 2, 4, ... up to and with `max_batch_size`: few shapes, so that each can be warmed."""
    return sorted({min(1 << power, max_batch_size) for power in range(max_batch_size.bit_length() + 1)})


def _pad(images: NDArray[np.uint8], max_batch_size: int) -> NDArray[np.uint8]:
    size = next(size for size in _ladder(max_batch_size) if size >= len(images))
    return images if size == len(images) else np.concatenate([images, np.zeros((size - len(images), *images.shape[1:]), np.uint8)])
