"""The network, its export, and the proof that the file answers as the network does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import timm
import torch
from timm.layers import DropPath
from timm.models import vgg

from eyasd.core.bundle import INPUT, LOGITS, PROBABILITIES
from eyasd.core.errors import InvalidArgument, ParityFailed
from eyasd.core.preprocess import Interpolation, Resize
from eyasd.core.spec import Loss, TrainSpec
from eyasd.training.network import OVERSAMPLING, Network, Servable, build_backbone, input_format, to_pixels
from eyasd.training.outcome.export import check_signature, prove_parity, to_onnx
from eyasd.training.recipe import resolve

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), np.uint8)


def network_of(backbone: str, px: int = 32, **wishes: object) -> Network:
    torch.manual_seed(0)
    form = input_format(backbone)
    network = Network(
        resolve(TrainSpec(backbone=backbone, pretrained=False, image_size_px=px, **wishes), 100, form.native_px), form, 3
    )
    return network.eval()


def exported(servable: Servable, path: Path, px: int = 32) -> Path:
    example = torch.zeros(1, px, px, 3, dtype=torch.uint8)
    to_onnx(servable.eval(), example, path, [PROBABILITIES, LOGITS], {"eyas.labels": '["a"]'})
    return path


def test_the_format_is_that_of_the_weights() -> None:
    form = input_format("tf_efficientnet_lite0")
    assert (form.native_px, form.crop_fraction, form.interpolation) == (224, 0.875, Interpolation.BICUBIC)
    assert (form.mean, form.std) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert input_format("resnet50").mean == pytest.approx((0.485, 0.456, 0.406))


def test_pictures_become_what_the_weights_expect_in_the_quickest_way() -> None:
    preprocess = input_format("tf_efficientnet_lite0").preprocess(192)
    assert (preprocess.crop_px, preprocess.crop_fraction, preprocess.interpolation) == (192, 0.875, Interpolation.BICUBIC)
    assert (preprocess.oversampling, preprocess.resize) == (OVERSAMPLING, Resize.MATRIX)


def test_an_unknown_backbone_is_refused_with_its_neighbours() -> None:
    with pytest.raises(InvalidArgument, match="did you mean resnet50") as refusal:
        input_format("resnet5O")
    assert refusal.value.field == "spec.backbone"


@pytest.mark.parametrize(
    "name",
    [
        "hf-hub:owner/resnet18", "local-dir:/etc", "https://example.org/resnet18", "../resnet18", "resnet18.../../x",
        "resnet18.a/../../x", "resnet18.hf-hub:owner/x", "resnet18.a\0", "resnet18.a\n", "resnet18\\x", "resnet18.", "",
    ],
)  # fmt: skip
def test_a_name_leads_to_no_hub_no_folder_and_no_address(name: str) -> None:
    with pytest.raises(InvalidArgument, match="is not the name of a backbone"):
        input_format(name)


def test_the_hidden_layer_is_as_wide_as_asked() -> None:
    head = network_of("test_resnet", hidden_units=17, dropout=0.4).head
    assert [tuple(p.shape) for p in head.parameters() if p.ndim == 2][1] == (3, 17)
    assert next(m.p for m in head if isinstance(m, torch.nn.Dropout)) == 0.4


@pytest.mark.parametrize("backbone", ["test_vit", "test_convnext"])
def test_whole_blocks_are_dropped_in_training_alone(backbone: str) -> None:
    network, pixels = network_of(backbone, drop_path_rate=0.9, dropout=0.0), to_pixels(torch.from_numpy(IMAGES[:8]))
    with torch.inference_mode():
        assert torch.equal(network(pixels), network(pixels))
        network.train()
        assert not torch.allclose(network(pixels), network(pixels))
        torch.manual_seed(1)
        first = network(pixels)
        torch.manual_seed(1)
        assert torch.equal(first, network(pixels))


def rates(network: torch.nn.Module) -> list[float]:
    return [module.drop_prob for module in network.modules() if isinstance(module, DropPath) and module.drop_prob]


@pytest.mark.parametrize("backbone", ["resnet18", "tf_efficientnet_lite0", "swin_tiny_patch4_window7_224"])
def test_the_rate_grows_with_the_depth_up_to_that_of_the_recipe(backbone: str) -> None:
    with torch.device("meta"):
        assert rates(build_backbone(backbone, 0.0)) == []  # that of Swin itself is 0.1
        found = rates(build_backbone(backbone, 0.2))
    assert found == sorted(found)
    assert 0.17 < max(found) < 0.201


def test_a_backbone_without_stochastic_depth_says_so_where_it_is_asked_for() -> None:
    assert build_backbone("densenet121", 0.0)
    with pytest.raises(InvalidArgument, match=r"drop_path_rate is 0.1, but densenet121 has no stochastic depth: leave it out"):
        build_backbone("densenet121", 0.1)
    with pytest.raises(TypeError, match="colour"):
        build_backbone("test_resnet", 0.1, colour=3)


@pytest.mark.parametrize(("loss", "total"), [(Loss.CROSS_ENTROPY, 1.0), (Loss.BINARY_CROSS_ENTROPY, None)])
def test_probabilities_follow_from_the_calibrated_logits(loss: Loss, total: float | None) -> None:
    network = network_of("test_resnet")
    with torch.inference_mode():
        probabilities, logits = Servable(network, loss, 2.0).eval()(torch.from_numpy(IMAGES))
        plain = network(to_pixels(torch.from_numpy(IMAGES)))
    assert torch.allclose(logits, plain / 2)
    assert torch.allclose(probabilities, logits.softmax(1) if total else logits.sigmoid())


# Vision transformers are built for one size, VGG has a head of its own; the others are named in the documentation.
@pytest.mark.parametrize("backbone", ["vgg16", "resnet50", "efficientnet_b0", "test_vit"])
def test_backbones_train_and_export_with_parity(backbone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # All layers of VGG, a sixteenth as wide: its head alone has 120 million weights, which take 15 s to write and compare.
    narrow = [width if width == "M" else int(width) // 16 for width in vgg.cfgs["vgg16"]]
    monkeypatch.setitem(vgg.cfgs, "vgg16", narrow)
    network = network_of(backbone)
    network.train()
    loss = torch.nn.functional.cross_entropy(network(to_pixels(torch.from_numpy(IMAGES[:4]))), torch.tensor([0, 1, 2, 0]))
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    servable = Servable(network, Loss.CROSS_ENTROPY, 1.5).eval()
    path = exported(servable, tmp_path / "model.onnx")
    check_signature(path, 32, servable.outputs)
    parity = prove_parity(servable, path, IMAGES)
    assert parity.batch_sizes == (1, 3, 32)
    assert parity.examples == 40
    assert parity.max_logit_difference <= 1e-3


@pytest.fixture(scope="module")
def servable() -> Servable:
    return Servable(network_of("test_resnet"), Loss.CROSS_ENTROPY, 1.5).eval()


@pytest.fixture(scope="module")
def path(servable: Servable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(servable, tmp_path_factory.mktemp("export") / "model.onnx")


class TestExport:
    def test_it_is_one_file_of_the_promised_form(self, path: Path) -> None:
        model = onnx.load(str(path))
        assert [opset.version for opset in model.opset_import if opset.domain == ""] == [18]
        assert {prop.key: prop.value for prop in model.metadata_props}["eyas.labels"] == '["a"]'
        assert list(path.parent.iterdir()) == [path]
        session = onnxruntime.InferenceSession(str(path))
        assert [i.name for i in session.get_inputs()] == [INPUT]
        assert [o.name for o in session.get_outputs()] == [PROBABILITIES, LOGITS]

    def test_it_tells_nothing_of_the_machine_it_was_made_on(self, path: Path) -> None:
        assert str(Path(timm.__file__).parent).encode() not in path.read_bytes()

    def test_another_network_is_refused(self, servable: Servable, path: Path) -> None:
        other = Servable(servable.network, Loss.CROSS_ENTROPY, 1.4).eval()
        with pytest.raises(ParityFailed, match="differs from the trained network by"):
            prove_parity(other, path, IMAGES)

    def test_a_few_pictures_are_enough(self, servable: Servable, path: Path) -> None:
        parity = prove_parity(servable, path, IMAGES[:2])
        assert (parity.examples, parity.batch_sizes) == (2, (1, 2))

    def test_nan_is_refused(self, servable: Servable, path: Path) -> None:
        broken = Servable(servable.network, Loss.CROSS_ENTROPY, float("nan")).eval()
        with pytest.raises(ParityFailed):
            prove_parity(broken, path, IMAGES)

    @pytest.mark.parametrize("change", ["fixed batch", "float input", "other size", "no logits"])
    def test_another_signature_is_refused(self, servable: Servable, path: Path, tmp_path: Path, change: str) -> None:
        model = onnx.load(str(path))
        tensor = model.graph.input[0].type.tensor_type
        if change == "fixed batch":
            tensor.shape.dim[0].dim_value = 2
        elif change == "float input":
            tensor.elem_type = onnx.TensorProto.FLOAT
        elif change == "other size":
            tensor.shape.dim[1].dim_value = 64
        else:
            del model.graph.output[1]
        onnx.save(model, str(tmp_path / "changed.onnx"))
        with pytest.raises(ParityFailed, match="The exported file"):
            check_signature(tmp_path / "changed.onnx", 32, servable.outputs)
