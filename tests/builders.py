"""Small real things that tests are made of: pictures, a tiny network, bundles, folders of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from safetensors.numpy import save

from eyasd.core import bundle, document
from eyasd.core.activation import HeadWeights
from eyasd.core.answers import ANSWERS, KeptAnswers
from eyasd.core.bundle import Calibration, Golden, Lineage, Manifest, Parity
from eyasd.core.comparison import ChangedPicture, Comparison, Cost, Difference, LabelChange, Pairs
from eyasd.core.evaluation import Evaluation, LabelMetrics
from eyasd.core.findings import DatasetReport, LabelCounts
from eyasd.core.names import ModelRef
from eyasd.core.preprocess import Preprocess

COLOURS = {"blue": (20, 30, 220), "green": (20, 200, 30), "red": (220, 30, 20)}
SIDE = 32


def picture(colour: tuple[int, int, int] = COLOURS["red"], size: tuple[int, int] = (40, 30), form: str = "PNG") -> bytes:
    """Returns an encoded picture of one colour."""
    buffer = BytesIO()
    Image.new("RGB", size, colour).save(buffer, form)
    return buffer.getvalue()


def noise(seed: int, size: tuple[int, int] = (40, 30), form: str = "PNG") -> bytes:
    """Returns an encoded picture of noise."""
    buffer = BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


def scene(seed: int, size: tuple[int, int] = (80, 60)) -> Image.Image:
    """Returns a picture of soft blotches, as different from that of another seed as photographs are."""
    blotches = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return Image.fromarray(blotches).resize(size, Image.Resampling.BICUBIC)


def colour_network(
    gain: float = 0.05, *, work: int = 0, maps: bool = False, ood_score: bool = False, green: float = 1.0, brittle: bool = False
) -> bytes:
    """Returns model.onnx of a network that knows blue, green and red: the mean of a channel, times `gain`, is its logit.

    `brittle` lets the network fail on a batch with a white picture.
    `green` multiplies the logit of green, so that what is nearly as green as red becomes green. `work` multiplies a square matrix
    of that size with itself on the way, for a network that takes its time. `maps` adds the feature map, which is the picture;
    `ood_score` the score, which is the picture's largest value.
    """
    weight = numpy_helper.from_array(np.array([[0, 0, gain], [0, gain * green, 0], [gain, 0, 0]], np.float32), "weight")
    axes = numpy_helper.from_array(np.array([1, 2], np.int64), "axes")
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats", "axes"], ["means"], keepdims=0),
        helper.make_node("MatMul", ["means", "weight"], ["plain"]),
    ]
    initializers = [weight, axes]
    if work:
        initializers.append(numpy_helper.from_array(np.zeros((work, work), np.float32), "ballast"))
        nodes += [
            # Depends on the input, so that it cannot be computed once for all.
            helper.make_node("ReduceMax", ["means"], ["brightest"], keepdims=0),
            helper.make_node("Add", ["ballast", "brightest"], ["filled"]),
            helper.make_node("MatMul", ["filled", "filled"], ["product"]),
            helper.make_node("ReduceMin", ["product"], ["smallest"], keepdims=0),
            helper.make_node("Sub", ["smallest", "smallest"], ["nothing"]),
            helper.make_node("Add", ["plain", "nothing"], ["logits"]),
        ]
    else:
        nodes.append(helper.make_node("Identity", ["plain"], ["logits"]))
    if brittle:
        nodes[-1].output[0] = "sound"
        initializers += [
            numpy_helper.from_array(np.array([1], np.int64), "channels"),
            numpy_helper.from_array(np.array(250, np.float32), "nearly white"),
            numpy_helper.from_array(np.zeros(1, np.float32), "table"),
        ]
        nodes += [
            helper.make_node("ReduceMin", ["means", "channels"], ["dimmest"], keepdims=0),
            helper.make_node("ReduceMax", ["dimmest"], ["whitest"], keepdims=0),
            helper.make_node("Greater", ["whitest", "nearly white"], ["white"]),
            helper.make_node("Cast", ["white"], ["row"], to=TensorProto.INT64),
            helper.make_node("Gather", ["table", "row"], ["zero"]),  # there is no row 1
            helper.make_node("Add", ["sound", "zero"], ["logits"]),
        ]
    nodes.append(helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1))
    outputs = []
    if maps:
        nodes.append(helper.make_node("Transpose", ["floats"], [bundle.FEATURE_MAP], perm=[0, 3, 1, 2]))
        outputs.append(helper.make_tensor_value_info(bundle.FEATURE_MAP, TensorProto.FLOAT, ["n", 3, SIDE, SIDE]))
    if ood_score:
        initializers.append(numpy_helper.from_array(np.array([1, 2, 3], np.int64), "all axes"))
        nodes.append(helper.make_node("ReduceMax", ["floats", "all axes"], [bundle.OOD_SCORE], keepdims=0))
        outputs.append(helper.make_tensor_value_info(bundle.OOD_SCORE, TensorProto.FLOAT, ["n"]))
    graph = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["n", SIDE, SIDE, 3])],
        [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 3]),
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3]),
            *outputs,
        ],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def golden(gain: float = 0.05) -> Golden:
    """Returns what `colour_network` says of the three colours, computed by hand."""
    images = np.stack([np.full((SIDE, SIDE, 3), colour, np.uint8) for colour in COLOURS.values()])
    logits = images.mean(axis=(1, 2))[:, ::-1] * gain
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return Golden(images, (exponentials / exponentials.sum(axis=1, keepdims=True)).astype(np.float32))


def evaluation() -> Evaluation:
    """Returns a plausible evaluation of three labels."""
    rows = tuple(
        LabelMetrics(label, 10, 0.9, 0.9, 0.9, tuple(9 if i == j else int(j == (i + 1) % 3) for j in range(3)))
        for i, label in enumerate(COLOURS)
    )
    return Evaluation(30, 0.9, (0.74, 0.97), 0.9, 0.9, 0.9, 0.3, 0.05, rows)


def comparison(version: ModelRef) -> Comparison:
    """Returns a plausible comparison with a version that is worse in three pictures."""
    return Comparison(
        version=version,
        evaluation=evaluation(),
        pairs=Pairs(26, 4, 1, 2),
        differences=(Difference("accuracy", 0.9, 0.8, -0.2, 0.05),),
        labels=(LabelChange("blue", 10, 1, 4),),
        changed_count=5,
        changed=(ChangedPicture("blue/1.png", "blue", "blue", 0.9, "green", 0.6),),
        costs=(
            Cost(1000, timedelta(milliseconds=2), timedelta(milliseconds=1)),
            Cost(2000, timedelta(microseconds=1500), timedelta(0)),
        ),
        device="a processor",
        batch_size=32,
    )


def kept_answers(right: Sequence[bool] = (True, True, False), first: int = 1, **more: Any) -> KeptAnswers:
    """Returns the answers of a version that was tested on pictures `first`, `first` + 1 ... and trained on 1001 and 1002."""
    count = len(right)
    return KeptAnswers(
        **{
            "picture": np.arange(first, first + count),
            "predicted": np.zeros(count, np.int32),
            "right": np.array(right, np.bool_),
            "log_loss": np.full(count, 0.5, np.float32),
            "train": np.array([1001, 1002]),
            "validation": np.array([2001]),
            "inherited": np.array([3001]),
            **more,
        }
    )


def lineage(job: str = "job1", dataset: str = "/photos") -> Lineage:
    """Returns a plausible lineage."""
    return Lineage(
        job=job,
        attempt=1,
        dataset=dataset,
        code_version="0",
        seed=0,
        backbone="colours",
        weights_source="",
        recipe={},
        packages={},
        device="cpu",
        duration_seconds=1.0,
    )


def write_bundle(
    folder: Path,
    *,
    job: str = "job1",
    gain: float = 0.05,
    network: bytes | None = None,
    explainable: bool = False,
    kept: KeptAnswers | None = None,
    **more: Any,
) -> Path:
    """Writes a whole, valid bundle of the colour network, and returns its folder; `more` is of the manifest.

    The variants that it holds are the same network once more.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = network if network is not None else colour_network(gain, maps=explainable)
    if explainable:
        more["feature_map"] = (3, SIDE, SIDE)
        (folder / bundle.EXPLAIN).write_bytes(HeadWeights(np.eye(3, dtype=np.float32)[::-1] * gain).to_bytes())
    (folder / bundle.MODEL).write_bytes(model)
    accepted = [variant.precision for variant in more.get("variants", ()) if variant.accepted]
    for precision in accepted:
        (folder / precision.file).write_bytes(model)
    recorded = golden(gain)
    recorded = replace(recorded, variants=dict.fromkeys(accepted, recorded.probabilities))
    (folder / bundle.GOLDEN).write_bytes(recorded.to_bytes())
    (folder / bundle.WEIGHTS).write_bytes(save({"head.weight": np.full((3, 3), gain, np.float32)}))
    if kept:
        (folder / ANSWERS).write_bytes(kept.to_bytes())
    (folder / bundle.REPORT).write_text("<!doctype html><title>colours</title>")
    manifest = Manifest(
        format_version=bundle.FORMAT_VERSION,
        create_time=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        parity=Parity(30, 1e-6, 1e-7, (1, 3, 32)),
        history=(),
        dataset_report=DatasetReport(tuple(LabelCounts(label, 30, 10, 10) for label in COLOURS), (), (), "d1"),
        files=bundle.file_digests(folder),
        model_bytes=len(model),
        **{
            "labels": tuple(COLOURS),
            "preprocess": Preprocess(crop_px=SIDE),
            "evaluation": evaluation(),
            "lineage": lineage(job),
            "calibration": Calibration(1.0, 0.02, 0.02),
            **more,
        },
    )
    (folder / bundle.MANIFEST).write_text(document.dump(manifest))
    return folder


def write_pictures(folder: Path, counts: dict[str, int], *, seed: int = 0, size: tuple[int, int] = (40, 30)) -> Path:
    """Writes one folder a label of slightly different pictures in that label's colour, and returns the folder."""
    rng = np.random.default_rng(seed)
    for label, count in counts.items():
        (folder / label).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            pixels = np.clip(np.array(COLOURS[label]) + rng.integers(-20, 21, (size[1], size[0], 3)), 0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / label / f"{number:03d}.png")
    return folder
