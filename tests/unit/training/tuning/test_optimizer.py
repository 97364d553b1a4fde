"""Each optimizer learns, and each parameter at its own rate."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from eyasd.core.spec import Optimizer
from eyasd.training.network import Network, input_format
from eyasd.training.tuning.average import copy_of
from eyasd.training.tuning.optimizer import build_optimizer

from .colours import Tuning, equal, recipe_of


@pytest.mark.parametrize("optimizer", list(Optimizer))
def test_each_optimizer_learns_at_its_own_learning_rate(tmp_path: Path, optimizer: Optimizer) -> None:
    history = Tuning(tmp_path, recipe_of(optimizer=optimizer, learning_rate=None, epochs=6)).run()
    assert history[-1].train_loss < history[1].train_loss


# SGD's steps follow the size of the gradients, LAMB's that of the weights.
@pytest.mark.parametrize("optimizer", sorted({*Optimizer} - {Optimizer.SGD, Optimizer.SGDW, Optimizer.LAMB}))
def test_the_default_learning_rates_make_steps_of_about_the_size_of_adamw_s(optimizer: Optimizer) -> None:
    recipe = recipe_of(optimizer=optimizer, learning_rate=None, weight_decay=0.0)
    network = Network(recipe, input_format("test_resnet"), 3)
    noise, stepping = torch.Generator().manual_seed(0), build_optimizer(network, recipe)
    for _ in range(30):
        for parameter in network.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=noise)
        before = copy_of(network.state_dict())
        stepping.step()
    moved = network.backbone.layer4[0].conv1.weight.detach() - before["body.1.layer4.0.conv1.weight"]
    assert 0.23e-3 / 3 < float(moved.square().mean().sqrt()) < 0.23e-3 * 3


def test_biases_and_normalisation_do_not_decay() -> None:
    recipe = recipe_of(weight_decay=0.1, backbone_learning_rate_ratio=0.25, learning_rate=0.008)
    network = Network(recipe, input_format("test_resnet"), 3)
    groups = build_optimizer(network, recipe).param_groups
    assert sum(len(group["params"]) for group in groups) == len(list(network.parameters()))
    assert all((p.ndim > 1) == (group["weight_decay"] == 0.1) for group in groups for p in group["params"])
    head = {id(p) for p in network.head.parameters()}
    assert all(group["lr"] == (0.008 if id(p) in head else 0.002) for group in groups for p in group["params"])


def test_each_layer_is_slower_than_the_next() -> None:
    recipe = recipe_of(layer_decay=0.5, backbone_learning_rate_ratio=1.0, learning_rate=0.008)
    network = Network(recipe, input_format("test_resnet"), 3)
    groups = build_optimizer(network, recipe).param_groups
    rate = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    backbone = network.backbone
    stem, first, last = (rate[id(next(part.parameters()))] for part in (backbone.conv1, backbone.layer1, backbone.layer4))
    assert stem < first < last <= 0.008
    assert {rate[id(parameter)] for parameter in network.head.parameters()} == {0.008}
    assert last / stem == pytest.approx(2 ** round(math.log2(last / stem)))


def test_a_ratio_of_zero_freezes_the_backbone(tmp_path: Path) -> None:
    tuning = Tuning(tmp_path, recipe_of(backbone_learning_rate_ratio=0.0))
    before = tuning.state()
    tuning.run()
    after = tuning.state()
    assert all(torch.equal(value, after[name]) for name, value in before.items() if name.startswith("body"))
    assert not equal(before, after)
