"""Makes probabilities honest: one temperature for all logits (Guo et al., 2017), fitted on the validation split."""

from __future__ import annotations

from math import exp, log
from typing import Final

import numpy as np
from numpy.typing import NDArray

from eyasd.core.bundle import Calibration
from eyasd.core.spec import Loss
from eyasd.training.data.targets import Targets, as_flags
from eyasd.training.outcome.reliability import calibration_error

# A validation split without an error would be answered by a temperature of zero; beyond these nothing is learnt from pictures.
_BOUNDS: Final = (0.2, 10.0)
# Fewer pictures say too little of a probability; the head's own penalty was chosen by their likelihood already.
_MIN_EXAMPLES: Final = 30
_GOLDEN: Final = (5**0.5 - 1) / 2
_ITERATIONS: Final = 25  # of the golden section; the bracket shrinks by 0.618 each time, to 2e-5

Logits = NDArray[np.float64]


def fit_temperature(logits: NDArray[np.float32], targets: Targets, loss: Loss) -> Calibration:
    """Returns the temperature of the least negative log-likelihood.

    Args:
        logits: float32 [N, C], of the validation split.
        targets: int64 [N], true class indices; or float32 [N, C], 1 for each label that applies.
        loss: decides between softmax and sigmoid.
    """
    values = logits.astype(np.float64)
    examples = len(targets) if len(targets) >= _MIN_EXAMPLES else 0
    temperature = _minimum(values, targets, loss) if examples else 1.0

    def error(temperature: float) -> float:
        probabilities = np.exp(log_probabilities(values / temperature, loss))
        if targets.ndim == 2:
            return calibration_error(probabilities.astype(np.float32), targets == 1)
        return calibration_error(probabilities.max(1).astype(np.float32), probabilities.argmax(1) == targets)

    return Calibration(temperature, error(1.0), error(temperature), examples)


def _minimum(logits: Logits, targets: Targets, loss: Loss) -> float:
    """Golden section over the logarithm of the temperature, in which the loss has one minimum."""
    low, high = map(log, _BOUNDS)
    for _ in range(_ITERATIONS):
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if log_loss(logits / exp(left), targets, loss) < log_loss(logits / exp(right), targets, loss):
            high = right
        else:
            low = left
    return exp((low + high) / 2)


def log_loss(logits: Logits, targets: Targets, loss: Loss) -> float:
    """Returns the mean negative log-likelihood, in nats; of a sigmoid it is the sum over the labels."""
    if loss is not Loss.BINARY_CROSS_ENTROPY:
        return float(-log_probabilities(logits, loss)[np.arange(len(targets)), targets].mean())
    signs = 1 - 2 * as_flags(targets, logits.shape[1])
    return float(np.logaddexp(0, signs * logits).sum(1).mean())


def log_probabilities(logits: Logits, loss: Loss) -> Logits:
    """Returns float64 [N, C] of logits of that shape."""
    if loss is Loss.BINARY_CROSS_ENTROPY:
        return -np.logaddexp(0, -logits)
    shifted = logits - logits.max(1, keepdims=True)
    result: Logits = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return result
