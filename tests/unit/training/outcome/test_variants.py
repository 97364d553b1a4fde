"""A variant is there only if it answers nearly as model.onnx does; what it costs and gains is told either way."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from eyasd.core.bundle import FEATURE_MAP, LOGITS, MODEL, PROBABILITIES, Golden
from eyasd.core.findings import DatasetReport
from eyasd.core.spec import Loss, TrainSpec
from eyasd.core.variants import Fidelity, Precision
from eyasd.training.budget import Budget
from eyasd.training.data.audit import Audit
from eyasd.training.journal import Journal, training_shares
from eyasd.training.network import Network, Servable, input_format
from eyasd.training.outcome import precision as precision_module
from eyasd.training.outcome import variants
from eyasd.training.outcome.export import to_onnx
from eyasd.training.outcome.precision import Unsuitable, body, to_fp16
from eyasd.training.outcome.variants import compare, estranged, make_variants, refusal
from eyasd.training.recipe import resolve

PX = 32
COUNT = 60  # pictures of each split
BOTH = (Precision.INT8, Precision.FP16)
SOUND = Fidelity(
    examples=1000,
    agreement=0.99,
    accuracy=0.9,
    accuracy_lost=0.001,
    log_loss=0.3,
    calibration_error=0.02,
    calibration_error_grown=0.001,
)


class TestTheGate:
    def test_by_hand(self) -> None:
        """Of four pictures the variant takes the second for another label, and is then right; it is less sure of the fourth."""
        reference = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.1, 0.9]], np.float32)
        found = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.3, 0.7]], np.float32)
        judged = compare(found, reference, np.array([0, 1, 1, 1]))
        assert (judged.examples, judged.agreement, judged.accuracy, judged.accuracy_lost) == (4, 0.75, 1.0, -0.25)
        assert judged.log_loss == pytest.approx(-np.log([0.9, 0.6, 0.8, 0.7]).mean())
        # Each is alone in its bin, but for two that are as sure: what it lacks of certainty, or of the wrong label all of it.
        assert judged.calibration_error == pytest.approx((0.1 + 0.4 + 0.2 + 0.3) / 4)
        assert judged.calibration_error_grown == pytest.approx((1.0 - (0.1 + 0.6 + 0.2 + 0.1)) / 4, abs=1e-7)

    def test_of_several_labels_the_whole_set_has_to_be_the_same(self) -> None:
        reference = np.array([[0.9, 0.9], [0.1, 0.1], [0.9, 0.1]], np.float32)
        found = np.array([[0.9, 0.3], [0.1, 0.1], [0.6, 0.2]], np.float32)
        judged = compare(found, reference, np.array([[1, 1], [0, 0], [1, 0]], np.float32), (0.5, 0.5))
        assert (judged.agreement, judged.accuracy, judged.accuracy_lost) == pytest.approx((2 / 3, 2 / 3, 1 / 3))

    def test_what_is_near_enough_is_accepted(self) -> None:
        assert refusal(SOUND) == ""
        at_the_edge = replace(SOUND, agreement=0.97, accuracy_lost=0.005, calibration_error_grown=0.01)
        assert refusal(at_the_edge) == ""

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            ({"agreement": 0.969}, "it gives the same answer to 0.9690 of them, at least 0.97 is needed"),
            ({"accuracy_lost": 0.006}, "it loses 0.0060 of accuracy, at most 0.005 is allowed"),
            ({"calibration_error_grown": 0.011}, "its calibration error is larger by 0.0110, at most 0.01 is allowed"),
        ],
    )
    def test_each_limit_refuses(self, change: dict[str, float], says: str) -> None:
        assert refusal(replace(SOUND, **change)) == f"of 1000 validation pictures, {says}"  # type: ignore[arg-type]

    def test_every_reason_is_told(self) -> None:
        assert refusal(replace(SOUND, agreement=0.5, accuracy_lost=0.4)).count(";") == 1

    @pytest.mark.parametrize(("count", "beyond", "accepted"), [(100, 3, True), (100, 4, False), (60, 2, True), (60, 3, False)])
    def test_known_pictures_must_stay_known(self, count: int, beyond: int, *, accepted: bool) -> None:
        scores = np.where(np.arange(count) < beyond, 2.1, 2.0).astype(np.float32)
        says = (
            ""
            if accepted
            else f"of {count} validation pictures, it takes {beyond} for unknown ones, at most {beyond - 1} are allowed"
        )
        assert estranged(scores, 2.0) == says

    def test_a_score_that_is_no_number_is_unknown(self) -> None:
        assert "takes 50 for unknown" in estranged(np.full(50, np.nan, np.float32), 2.0)

    def test_a_version_without_a_score_has_no_such_limit(self) -> None:
        assert estranged(None, 2.0) == estranged(np.ones(3, np.float32), None) == ""

    def test_one_picture_of_few_never_decides(self) -> None:
        few = replace(SOUND, examples=60, agreement=59 / 60)
        assert refusal(replace(few, accuracy_lost=1 / 60, calibration_error_grown=1 / 60)) == ""
        assert "loses 0.0333" in refusal(replace(few, accuracy_lost=2 / 60))

    def test_a_calibration_error_may_grow_by_the_noise_of_few_pictures(self) -> None:
        few = replace(SOUND, examples=100, accuracy=0.8)  # whose standard error is 0.4 / 10
        assert refusal(replace(few, calibration_error_grown=0.04)) == ""
        assert "is larger by 0.0410, at most 0.04 is allowed" in refusal(replace(few, calibration_error_grown=0.041))


@pytest.fixture(scope="module")
def images() -> np.ndarray[Any, Any]:
    """Pictures of noise, lighter with their number, so that there is something to tell."""
    noise = np.random.default_rng(0).integers(0, 100, (3 * COUNT, PX, PX, 3))
    return np.clip(noise + np.arange(3 * COUNT)[:, None, None, None] % 3 * 75, 0, 255).astype(np.uint8)


@pytest.fixture
def data() -> Audit:
    """Three splits of three labels."""
    rows = np.arange(3 * COUNT)
    splits = dict(zip(("train", "validation", "test"), rows.reshape(3, COUNT), strict=True))
    return Audit(("a", "b", "c"), splits, rows % 3, rows, np.zeros(3 * COUNT, bool), DatasetReport((), (), (), "d"))


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "progress.jsonl", training_shares(TrainSpec(variants=BOTH)))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, images: np.ndarray[Any, Any]) -> Path:
    """model.onnx of a network whose head tells light from dark."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("exported") / MODEL
    recipe = resolve(TrainSpec(backbone="test_resnet", image_size_px=PX), 100, PX)
    network = Network(recipe, input_format("test_resnet"), 3).eval()
    linear = network.head[-1]
    with torch.no_grad():
        pictures = torch.from_numpy(images).permute(0, 3, 1, 2).float()
        features = network.body(pictures)
        means = torch.stack([features[np.arange(len(images)) % 3 == label].mean(0) for label in range(3)])
        scale = 20 / (means - means.mean(0)).norm(dim=1).max() ** 2
        linear.weight.copy_(scale * (means - means.mean(0)))
        linear.bias.copy_(-scale * ((means - means.mean(0)) * means).sum(1))
    servable = Servable(network, Loss.CROSS_ENTROPY, 1.0).eval()
    to_onnx(servable, torch.zeros(1, PX, PX, 3, dtype=torch.uint8), path, [PROBABILITIES, LOGITS], {"eyas.labels": "[]"})
    return path


