"""A network's figures on the validation split, after each epoch; and how long such a pass takes."""

from __future__ import annotations

import time
from math import ceil
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from eyasd.core.evaluation import EpochMetrics
from eyasd.core.spec import Loss
from eyasd.training.data.audit import Audit
from eyasd.training.data.listing import TEST, VALIDATION
from eyasd.training.data.targets import Targets
from eyasd.training.feed import Feed
from eyasd.training.journal import Journal
from eyasd.training.network import Network, to_pixels
from eyasd.training.outcome.calibrate import fit_temperature, log_loss
from eyasd.training.outcome.evaluate import answer_metrics, macro_means, set_metrics
from eyasd.training.outcome.export import PARITY_BATCH_SIZES, PARITY_EXAMPLES
from eyasd.training.outcome.variants import CALIBRATION_PICTURES, VARIANT_SECONDS
from eyasd.training.ranks import ALONE, Ranks
from eyasd.training.tuning.pace import Pace

_BATCH: Final = 32
_TIMED_PICTURES: Final = 32


def logits_of(
    network: Network, images: NDArray[np.uint8], rows: NDArray[np.int64], journal: Journal, ranks: Ranks = ALONE
) -> NDArray[np.float32]:
    """Returns float32 [n, C] logits of the `rows` of uint8 [N, H, W, 3] images; leaves the network in evaluation mode.

    The processes of `ranks` share the rows, none padded or left out, and each of them gets all logits.
    """
    network.eval()
    feed = Feed(images, next(network.parameters()).device)
    mine, batches = ranks.share(rows), []
    coming = feed.batches([mine[start : start + _BATCH] for start in range(0, len(mine), _BATCH)])
    with torch.inference_mode():
        for _ in range(0, ceil(len(rows) / ranks.world), _BATCH):  # as many rounds in each process, since they check together
            journal.check()
            if (batch := next(coming, None)) is not None:
                batches.append(network(to_pixels(batch)).float().cpu().numpy())
    return ranks.gather(batches)


def measure(epoch: int, train_loss: float, logits: NDArray[np.float32], targets: Targets, loss: Loss) -> EpochMetrics:
    """Returns the figures of an epoch.

    The loss is that at the best temperature, as the served model will have it: label smoothing makes the raw logits of a better
    network less certain, and the raw loss would prefer the head on the frozen backbone.

    Args:
        epoch: number of the epoch, 0 for the head on the frozen backbone.
        train_loss: mean over the epoch.
        logits: float32 [n, C].
        targets: int64 [n], true class indices; or float32 [n, C], 1 for each label that applies.
        loss: of the recipe.
    """
    names = [str(i) for i in range(logits.shape[1])]
    if targets.ndim == 2:
        applies, true = logits >= 0, targets == 1  # at a probability of a half: the thresholds come last, after the calibration
        rows, right = set_metrics(applies, true, names), (applies == true).all(1)
    else:
        predicted = logits.argmax(1)
        rows, right = answer_metrics(predicted, targets, names), predicted == targets
    temperature = fit_temperature(logits, targets, loss).temperature
    return EpochMetrics(
        epoch=epoch,
        train_loss=train_loss,
        loss=log_loss(logits.astype(np.float64) / temperature, targets, loss),
        accuracy=float(right.mean()),
        **macro_means(rows),
    )


def expect_end(
    pace: Pace, network: Network, images: NDArray[np.uint8], data: Audit, journal: Journal, world: int = 1, sampled: int = 0
) -> float:
    """Measures how long the end of the job will take, and notes it, so that the rest leaves that much.

    Args:
        pace: of the job.
        network: whatever its weights.
        images: uint8 [N, H, W, 3].
        data: the splits.
        journal: may end it.
        world: number of processes that share the validation.
        sampled: number of pictures whose features are wanted once more, for the score of `outcome.ood`.

    Returns:
        The seconds of one picture through the network in torch.
    """
    rows = data.rows[VALIDATION]
    sample = rows[:_TIMED_PICTURES]
    logits_of(network, images, sample, journal)  # the first pass also plans and allocates
    start = time.monotonic()
    logits_of(network, images, sample, journal)
    seconds = (time.monotonic() - start) / len(sample)
    variants, scored = len(pace.budget.variants), len(rows) + len(data.rows[TEST])
    # model.onnx answers both splits once more if there is a variant to compare; an observed picture takes some four times as long.
    compared = scored * (variants > 0) + variants * 2 * (scored + 4 * CALIBRATION_PICTURES)
    pace.expect_end(
        seconds,
        ceil(len(rows) / world),
        network=PARITY_EXAMPLES + sampled,
        session=len(PARITY_BATCH_SIZES) * PARITY_EXAMPLES + len(data.rows[TEST]) + compared,
        more_seconds=sum(VARIANT_SECONDS[precision] for precision in pace.budget.variants),
    )
    return seconds
