"""What a training minimises: one number from logits and what the pictures show."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from eyasd.core.spec import Loss

_FOCUS: Final = 2.0  # gamma of Lin et al., 2017, which found 2 best


class Criterion(nn.Module):
    """The mean loss of a batch.

    Sums over the batch and divides by its size, so that the losses of its parts, weighted by their sizes, add up to it.
    """

    class_weights: Tensor

    def __init__(self, loss: Loss, label_smoothing: float = 0.0, class_weights: Tensor | None = None) -> None:
        """Chooses the loss.

        Args:
            loss: cross-entropy of the softmax, its focal form, or binary cross-entropy of a sigmoid for each label.
            label_smoothing: probability mass spread evenly over all labels.
            class_weights: float32 [C], how much each label counts; None is 1 for each.
        """
        super().__init__()
        self._loss, self._label_smoothing = loss, label_smoothing
        self.register_buffer("class_weights", torch.ones(1) if class_weights is None else class_weights, persistent=False)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Returns the loss, in nats.

        Args:
            logits: float32 [N, C].
            targets: int64 [N] class indices, or float32 [N, C] shares of each label, which several can have in full.
        """
        labels = logits.shape[1]
        wanted = targets if targets.is_floating_point() else functional.one_hot(targets, labels).to(logits.dtype)
        wanted = wanted * (1 - self._label_smoothing) + self._label_smoothing / labels
        if self._loss is Loss.BINARY_CROSS_ENTROPY:
            losses = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
        else:
            log_probabilities = logits.log_softmax(-1)
            losses = -wanted * log_probabilities
            if self._loss is Loss.FOCAL:
                losses = losses * (1 - log_probabilities.exp()) ** _FOCUS
        return (losses * self.class_weights).sum() / len(logits)


def class_weights(counts: Tensor, power: float) -> Tensor:
    """Returns float32 [C]: the rarer a label, the more it counts; 1 on average over the pictures.

    Args:
        counts: float32 [C], training pictures of each label.
        power: 0 weighs all alike, 1 gives every label the same say in all.
    """
    weights = counts.clamp_min(1) ** -power
    return weights * (counts.sum() / (weights * counts).sum())