@pytest.fixture
def bundle(exported: Path, tmp_path: Path) -> Path:
    """A folder of its own with that file."""
    (tmp_path / "bundle").mkdir()
    shutil.copy(exported, tmp_path / "bundle")
    return tmp_path / "bundle"


def golden_of(bundle: Path, images: np.ndarray[Any, Any]) -> Golden:
    session = onnxruntime.InferenceSession(str(bundle / MODEL))
    return Golden(images[:3], session.run([PROBABILITIES], {"images": images[:3]})[0])


def make(bundle: Path, images: np.ndarray[Any, Any], data: Audit, journal: Journal, **more: Any) -> Any:
    return make_variants(BOTH, bundle, images, data, None, golden_of(bundle, images), 0, more.get("budget", Budget()), journal)


class TestMaking:
    def test_both_answer_as_the_network_does(
        self, bundle: Path, images: np.ndarray[Any, Any], data: Audit, journal: Journal
    ) -> None:
        made, golden = make(bundle, images, data, journal)
        int8, fp16 = made
        assert [variant.refusal for variant in made] == ["", ""]
        assert int8.validation.agreement >= 0.97
        assert fp16.test.agreement == 1.0
        assert int8.speed > 0
        assert fp16.speed is None or torch.cuda.is_available()
        assert int8.size_bytes == (bundle / "model.int8.onnx").stat().st_size < (bundle / MODEL).stat().st_size
        assert sorted(path.name for path in bundle.iterdir()) == ["model.fp16.onnx", "model.int8.onnx", MODEL]
        for precision in BOTH:
            found = onnx.load(str(bundle / precision.file))
            onnx.checker.check_model(found)
            assert {p.key: p.value for p in found.metadata_props} == {"eyas.labels": "[]"}
            session = onnxruntime.InferenceSession(str(bundle / precision.file))
            assert {i.name: (i.type, i.shape[1:]) for i in session.get_inputs()} == {"images": ("tensor(uint8)", [PX, PX, 3])}
            assert {o.name: (o.type, o.shape[1:]) for o in session.get_outputs()} == {
                name: ("tensor(float)", [3]) for name in (PROBABILITIES, LOGITS)
            }
            answers = np.concatenate([session.run([PROBABILITIES], {"images": image[None]})[0] for image in golden.images])
            assert np.abs(answers - golden.variants[precision]).max() < 1e-5
            assert np.abs(answers - golden.probabilities).max() < precision.golden_tolerance
        kinds = {node.op_type for node in onnx.load(str(bundle / "model.int8.onnx")).graph.node}
        assert {"QuantizeLinear", "DequantizeLinear"} <= kinds

    @pytest.mark.gpu
    def test_16_bits_are_timed_where_there_is_a_gpu(
        self, bundle: Path, images: np.ndarray[Any, Any], data: Audit, journal: Journal
    ) -> None:
        fp16 = make(bundle, images, data, journal)[0][1]
        assert fp16.accepted
        assert fp16.speed is not None

    def test_a_refused_one_leaves_the_bundle_and_is_told_of(
        self, bundle: Path, images: np.ndarray[Any, Any], data: Audit, journal: Journal, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(variants, "MIN_AGREEMENT", 1.01)
        made, golden = make(bundle, images, data, journal)
        assert [path.name for path in bundle.iterdir()] == [MODEL]
        assert golden.variants == {}
        assert all("at least 1.01 is needed" in variant.refusal for variant in made)
        assert made[0].validation.examples == made[0].test.examples == COUNT
        assert made[0].size_bytes > 0
        told = (journal.path).read_text()
        assert "The int8 variant was refused: of 60 validation pictures, it gives the same answer to" in told

    def test_if_the_quicker_way_is_refused_the_closer_one_is_tried(
        self, bundle: Path, images: np.ndarray[Any, Any], data: Audit, journal: Journal, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[Path] = []

        def turned(model: Path, path: Path, _: object) -> None:
            """Writes the network with its labels the other way round."""
            asked.append(path)
            network = onnx.load(str(model))
            network.graph.node[-1].output[0], made = "swapped", network.graph.node[-1].output[0]
            order = numpy_helper.from_array(np.int64([2, 1, 0]), "order")
            network.graph.initializer.append(order)
            network.graph.node.append(helper.make_node("Gather", ["swapped", "order"], [made], axis=1))
            onnx.save_model(network, str(path))

        monkeypatch.setitem(variants._BUILDERS, Precision.INT8, (turned, *variants._BUILDERS[Precision.INT8][1:]))  # type: ignore[misc]
        int8 = make(bundle, images, data, journal)[0][0]
        assert asked == [bundle / "model.int8.onnx"]
        assert int8.accepted

    def test_few_pictures_cannot_judge(self, bundle: Path, images: np.ndarray[Any, Any], data: Audit, journal: Journal) -> None:
        few = replace(data, rows={**data.rows, "validation": data.rows["validation"][:49]})
        made, _ = make(bundle, images, few, journal)
        assert all("it cannot be judged by 49 validation pictures: at least 50 are needed" in one.refusal for one in made)

    def test_there_are_none_where_the_time_is_up(
        self, bundle: Path, images: np.ndarray[Any, Any], data: Audit, journal: Journal
    ) -> None:
        made, _ = make(bundle, images, data, journal, budget=Budget(datetime.now(UTC) + timedelta(seconds=5)))
        assert all("no time left" in variant.refusal for variant in made)
        assert [path.name for path in bundle.iterdir()] == [MODEL]

    def test_a_converter_that_fails_costs_the_variant_alone(
        self, bundle: Path, images: np.ndarray[Any, Any], data: Audit, journal: Journal, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> None:
            raise ValueError("no such operator")

        monkeypatch.setitem(variants._BUILDERS, Precision.INT8, (fail,))  # type: ignore[misc]
        int8, fp16 = make(bundle, images, data, journal)[0]
        assert int8.refusal == "it could not be made (ValueError: no such operator)"
        assert fp16.accepted

    def test_nothing_is_done_where_nothing_is_asked(self, tmp_path: Path, data: Audit, journal: Journal) -> None:
        golden = Golden(np.zeros((0, 1, 1, 3), np.uint8), np.zeros((0, 3), np.float32))
        assert make_variants((), tmp_path, golden.images, data, None, golden, 0, Budget(), journal) == ((), golden)


def graph(scale: float = 1.0) -> onnx.ModelProto:
    """A network of two convolutions, a head, a feature map, and a score beside the head."""
    kernel = numpy_helper.from_array(np.full((3, 3, 1, 1), scale, np.float32), "kernel")
    weight = numpy_helper.from_array(np.eye(3, dtype=np.float32), "weight")
    mean = numpy_helper.from_array(np.float32([100]), "mean")
    axes = numpy_helper.from_array(np.int64([2, 3]), "axes")
    nodes = [
        helper.make_node("Transpose", ["images"], ["first"], "transpose", perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["first"], ["floats"], "cast", to=TensorProto.FLOAT),
        helper.make_node("Sub", ["floats", "mean"], ["normal"], "normalise"),
        helper.make_node("Conv", ["normal", "kernel"], ["inner"], "conv1"),
        helper.make_node("Relu", ["inner"], ["positive"], "relu"),
        helper.make_node("Conv", ["positive", "kernel"], [FEATURE_MAP], "conv2"),
        helper.make_node("ReduceMean", [FEATURE_MAP, "axes"], ["features"], "pool", keepdims=0),
        helper.make_node("Gemm", ["features", "weight"], [LOGITS], "head"),
        helper.make_node("MatMul", ["features", "weight"], ["ood_score"], "score"),
        helper.make_node("Softmax", [LOGITS], [PROBABILITIES], "softmax", axis=-1),
    ]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3]) for name in (PROBABILITIES, LOGITS, "ood_score")]
    outputs.append(helper.make_tensor_value_info(FEATURE_MAP, TensorProto.FLOAT, ["n", 3, 4, 4]))
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, ["n", 4, 4, 3])
    made = helper.make_graph(nodes, "g", [images], outputs, [kernel, weight, mean, axes])
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def test_the_body_begins_with_the_first_weights_and_ends_before_the_head() -> None:
    assert body(graph().graph) == ["conv1", "relu", "conv2", "pool"]


