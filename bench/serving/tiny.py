"""A network of some 0.03 ms on pictures of 32 x 32, so that nothing but the service around it costs anything."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from safetensors.numpy import save

from eyasd.core import bundle, document
from eyasd.core.bundle import Calibration, Golden, Manifest, Parity
from eyasd.core.findings import DatasetReport, LabelCounts
from eyasd.core.preprocess import Preprocess

sys.path.append(str(Path(__file__).parents[2] / "tests"))
from builders import COLOURS, evaluation, lineage

SIDE = 32


def pictures(count: int) -> list[bytes]:
    """Returns JPEGs of one of the colours each, with noise."""
    rng = np.random.default_rng(0)
    made = []
    for number in range(count):
        colour = list(COLOURS.values())[number % len(COLOURS)]
        pixels = np.clip(np.array(colour) + rng.integers(-20, 21, (SIDE, SIDE, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(buffer := BytesIO(), "JPEG", quality=90)
        made.append(buffer.getvalue())
    return made


def network() -> bytes:
    """Returns a file of the bundle's form: two convolutions whose features weigh nothing, and the mean colour, which tells all."""
    rng = np.random.default_rng(0)
    head = np.zeros((16 + 3, 3), np.float32)
    head[16:] = np.eye(3)[::-1] * 0.05
    weights = {
        "first": rng.normal(0, 0.01, (8, 3, 3, 3)).astype(np.float32),
        "second": rng.normal(0, 0.1, (16, 8, 3, 3)).astype(np.float32),
        "head": head,
    }
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["floats"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "first"], ["first map"], strides=[2, 2]),
        helper.make_node("Relu", ["first map"], ["first features"]),
        helper.make_node("Conv", ["first features", "second"], ["second map"], strides=[2, 2]),
        helper.make_node("Relu", ["second map"], ["second features"]),
        helper.make_node("GlobalAveragePool", ["second features"], ["pooled"]),
        helper.make_node("GlobalAveragePool", ["planes"], ["colour"]),
        helper.make_node("Concat", ["pooled", "colour"], ["stacked"], axis=1),
        helper.make_node("Flatten", ["stacked"], ["features"]),
        helper.make_node("MatMul", ["features", "head"], [bundle.LOGITS]),
        helper.make_node("Softmax", [bundle.LOGITS], [bundle.PROBABILITIES], axis=-1),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(bundle.INPUT, TensorProto.UINT8, ["n", SIDE, SIDE, 3])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", len(COLOURS)])
            for name in (bundle.PROBABILITIES, bundle.LOGITS)
        ],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def write_bundle(folder: Path) -> Path:
    """Writes the network as a version, and returns the folder."""
    model = network()
    images = np.stack([np.full((SIDE, SIDE, 3), colour, np.uint8) for colour in COLOURS.values()])
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    probabilities = session.run([bundle.PROBABILITIES], {bundle.INPUT: images})[0]
    (folder / bundle.MODEL).write_bytes(model)
    (folder / bundle.GOLDEN).write_bytes(Golden(images, probabilities).to_bytes())
    (folder / bundle.WEIGHTS).write_bytes(save({"head.weight": np.zeros((3, 3), np.float32)}))
    (folder / bundle.REPORT).write_text("<!doctype html><title>tiny</title>")
    manifest = Manifest(
        format_version=bundle.FORMAT_VERSION,
        create_time=datetime.now(UTC),
        labels=tuple(COLOURS),
        preprocess=Preprocess(crop_px=SIDE),
        evaluation=evaluation(),
        lineage=lineage("bench"),
        calibration=Calibration(1.0, 0.0, 0.0),
        parity=Parity(3, 0.0, 0.0, (1,)),
        history=(),
        dataset_report=DatasetReport(tuple(LabelCounts(label, 1, 1, 1) for label in COLOURS), (), (), ""),
        files=bundle.file_digests(folder),
        model_bytes=len(model),
    )
    (folder / bundle.MANIFEST).write_text(document.dump(manifest))
    return folder
