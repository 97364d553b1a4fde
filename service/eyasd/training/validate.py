"""A network's figures on the validation split, after each epoch."""

from __future__ import annotations

from math import ceil

import numpy as np
import torch
from numpy.typing import NDArray

from eyasd.core.spec import Loss
from eyasd.core.types import EpochMetrics
from eyasd.training.calibrate import fit_temperature, log_loss
from eyasd.training.evaluate import confusion_matrix, label_metrics
from eyasd.training.feed import Feed
from eyasd.training.journal import Journal
from eyasd.training.network import Network, to_pixels
from eyasd.training.ranks import ALONE, Ranks

_BATCH = 32


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


def measure(epoch: int, train_loss: float, logits: NDArray[np.float32], targets: NDArray[np.int64], loss: Loss) -> EpochMetrics:
    """Returns the figures of an epoch.

    The loss is that at the best temperature, as the served model will have it: label smoothing makes the raw logits of a better
    network less certain, and the raw loss would prefer the head on the frozen backbone.

    Args:
        epoch: number of the epoch, 0 for the head on the frozen backbone.
        train_loss: mean over the epoch.
        logits: float32 [n, C].
        targets: int64 [n], true class indices.
        loss: of the recipe.
    """
    labels = logits.shape[1]
    rows = label_metrics(confusion_matrix(logits.argmax(1), targets, labels), [str(i) for i in range(labels)])
    present = [row for row in rows if row.examples]
    temperature = fit_temperature(logits, targets, loss).temperature
    return EpochMetrics(
        epoch=epoch,
        train_loss=train_loss,
        loss=log_loss(logits.astype(np.float64) / temperature, targets, loss),
        accuracy=float((logits.argmax(1) == targets).mean()),
        macro_precision=float(np.mean([row.precision for row in present])),
        macro_recall=float(np.mean([row.recall for row in present])),
        macro_f1=float(np.mean([row.f1 for row in present])),
    )