def test_a_network_without_a_body_says_so() -> None:
    model = graph()
    kept = [node for node in model.graph.node if node.name not in {"conv1", "relu", "conv2"}]
    del model.graph.node[:]
    model.graph.node.extend(kept)
    with pytest.raises(Unsuitable, match="no convolution or matrix product before its head"):
        body(model.graph)


def test_what_16_bits_cannot_hold_is_refused(tmp_path: Path) -> None:
    onnx.save_model(graph(), str(tmp_path / MODEL))
    to_fp16(tmp_path / MODEL, tmp_path / "model.fp16.onnx", np.full((2, 4, 4, 3), 200, np.uint8))
    session = onnxruntime.InferenceSession(str(tmp_path / "model.fp16.onnx"))
    assert {output.type for output in session.get_outputs()} == {"tensor(float)"}
    onnx.save_model(graph(scale=20), str(tmp_path / MODEL))  # 100 * 3 * 20 is 6,000, and once more 360,000
    with pytest.raises(Unsuitable, match=r"numbers up to 3\.6e\+05 .*, of which 16 bits end at 65504"):
        to_fp16(tmp_path / MODEL, tmp_path / "model.fp16.onnx", np.full((2, 4, 4, 3), 200, np.uint8))


def test_what_the_converter_casts_twice_is_cast_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    convert = precision_module.convert_float_to_float16

    def older(*args: Any, **options: Any) -> onnx.ModelProto:
        """Before 1.32 ONNX Runtime's wrote a cast for each node that reads the tensor."""
        model: onnx.ModelProto = convert(*args, **options)
        model.graph.node.extend([node for node in model.graph.node if node.op_type == "Cast"])
        return model

    monkeypatch.setattr(precision_module, "convert_float_to_float16", older)
    onnx.save_model(graph(), str(tmp_path / MODEL))
    to_fp16(tmp_path / MODEL, tmp_path / "model.fp16.onnx", np.full((2, 4, 4, 3), 200, np.uint8))
    onnxruntime.InferenceSession(str(tmp_path / "model.fp16.onnx"))
