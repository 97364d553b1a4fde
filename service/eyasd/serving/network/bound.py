"""Buffers of one batch size that stay where they are, on the device and in the host's memory.

ONNX Runtime then allocates nothing in a run and copies pictures from locked pages, which a GPU reads by itself. It can also record
the kernels of a run once and start them all in one call (a CUDA graph), which needs the same addresses each time.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from eyasd.core.bundle import INPUT, PROBABILITIES

# Key of ONNX Runtime's options of a run: the number of the graph that it records or replays; none with -1.
_GRAPH: Final = "gpu_graph_id"
_NO_GRAPH: Final = "-1"
# Of a probability. A recorded run starts the same kernels on the same numbers; what it must not do is answer for other pictures.
_TOLERANCE: Final = 1e-3
_CUDA_RUNTIMES: Final = ("libcudart.so.13", "libcudart.so.12")


class Bound:
    """Buffers for batches of one size."""

    def __init__(
        self, session: ort.InferenceSession, shape: Sequence[int], outputs: Mapping[str, Sequence[int]], *, device: str, graph: bool
    ) -> None:
        """Allocates them.

        Args:
            session: that runs the batches.
            shape: N, H, W and 3.
            outputs: names of the outputs that are fetched, with their sizes without N; all float32.
            device: where the session's buffers are, `cuda` or `cpu`.
            graph: whether runs are recorded and replayed.
        """
        self._session = session
        self._host = np.zeros(shape, np.uint8)
        if device != "cpu":
            _lock_pages(self._host)
        self._images = ort.OrtValue.ortvalue_from_shape_and_type(list(shape), np.uint8, device)
        self._outputs = {
            name: ort.OrtValue.ortvalue_from_shape_and_type([shape[0], *sizes], np.float32, device)
            for name, sizes in outputs.items()
        }
        self._binding = session.io_binding()
        self._binding.bind_ortvalue_input(INPUT, self._images)
        for name, value in self._outputs.items():
            self._binding.bind_ortvalue_output(name, value)
        self._plain, self._captured = run_options(_NO_GRAPH), run_options(str(shape[0]))
        self.graph = graph

    def run(self, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """Returns the outputs for 1 to N pictures, uint8 [n, H, W, 3], in arrays of their own; the rest is run along."""
        count = len(images)
        self._host[:count] = images
        self._images.update_inplace(self._host)
        self._session.run_with_iobinding(self._binding, self._captured if self.graph else self._plain)
        # On a CPU `numpy` is a view of the buffer, which the next run overwrites.
        return {name: value.numpy()[:count].copy() for name, value in self._outputs.items()}

    def check_graph(self, image: NDArray[np.uint8]) -> str:
        """Returns why replayed runs cannot be trusted, and stops replaying then; "" where they answer as others do.

        Replays have answered for pictures of an earlier batch (microsoft/onnxruntime#20050), so there are two in turn.

        Args:
            image: uint8 [H, W, 3], any picture that is not of one grey.
        """
        batches = [np.broadcast_to(one, self._host.shape) for one in (image, 255 - image, image)]
        try:
            replayed = [self.run(batch)[PROBABILITIES] for batch in batches]
        except Exception as error:  # noqa: BLE001 - whatever the capture fails of, the network runs without it
            self.graph = False
            return f"batches of {len(self._host)} cannot be captured: {error}"
        self.graph = False
        plain = [self.run(batch)[PROBABILITIES] for batch in batches]
        difference = max(float(np.abs(one - other).max()) for one, other in zip(replayed, plain, strict=True))
        self.graph = difference <= _TOLERANCE
        return "" if self.graph else f"batches of {len(self._host)} differ by {difference:.3g} when they are replayed"


def run_options(graph: str = _NO_GRAPH) -> ort.RunOptions:
    """Returns the options of a run that records or replays the graph of this number, by default none."""
    options = ort.RunOptions()
    options.add_run_config_entry(_GRAPH, graph)
    return options


def _lock_pages(array: NDArray[np.uint8]) -> None:
    """Keeps an array's pages in memory as long as it lives, so that a GPU copies them without the CPU.

    Asks the CUDA library that ONNX Runtime has loaded. Without it, or where the system allows no more, copies take longer, and
    nothing else.
    """
    for name in _CUDA_RUNTIMES:
        with suppress(OSError):
            cuda = ctypes.CDLL(name, mode=os.RTLD_NOW | os.RTLD_NOLOAD)
            address = ctypes.c_void_p(array.ctypes.data)
            if cuda.cudaHostRegister(address, ctypes.c_size_t(array.nbytes), 0) == 0:
                weakref.finalize(array, cuda.cudaHostUnregister, address)
            return
