"""A folded network answers as before, with nothing left to normalise; one that would answer otherwise is left as it is."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import Tensor, nn

from eyasd.training.head.fold import fold

PX = 64


def norms(module: nn.Module) -> int:
    return sum(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in module.modules())


def used(module: nn.Module) -> nn.Module:
    """Gives every normalisation statistics and weights of its own, as training would."""
    generator = torch.Generator().manual_seed(1)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for values in (layer.running_mean, layer.bias.data):
                assert values is not None
                values.normal_(0, 0.1, generator=generator)
            for values in (layer.running_var, layer.weight.data):
                assert values is not None
                values.uniform_(0.5, 1.5, generator=generator)
    return module.eval()


def answer(body: nn.Module) -> Tensor:
    with torch.inference_mode():
        result: Tensor = body(255 * torch.rand(3, 3, PX, PX, generator=torch.Generator().manual_seed(2)))
    return result


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "resnet18", "mobilenetv3_small_050", "regnety_002"])
def test_a_folded_network_has_no_normalisation_and_answers_as_before(name: str) -> None:
    body = used(timm.create_model(name, num_classes=0))
    before = answer(body)
    assert norms(body) > 0
    assert fold(body, PX)
    assert norms(body) == 0
    torch.testing.assert_close(answer(body), before, rtol=1e-3, atol=float(1e-4 * before.abs().max()))
    assert all(parameter.requires_grad for parameter in body.parameters())


def test_a_normalisation_before_its_convolution_stays() -> None:
    body = used(timm.create_model("resnetv2_50", num_classes=0))
    before = answer(body)
    whole = norms(body)
    assert fold(body, PX)
    assert 0 < norms(body) < whole
    torch.testing.assert_close(answer(body), before, rtol=1e-3, atol=float(1e-4 * before.abs().max()))


class Crossed(nn.Module):
    """Lists a normalisation after a convolution that it does not follow."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 3, 1)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, pixels: Tensor) -> Tensor:
        features: Tensor = self.convolution(self.norm(pixels).relu()).mean((2, 3))
        return features


def test_a_network_that_would_answer_otherwise_is_left_as_it_is() -> None:
    body = used(Crossed())
    before, names = answer(body), list(body.state_dict())
    assert not fold(body, PX)
    assert list(body.state_dict()) == names
    assert torch.equal(answer(body), before)


def test_a_network_without_batch_normalisation_has_nothing_to_fold() -> None:
    assert not fold(timm.create_model("vit_tiny_patch16_224", num_classes=0, img_size=PX), PX)
