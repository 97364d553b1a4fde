"""The head on cached features."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from eyasd.core.spec import Loss
from eyasd.training.head import probe
from eyasd.training.head.probe import Split, fit_head, fold_standardisation
from eyasd.training.losses import Criterion
from eyasd.training.network import build_head


def splits(count: int = 300, seed: int = 0) -> tuple[Split, Split]:
    """Three overlapping clouds in 6 dimensions of very different scales."""
    random = np.random.default_rng(seed)
    targets = random.integers(0, 3, count)
    clouds = random.normal(0, 1, (count, 6)) + 3 * np.eye(6)[targets]
    features = torch.from_numpy((clouds * [1, 10, 0.5, 5, 1, 1] + [0, 100, 3, 0, 0, 0]).astype(np.float32))
    half = count // 2
    classes = torch.from_numpy(targets)
    return Split(features[:half], classes[:half]), Split(features[half:], classes[half:])


def test_folding_changes_nothing() -> None:
    layer = nn.Linear(6, 3)
    features = splits()[0].features
    mean, deviation = features.mean(0), features.std(0)
    expected = layer((features - mean) / deviation)
    fold_standardisation(layer, mean, deviation)
    assert torch.allclose(layer(features), expected, atol=1e-4)


def test_the_fit_is_that_of_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "L2_STRENGTHS", (0.1,))
    train, validation = splits()
    head = build_head(6, 0, 0.0, 3)
    fit_head(head, train, validation, Loss.CROSS_ENTROPY, 0)
    mean, deviation = train.features.mean(0), train.features.std(0, correction=0)
    # scikit-learn's C weighs the sum of the losses, ours the mean's penalty: C = 1 / (strength x n).
    reference = LogisticRegression(C=1 / (0.1 * len(train.targets)), tol=1e-8).fit(
        (train.features - mean) / deviation, train.targets
    )
    expected = reference.predict_proba((validation.features - mean) / deviation)
    assert np.allclose(head(validation.features).softmax(1).detach(), expected, atol=2e-3)


@pytest.mark.parametrize("loss", list(Loss))
@pytest.mark.parametrize("hidden_units", [0, 16])
def test_every_kind_of_head_learns(loss: Loss, hidden_units: int) -> None:
    train, validation = splits()
    torch.manual_seed(0)
    head = build_head(6, hidden_units, 0.1, 3)
    train_loss = fit_head(head, train, validation, loss, 0)
    head.eval()
    assert (head(validation.features).argmax(1) == validation.targets).float().mean() > 0.8
    assert train_loss == pytest.approx(Criterion(loss)(head(train.features), train.targets).item(), rel=1e-3)


def test_the_penalty_is_chosen_by_the_validation_split(monkeypatch: pytest.MonkeyPatch) -> None:
    train, validation = splits(40)

    def loss_with(strengths: tuple[float, ...]) -> float:
        monkeypatch.setattr(probe, "L2_STRENGTHS", strengths)
        head = build_head(6, 0, 0.0, 3)
        fit_head(head, train, validation, Loss.CROSS_ENTROPY, 0)
        return Criterion(Loss.CROSS_ENTROPY)(head(validation.features), validation.targets).item()

    each = [loss_with((strength,)) for strength in (10.0, 0.1, 1e-5)]
    assert loss_with((10.0, 0.1, 1e-5)) == pytest.approx(min(each), rel=1e-2)
    assert max(each) > 1.1 * min(each)


def test_a_feature_that_is_all_but_constant_decides_nothing() -> None:
    train, validation = splits()
    train.features[:, 0] = validation.features[:, 0] = 0.0
    train.features[0, 0] = 1e-3  # as an outlier of its own standard deviation
    validation.features[:, 0] = 1e-2
    head = build_head(6, 0, 0.0, 3)
    fit_head(head, train, validation, Loss.CROSS_ENTROPY, 0)
    assert (head(validation.features).argmax(1) == validation.targets).float().mean() > 0.8


def test_a_constant_feature_does_no_harm() -> None:
    train, validation = splits()
    train.features[:, 0] = validation.features[:, 0] = 7.0
    head = build_head(6, 0, 0.0, 3)
    fit_head(head, train, validation, Loss.CROSS_ENTROPY, 0)
    assert head(validation.features).isfinite().all()


def test_the_same_seed_gives_the_same_head() -> None:
    heads = []
    for _ in range(2):
        torch.manual_seed(3)
        head = build_head(6, 8, 0.2, 3)
        fit_head(head, *splits(), Loss.CROSS_ENTROPY, 5)
        heads.append(head)
    assert all(torch.equal(a, b) for a, b in zip(heads[0].parameters(), heads[1].parameters(), strict=True))
