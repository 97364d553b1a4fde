"""serving.network.memory: a batch that does not fit is answered in parts, and none as large is tried again."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from eyasd.core.errors import OutOfMemory
from eyasd.serving.network.memory import is_out_of_memory, run_in_parts
from eyasd.serving.network.session import Outputs
from eyasd.serving.queue.batcher import Batcher, Options


class Card:
    """A device that holds so many pictures; what it answers is what it got."""

    def __init__(self, holds: int) -> None:
        self.holds = holds
        self.sizes: list[int] = []

    def run(self, images: NDArray[np.uint8], maps: bool) -> Outputs:
        self.sizes.append(len(images))
        if len(images) > self.holds:
            raise RuntimeError("Error in execution: ... Failed to allocate memory for requested buffer of size 707788800")
        rows = images.reshape(len(images), -1).astype(np.float32)
        return Outputs(rows, feature_maps=rows[:, :, None, None] if maps else None)


@given(st.integers(1, 32), st.integers(1, 40), st.booleans())
def test_every_picture_is_answered_in_order_and_what_does_not_fit_is_tried_once(count: int, holds: int, pads: bool) -> None:
    card = Card(holds)
    batcher = Batcher(Options(32, pads=pads))
    images = np.arange(count, dtype=np.uint8).reshape(count, 1, 1, 1).repeat(3, axis=3)
    for _ in range(2):
        parts = run_in_parts(card.run, images[: batcher.max_batch_size], False, batcher.lower)
        rows = [part.outcome.probabilities for part in parts if isinstance(part.outcome, Outputs)]
        assert np.concatenate(rows).tolist() == images[: sum(part.count for part in parts)].reshape(-1, 3).tolist()
        assert [part.first for part in parts] == [sum(part.count for part in parts[:n]) for n in range(len(parts))]
    too_large = [size for size in card.sizes if size > holds]
    assert len(too_large) == len(set(too_large))


def test_a_picture_that_does_not_fit_alone_fails_alone() -> None:
    class Picky(Card):
        def run(self, images: NDArray[np.uint8], maps: bool) -> Outputs:
            self.holds = 0 if (images == 13).any() else 4
            return super().run(images, maps)

    images = np.array([1, 13, 2], np.uint8).reshape(3, 1, 1, 1)
    parts = run_in_parts(Picky(0).run, images, True, Batcher(Options(4)).lower)
    outcomes = [part.outcome for part in parts]
    assert [isinstance(outcome, OutOfMemory) for outcome in outcomes] == [False, True, False]
    assert isinstance(outcomes[1], OutOfMemory)
    assert "too little memory left for one picture" in outcomes[1].message
    assert isinstance(outcomes[0], Outputs)
    assert outcomes[0].feature_maps is not None


def test_other_failures_are_the_callers() -> None:
    def run(images: NDArray[np.uint8], maps: bool) -> Outputs:
        raise RuntimeError("the device is unhappy")

    with pytest.raises(RuntimeError, match="unhappy"):
        run_in_parts(run, np.zeros((2, 1, 1, 3), np.uint8), False, lambda size: size - 1)


@pytest.mark.parametrize(
    "message",
    [
        "BFCArena::AllocateRawInternal Available memory of 0 is smaller than requested bytes of 135383040",
        "CUDA failure 2: out of memory ; GPU=0 ; expr=cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);",
        "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0",
        "CUDNN failure 2: CUDNN_STATUS_ALLOC_FAILED ; GPU=0",
    ],
)
def test_a_cards_words_are_understood(message: str) -> None:
    assert is_out_of_memory(Exception(f"[ONNXRuntimeError] : 1 : FAIL : {message}"))
    assert not is_out_of_memory(Exception("CUDA failure 700: an illegal memory access was encountered"))


# A network that needs 44 MB a picture, in a process that may have 200 MB more than it has.
SCARCE = """
import resource, sys
import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper
from eyasd.serving.network.memory import is_out_of_memory

image = helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", 64, 64, 3])
mean = helper.make_tensor_value_info("mean", TensorProto.FLOAT, ["N", 3])
nodes = [
    helper.make_node("Cast", ["images"], ["float"], to=TensorProto.FLOAT),
    helper.make_node("Tile", ["float", "times"], ["large"]),
    helper.make_node("ReduceMean", ["large"], ["mean"], axes=[1, 2], keepdims=0),
]
times = helper.make_tensor("times", TensorProto.INT64, [4], [1, 30, 30, 1])
graph = helper.make_graph(nodes, "scarce", [image], [mean], [times])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=9).SerializeToString()
images = np.zeros((16, 64, 64, 3), np.uint8)
sessions = []
for arena in (True, False):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.enable_cpu_mem_arena = arena
    sessions.append(ort.InferenceSession(model, options, providers=["CPUExecutionProvider"]))
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + 200_000_000,) * 2)
found = []
for session in sessions:
    binding = session.io_binding()
    binding.bind_cpu_input("images", images)
    binding.bind_output("mean")
    for run in (lambda: session.run(None, {"images": images}), lambda: session.run_with_iobinding(binding)):
        try:
            run()
        except Exception as error:
            found.append(is_out_of_memory(error))
    session.run(None, {"images": images[:1]})
print(found)
"""


def test_onnx_runtime_says_so_when_memory_ends() -> None:
    done = subprocess.run([sys.executable, "-c", SCARCE], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[True, True, True, True]"
