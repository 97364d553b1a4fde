"""training.outcome.activation: a map is exported only where the logits follow from it."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from eyasd.core.bundle import EXPLAIN, FEATURE_MAP, INPUT, LOGITS, MODEL
from eyasd.core.spec import Loss, TrainSpec
from eyasd.training.network import Network, Servable, input_format
from eyasd.training.outcome.activation import activation_overlays, head_weights, map_sizes
from eyasd.training.outcome.export import check_signature, prove_parity, to_onnx
from eyasd.training.outcome.session import open_session
from eyasd.training.recipe import resolve

PX = 64
IMAGES = np.random.default_rng(0).integers(0, 256, (5, PX, PX, 3), np.uint8)


def network_of(backbone: str, **wishes: object) -> Network:
    torch.manual_seed(0)
    form = input_format(backbone)
    spec = TrainSpec(backbone=backbone, pretrained=False, image_size_px=PX, **wishes)  # type: ignore[arg-type]
    return Network(resolve(spec, 100, form.native_px), form, 3)


@pytest.mark.parametrize("backbone", ["test_efficientnet", "test_resnet"])
def test_the_mean_over_the_exported_map_gives_the_logits(backbone: str, tmp_path: Path) -> None:
    network = network_of(backbone)
    sizes = map_sizes(network, PX)
    assert sizes is not None
    servable = Servable(network, Loss.CROSS_ENTROPY, 1.5, sizes).eval()
    to_onnx(servable, torch.zeros(1, PX, PX, 3, dtype=torch.uint8), tmp_path / MODEL, list(servable.outputs), {})
    check_signature(tmp_path / MODEL, PX, servable.outputs)
    prove_parity(servable, tmp_path / MODEL, IMAGES)
    logits, maps = open_session(tmp_path / MODEL).run([LOGITS, FEATURE_MAP], {INPUT: IMAGES})
    head, bias = head_weights(network), network.last_layer.bias
    places = np.einsum("cf,nfhw->nchw", head.weights, maps)
    assert np.allclose((places.mean((2, 3)) + bias.detach().numpy()) / 1.5, logits, atol=1e-4)

    assert activation_overlays(tmp_path / MODEL, IMAGES, [0] * 5) == []  # without the weights there is no map
    (tmp_path / EXPLAIN).write_bytes(head.to_bytes())
    drawn = activation_overlays(tmp_path / MODEL, IMAGES[:2], [0, 2])
    assert [Image.open(BytesIO(one)).size for one in drawn] == [(PX, PX)] * 2


# A normalisation, a layer, and no average follow the last map; the head has a layer of its own.
@pytest.mark.parametrize(
    ("backbone", "wishes"),
    [("test_convnext", {}), ("mobilenetv3_small_050", {}), ("test_vit", {}), ("test_resnet", {"hidden_units": 7})],
)
def test_a_network_whose_logits_are_no_mean_over_places_has_no_map(backbone: str, wishes: dict[str, int]) -> None:
    assert map_sizes(network_of(backbone, **wishes), PX) is None


class Shifted(nn.Module):
    """A pooling that adds a little."""

    def forward(self, maps: Tensor) -> Tensor:
        features: Tensor = maps.mean((2, 3)) + 1
        return features


def test_the_network_is_asked_not_its_names(monkeypatch: pytest.MonkeyPatch) -> None:
    network = network_of("test_resnet")
    assert map_sizes(network, PX) is not None
    network.backbone.global_pool = Shifted()
    assert map_sizes(network, PX) is None
    monkeypatch.setattr(network, "feature_map", lambda pixels: [pixels])  # as CrossViT's
    assert map_sizes(network, PX) is None
