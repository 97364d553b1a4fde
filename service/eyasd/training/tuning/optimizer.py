"""Which weights move, by which rule, and how fast: the deeper in the backbone, the slower."""

from __future__ import annotations

from typing import Any, Final

import torch
from timm.optim import create_optimizer_v2, param_groups_layer_decay  # type: ignore[attr-defined] # it lists its optimizers alone

from eyasd.core.spec import Optimizer
from eyasd.training.network import Network
from eyasd.training.recipe import Recipe

# Those that torch also has as one kernel for all weights. On a CPU a step takes a hundredth of the time of its batch anyway.
_FUSED: Final = frozenset({Optimizer.ADAMW, Optimizer.ADAM, Optimizer.SGD})


def build_optimizer(network: Network, recipe: Recipe) -> torch.optim.Optimizer:
    """Returns the optimizer: biases, normalisation and what else the backbone names are spared the weight decay.

    The head has the learning rate of the recipe, the backbone's last layer `backbone_learning_rate_ratio` of it, and each layer
    before that `layer_decay` of the one after it.
    """
    backbone, ratio = network.backbone, recipe.backbone_learning_rate_ratio
    backbone.requires_grad_(ratio > 0)
    spared: set[str] = getattr(backbone, "no_weight_decay", set)()
    groups: list[dict[str, Any]] = [
        {**group, "lr": recipe.learning_rate * ratio * group["lr_scale"]}
        for group in param_groups_layer_decay(backbone, recipe.weight_decay, spared, layer_decay=recipe.layer_decay)
    ]
    for decay, matrices in ((recipe.weight_decay, True), (0.0, False)):
        parameters = [parameter for parameter in network.head.parameters() if (parameter.ndim > 1) is matrices]
        # Muon is for matrices between hidden layers; its fallback is AdamW. The others do not look at it.
        groups.append({"params": parameters, "lr": recipe.learning_rate, "weight_decay": decay, "use_fallback": True})
    kernels = kernels_of(recipe.optimizer, next(network.parameters()).device)
    return create_optimizer_v2(groups, recipe.optimizer, lr=recipe.learning_rate, **kernels)


def kernels_of(optimizer: Optimizer, device: torch.device) -> dict[str, Any]:
    """Returns what an optimizer has to be told to be quick on a device."""
    return {"fused": True} if device.type == "cuda" and optimizer in _FUSED else {}
