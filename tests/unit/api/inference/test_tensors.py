"""api.inference.tensors: any bytes are pictures or a mistake that is told, and answers keep their numbers."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyasd.api.inference.messages import Message, message_class
from eyasd.api.inference.parameters import priority, timeout_seconds
from eyasd.api.inference.tensors import Wanted, answer_tensors, pictures, wanted_outputs
from eyasd.core.errors import InvalidArgument
from eyasd.serving.answer import Classified, Labelled, Prediction, Timing
from eyasd.serving.question import Priority

ModelInferRequest = message_class("ModelInferRequest")


def request(name: str, datatype: str, shape: list[int], raw: bytes, **more: object) -> Message:
    tensor = {"name": name, "datatype": datatype, "shape": shape}
    return ModelInferRequest(inputs=[tensor], raw_input_contents=[raw], **more)


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=10))
def test_elements_come_back_as_they_were(files: list[bytes]) -> None:
    raw = b"".join(struct.pack("<I", len(file)) + file for file in files)
    assert pictures(request("encoded", "BYTES", [len(files), 1], raw)) == files


@given(st.sampled_from(["encoded", "images"]), st.lists(st.integers(-3, 70), max_size=5), st.binary(max_size=60))
def test_any_request_is_pictures_or_a_mistake(name: str, shape: list[int], raw: bytes) -> None:
    asked = request(name, "BYTES" if name == "encoded" else "UINT8", shape, raw)
    try:
        found = pictures(asked)
    except InvalidArgument:
        return
    assert len(found) == shape[0]
    held = sum(len(one) + 4 if isinstance(one, bytes) else one.size for one in found)
    assert held == len(raw)


def test_pixels_are_not_copied() -> None:
    raw = bytes(range(24))
    (first, second) = pictures(request("images", "UINT8", [2, 2, 2, 3], raw))
    assert isinstance(second, np.ndarray)
    assert second.flatten().tolist() == list(range(12, 24))
    assert first.base is not None


def test_contents_come_once() -> None:
    twice = request("encoded", "BYTES", [1], b"\0\0\0\0")
    twice.inputs[0].contents.bytes_contents.append(b"")
    with pytest.raises(InvalidArgument, match="come twice"):
        pictures(twice)
    large = ModelInferRequest(inputs=[{"name": "images", "datatype": "UINT8", "shape": [1, 1, 1, 3]}])
    large.inputs[0].contents.uint_contents.extend([1, 256, 3])
    with pytest.raises(InvalidArgument, match="holds the value 256; UINT8 ends at 255"):
        pictures(large)


def test_no_more_elements_are_looked_at_than_the_shape_says() -> None:
    """A loop over 7,500,000 empty ones kept everybody waiting for seconds; here the last one is cut, which nobody gets to see."""
    with pytest.raises(InvalidArgument, match="says 1 pictures, and its contents hold more than 1"):
        pictures(request("encoded", "BYTES", [1], bytes(8) + b"\xff"))
    apart = ModelInferRequest(inputs=[{"name": "encoded", "datatype": "BYTES", "shape": [1]}])
    apart.inputs[0].contents.bytes_contents.extend([b""] * 1_000)
    with pytest.raises(InvalidArgument, match="says 1 pictures, and its contents hold more than 1"):
        pictures(apart)


def test_an_answer_does_not_hold_its_tensors_again_and_again() -> None:
    """17 MB have room for a million names, each of which would be a tensor of every picture."""
    several = ModelInferRequest(outputs=[{"name": "probabilities"}] * 4)
    assert wanted_outputs(several) == (Wanted("probabilities"),) * 4
    several.outputs.add(name="probabilities")
    with pytest.raises(InvalidArgument, match="wants 5 outputs; there are 2"):
        wanted_outputs(several)


def test_numbers_are_little_endian_and_labels_keep_their_colons() -> None:
    probabilities = np.array([0.25, 0.75], np.float32)
    labelled = Labelled((Prediction("a:b", 1, 0.75, True), Prediction("c", 0, 0.25, False)), probabilities)
    classified = Classified("m", 1, (labelled,), Timing(), multi_label=False)
    (_, raw), (text_tensor, text) = answer_tensors(classified, [Wanted("probabilities"), Wanted("probabilities", 1)])
    assert struct.unpack("<2f", raw) == (0.25, 0.75)
    assert (text_tensor.datatype, text_tensor.dims) == ("BYTES", (1,))
    assert text == struct.pack("<I", 14) + b"0.750000:1:a:b"


def test_the_shorter_of_two_limits_counts() -> None:
    asked = ModelInferRequest(parameters={"timeout": {"int64_param": 2_000_000}})
    assert timeout_seconds(asked, None, 30) == 2
    assert timeout_seconds(asked, 1.5, 30) == 1.5
    assert timeout_seconds(ModelInferRequest(), 1.5, 30) == 1.5
    assert timeout_seconds(ModelInferRequest(), None, 30) == 30
    with pytest.raises(InvalidArgument, match="'timeout' is 'soon'; it must be a whole number"):
        timeout_seconds(ModelInferRequest(parameters={"timeout": {"string_param": "soon"}}), None, 30)


def test_priorities_are_counted_from_one() -> None:
    def of(level: int) -> Priority:
        return priority(ModelInferRequest(parameters={"priority": {"uint64_param": level}}))

    assert [of(level) for level in (0, 1, 2, 3, 2**64 - 1)] == [
        Priority.NORMAL,
        Priority.HIGH,
        Priority.NORMAL,
        Priority.LOW,
        Priority.LOW,
    ]
