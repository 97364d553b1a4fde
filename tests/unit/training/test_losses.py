"""What is minimised, by hand."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from eyasd.core.spec import Loss
from eyasd.training.losses import Criterion, class_weights

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 3.0, 1.0], [-2.0, 0.0, 2.0], [1.0, 1.0, -1.0]])
TARGETS = torch.tensor([0, 2, 2, 1])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_that_of_torch(smoothing: float) -> None:
    expected = functional.cross_entropy(LOGITS, TARGETS, label_smoothing=smoothing)
    assert torch.allclose(Criterion(Loss.CROSS_ENTROPY, smoothing)(LOGITS, TARGETS), expected)


def test_the_focal_loss_hardly_counts_what_is_certain() -> None:
    right = LOGITS.softmax(1)[torch.arange(4), TARGETS]
    expected = (-((1 - right) ** 2) * right.log()).mean()
    assert torch.allclose(Criterion(Loss.FOCAL)(LOGITS, TARGETS), expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_binary_cross_entropy_sums_over_the_labels(smoothing: float) -> None:
    wanted = functional.one_hot(TARGETS, 3) * (1 - smoothing) + smoothing / 3
    probabilities = LOGITS.sigmoid()
    by_hand = -(wanted * probabilities.log() + (1 - wanted) * (1 - probabilities).log()).sum(1).mean()
    assert torch.allclose(Criterion(Loss.BINARY_CROSS_ENTROPY, smoothing)(LOGITS, TARGETS), by_hand)


@pytest.mark.parametrize("loss", list(Loss))
def test_the_losses_of_parts_add_up(loss: Loss) -> None:
    criterion = Criterion(loss, 0.1, torch.tensor([0.5, 1.0, 2.0]))
    parts = criterion(LOGITS[:3], TARGETS[:3]) * 3 / 4 + criterion(LOGITS[3:], TARGETS[3:]) / 4
    assert torch.allclose(criterion(LOGITS, TARGETS), parts)


@pytest.mark.parametrize("loss", list(Loss))
def test_a_share_of_one_is_the_label_itself(loss: Loss) -> None:
    criterion = Criterion(loss, 0.1)
    assert torch.allclose(criterion(LOGITS, TARGETS), criterion(LOGITS, functional.one_hot(TARGETS, 3).float()))


def test_rare_labels_weigh_more_and_the_mean_picture_one() -> None:
    counts = torch.tensor([100, 25, 4])
    assert torch.equal(class_weights(counts, 0.0), torch.ones(3))
    weights = class_weights(counts, 0.5)
    assert (weights / weights[0]).tolist() == pytest.approx([1.0, 2.0, 5.0])
    assert float((weights * counts).sum() / counts.sum()) == pytest.approx(1.0)
    balanced = class_weights(counts, 1.0) * counts
    assert balanced.tolist() == pytest.approx([43.0] * 3)


def test_weights_reach_the_loss() -> None:
    weights = torch.tensor([1.0, 2.0, 3.0])
    expected = (functional.cross_entropy(LOGITS, TARGETS, reduction="none") * weights[TARGETS]).mean()
    assert torch.allclose(Criterion(Loss.CROSS_ENTROPY, 0.0, weights)(LOGITS, TARGETS), expected)
