"""The head on the frozen backbone: logistic regression on cached features, the first servable model of a job.

Knows feature vectors, not pictures. Everything runs full-batch and in a fixed order, so it gives the same head again.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Final

import torch
from torch import Tensor, nn

from eyasd.core.spec import Loss
from eyasd.training.losses import Criterion

# Strengths of the L2 penalty on standardised features, from strong to weak, each fitted from the one before. On the clothing data
# set (3,068 pictures, 1,280 features) the validation loss is least at 0.02; the ends are for datasets of 10 and of 100,000.
L2_STRENGTHS: Final = (1.0, 0.3, 0.1, 0.06, 0.03, 0.02, 0.01, 0.003, 0.001, 0.0001)
_LBFGS_STEPS: Final = 50
_LEAST_DEVIATION: Final = 0.3  # of the median feature's
_MLP_STEPS: Final = 2000
_MLP_EPOCHS: Final = (5, 200)  # at least, at most
_MLP_BATCH: Final = 256
_MLP_LEARNING_RATE: Final = 1e-3


@dataclass(frozen=True, slots=True)
class Split:
    """Features float32 [n, F] of one split, and what its pictures show: int64 [n] class indices, or float32 [n, C] of 0 and 1."""

    features: Tensor
    targets: Tensor


def fit_head(head: nn.Sequential, train: Split, validation: Split, loss: Loss, seed: int) -> float:
    """Fits the head in place; what it keeps has the least validation loss of all that it tries.

    Returns:
        Its loss on the training split.
    """
    mean, deviation = standardisation(train.features)
    train = Split((train.features - mean) / deviation, train.targets)
    validation = Split((validation.features - mean) / deviation, validation.targets)
    if sum(isinstance(layer, nn.Linear) for layer in head) > 1:
        _fit_hidden(head, train, validation, Criterion(loss), seed)
    else:
        _fit_linear(_linear(head), train, validation, Criterion(loss))
    with torch.inference_mode():
        train_loss = float(Criterion(loss)(head.eval()(train.features), train.targets))
    fold_standardisation(_linear(head), mean, deviation)
    return train_loss


def standardisation(features: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the mean and the deviation, each [F], by which features [n, F] are standardised."""
    deviation = features.std(0, correction=0)
    # A feature that is all but constant in training must not be blown up by the few pictures where it is not: on 1,797 digits the
    # floor takes the validation loss from 0.23 to 0.08 (tf_efficientnet_lite0, 128 px), where 75 of 1,280 features are constant.
    return features.mean(0), deviation.clamp_min(_LEAST_DEVIATION * float(deviation.median()) + 1e-6)


def _linear(head: nn.Sequential) -> nn.Linear:
    """Returns the layer that reads the features."""
    return next(layer for layer in head if isinstance(layer, nn.Linear))


def fold_standardisation(layer: nn.Linear, mean: Tensor, deviation: Tensor) -> None:
    """Rewrites a linear layer of standardised features as the same function of raw ones: W' = W / s, b' = b - W' m."""
    with torch.no_grad():
        layer.weight.div_(deviation)
        layer.bias.sub_(layer.weight @ mean)


def _fit_linear(layer: nn.Linear, train: Split, validation: Split, loss: nn.Module) -> None:
    """Multinomial logistic regression by L-BFGS, one fit a strength of the penalty."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    best: tuple[float, dict[str, Tensor]] = (float("inf"), {})
    for strength in L2_STRENGTHS:
        fit_logistic(layer, train, loss, strength)
        with torch.inference_mode():
            achieved = float(loss(layer(validation.features), validation.targets))
        if achieved < best[0]:
            best = (achieved, {name: value.clone() for name, value in layer.state_dict().items()})
    layer.load_state_dict(best[1])


def fit_logistic(layer: nn.Linear, train: Split, loss: nn.Module, strength: float) -> None:
    """Goes on from the layer's weights to the logistic regression with an L2 penalty of the given strength."""
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=_LBFGS_STEPS, history_size=20, line_search_fn="strong_wolfe")

    def objective() -> Tensor:
        optimizer.zero_grad()
        value: Tensor = loss(layer(train.features), train.targets) + strength / 2 * layer.weight.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(objective)  # type: ignore[no-untyped-call]


def _fit_hidden(head: nn.Sequential, train: Split, validation: Split, loss: nn.Module, seed: int) -> None:
    """A head with a hidden layer: AdamW on the cached features, the epoch of the least validation loss kept."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(head.parameters(), lr=_MLP_LEARNING_RATE, weight_decay=0.05)
    best: tuple[float, dict[str, Tensor]] = (float("inf"), {})
    fewest, most = _MLP_EPOCHS
    for _ in range(min(most, max(fewest, ceil(_MLP_STEPS * _MLP_BATCH / len(train.targets))))):
        head.train()
        for rows in torch.split(torch.randperm(len(train.targets), generator=generator), _MLP_BATCH):
            optimizer.zero_grad()
            loss(head(train.features[rows]), train.targets[rows]).backward()
            optimizer.step()
        head.eval()
        with torch.inference_mode():
            achieved = float(loss(head(validation.features), validation.targets))
        if achieved < best[0]:
            best = (achieved, {name: value.clone() for name, value in head.state_dict().items()})
    head.load_state_dict(best[1])
