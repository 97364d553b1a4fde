"""Fine-tuning: the whole network from the head's start, epoch by epoch, the best weights kept.

Knows batches, steps and time; not where pictures come from nor what becomes of the network. Every random choice of an epoch
follows from the seed and the number of the epoch, so a training that was interrupted ends as it would have ended.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from eyasd.core.spec import Optimizer
from eyasd.core.types import EpochMetrics
from eyasd.training import checkpoint
from eyasd.training.audit import Audit
from eyasd.training.augment import Augmentation
from eyasd.training.budget import Budget
from eyasd.training.checkpoint import Standing
from eyasd.training.export import PARITY_BATCH_SIZES, PARITY_EXAMPLES
from eyasd.training.journal import Journal
from eyasd.training.listing import TEST, TRAIN, VALIDATION
from eyasd.training.network import Network, to_pixels
from eyasd.training.probe import criterion
from eyasd.training.recipe import Recipe, learning_rate_factor
from eyasd.training.validate import logits_of, measure

_MAX_GRADIENT_NORM: Final = 1.0
_PLATEAU_EPOCHS: Final = 2
# Fewer pictures a step give statistics too wild to normalise by.
_MIN_BATCH_FOR_STATISTICS: Final = 16
_MEASURED_STEPS: Final = 5
# Of tf_efficientnet_lite0 to vgg16 on 2 cores: 6 to 12 s for the export alone.
_EXPORT_SECONDS: Final = 15.0


class FineTuning:
    """One fine-tuning, from the checkpoint of an earlier attempt where there is one."""

    def __init__(
        self,
        network: Network,
        recipe: Recipe,
        images: NDArray[np.uint8],
        data: Audit,
        budget: Budget,
        folder: Path,
        key: str,
        journal: Journal,
    ) -> None:
        """Prepares the first step.

        Args:
            network: with a fitted head; ends with the best weights.
            recipe: of the job.
            images: uint8 [N, H, W, 3].
            data: which of them are for training, and what they show.
            budget: when it has to end.
            folder: of the checkpoint.
            key: names everything that decides the training, for the checkpoint.
            journal: hears of the progress.
        """
        self._network, self._recipe, self._images, self._data = network, recipe, images, data
        self._budget, self._folder, self._journal = budget, folder, journal
        self._device = next(network.parameters()).device
        self._rows = data.rows[TRAIN]
        self._optimizer = build_optimizer(network, recipe)
        self._peaks = [group["lr"] for group in self._optimizer.param_groups]
        self._augmentation = Augmentation.of(recipe)
        self._criterion = criterion(recipe.loss, recipe.label_smoothing)
        self._epoch_steps = ceil(len(self._rows) / recipe.batch_size)
        self._standing = Standing(key, 0, recipe.epochs * self._epoch_steps, (), 0, 0)
        self._best: dict[str, Tensor] = {}
        self._stopped = False
        self._step_seconds = self._validation_seconds = self._reserve_seconds = 0.0

    def run(self, head: EpochMetrics) -> tuple[EpochMetrics, ...]:
        """Trains until the epochs, the time or the hope is over.

        Args:
            head: figures of the network as it was given; its weights are kept if none better is found.

        Returns:
            The figures of every epoch, `head` first.
        """
        if not self._resume():
            self._standing = replace(self._standing, history=(head,))
            self._keep_best()
        self._measure_reserve()
        self._plan()
        while self._standing.step < self._standing.steps and not self._stopped:
            self._epoch()
        wanted = self._recipe.epochs * self._epoch_steps
        if self._standing.steps < wanted and not self._stopped:
            self._journal.message(f"The time budget had room for {self._standing.step} of {wanted} steps of fine-tuning.")
        self._network.load_state_dict(self._best)
        best = self._standing.history[self._standing.best_epoch]
        what = f"epoch {best.epoch}" if best.epoch else "the head on the frozen backbone"
        self._journal.message(f"Kept the weights of {what}: validation accuracy {best.accuracy:.1%}, loss {best.loss:.3f}.")
        return self._standing.history

    def _epoch(self) -> None:
        first = self._standing.step
        epoch = len(self._standing.history)
        self._journal.epoch(epoch, ceil(self._standing.steps / self._epoch_steps))
        self._set_training_mode()
        losses = 0.0
        pictures = 0
        start = time.monotonic()
        for pixels, targets in self._batches(epoch):
            losses += self._step(pixels, targets) * len(targets)
            pictures += len(targets)
            self._standing = replace(self._standing, step=self._standing.step + 1)
            elapsed = time.monotonic() - start
            self._step_seconds = elapsed / (self._standing.step - first)
            if self._standing.step - first == _MEASURED_STEPS and epoch == 1:
                self._plan()
            self._journal.advance(
                self._standing.step / self._standing.steps, images_per_second=pictures / elapsed, loss=losses / pictures
            )
            if self._standing.step >= self._standing.steps or self._budget.left_seconds() < self._reserve_seconds:
                break
        self._validate(epoch, losses / pictures)

    def _batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields the pixels float32 [n, 3, H, W] and the class indices int64 [n] of an epoch's steps, moved at random."""
        generator = torch.Generator().manual_seed(seed_of(self._recipe.seed, epoch))
        torch.manual_seed(seed_of(self._recipe.seed, epoch))  # of the dropout
        order = torch.randperm(len(self._rows), generator=generator).numpy()
        # Of nearly equal size, so that no last batch of one picture upsets the batch normalisation.
        for chosen in np.array_split(self._rows[order], self._epoch_steps):
            images = torch.from_numpy(self._images[chosen]).to(self._device)
            targets = torch.from_numpy(self._data.class_indices[chosen]).to(self._device)
            yield self._augmentation.apply(to_pixels(images), generator), targets

    def _step(self, pixels: Tensor, targets: Tensor) -> float:
        standing, recipe = self._standing, self._recipe
        factor = learning_rate_factor(recipe.schedule, standing.step, standing.steps, recipe.warmup_fraction, standing.drops)
        for group, peak in zip(self._optimizer.param_groups, self._peaks, strict=True):
            group["lr"] = peak * factor
        self._optimizer.zero_grad()
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._device.type == "cuda"):
            logits = self._network(pixels)
        loss = self._criterion(logits.float(), targets)
        loss.backward()
        nn.utils.clip_grad_norm_(self._network.parameters(), _MAX_GRADIENT_NORM)
        self._optimizer.step()
        return float(loss.detach())

    def _validate(self, epoch: int, train_loss: float) -> None:
        """Measures the epoch, keeps its weights if they are the best, writes the checkpoint, and decides whether to go on."""
        start = time.monotonic()
        rows = self._data.rows[VALIDATION]
        logits = logits_of(self._network, self._images, rows, self._journal)
        figures = measure(epoch, train_loss, logits, self._data.class_indices[rows], self._recipe.loss)
        self._journal.measured(figures)
        self._standing = replace(self._standing, history=(*self._standing.history, figures))
        best = self._standing.history[self._standing.best_epoch]
        if figures.loss < best.loss:
            self._standing = replace(self._standing, best_epoch=epoch)
            self._keep_best()
        waited = epoch - self._standing.best_epoch
        if waited and waited % _PLATEAU_EPOCHS == 0:
            self._standing = replace(self._standing, drops=self._standing.drops + 1)
        self._validation_seconds = time.monotonic() - start
        self._plan()
        if waited >= self._recipe.early_stopping_patience and self._standing.step < self._standing.steps:
            self._journal.message(f"Fine-tuning stopped early at epoch {epoch}: {waited} epochs without a lower validation loss.")
            self._stopped = True
        checkpoint.write(self._folder, self._standing, self._network, self._best, self._optimizer)

    def _resume(self) -> bool:
        try:
            found = checkpoint.read(self._folder, self._standing.key, self._network, self._optimizer)
        except ValueError as error:
            self._journal.message(f"The checkpoint of an earlier attempt was not used: {error}.")
            return False
        if found is None:
            return False
        self._standing, self._best = found
        done = len(self._standing.history) - 1
        self._stopped = done - self._standing.best_epoch >= self._recipe.early_stopping_patience
        self._journal.message(f"Went on from the checkpoint of an earlier attempt, after epoch {done}.")
        self._journal.measured(self._standing.history[-1])
        return True

    def _keep_best(self) -> None:
        self._best = {name: value.detach().clone() for name, value in self._network.state_dict().items()}

    def _set_training_mode(self) -> None:
        """Switches to training; batch normalisation goes by the statistics of pre-trained weights, where there are some.

        The head was fitted to features of those statistics. On the clothing data set, at 224 px, the first epoch with those of the
        batch and a backbone ratio of 0.3 ended at a validation loss of 0.66, above the 0.39 it started from; with the network's own
        and 0.1 at 0.41, and the second at 0.34. How much of that is the ratio's was not measured.
        """
        self._network.train()
        recipe = self._recipe
        if recipe.pretrained or recipe.backbone_learning_rate_ratio == 0 or recipe.batch_size < _MIN_BATCH_FOR_STATISTICS:
            for module in self._network.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()

    def _measure_reserve(self) -> None:
        """Measures how long the end of the job will take, so that the fine-tuning leaves that much."""
        rows = self._data.rows[VALIDATION]
        sample = rows[:32]
        logits_of(self._network, self._images, sample, self._journal)  # the first pass also plans and allocates
        start = time.monotonic()
        logits_of(self._network, self._images, sample, self._journal)
        seconds = (time.monotonic() - start) / len(sample)
        self._validation_seconds = seconds * len(rows)
        # Calibration, parity in torch and in ONNX Runtime, and the test; a quarter more for a machine that others use, too.
        pictures = len(rows) + (1 + len(PARITY_BATCH_SIZES)) * PARITY_EXAMPLES + len(self._data.rows[TEST])
        self._reserve_seconds = 1.25 * (_EXPORT_SECONDS + seconds * pictures) + self._validation_seconds

    def _plan(self) -> None:
        """Plans as many steps as the recipe wants and the time allows, so that the learning rate has fallen when time is up."""
        wanted = self._recipe.epochs * self._epoch_steps
        left = self._budget.left_seconds() - self._reserve_seconds
        if left <= 0:
            affordable = self._standing.step
        elif self._step_seconds == 0 or left == float("inf"):
            affordable = wanted
        else:
            affordable = self._standing.step + int(left / (self._step_seconds + self._validation_seconds / self._epoch_steps))
        self._standing = replace(self._standing, steps=min(wanted, affordable))
        if self._step_seconds:
            seconds = self._step_seconds + self._validation_seconds / self._epoch_steps
            self._journal.expect(self._standing.steps * seconds)


def build_optimizer(network: Network, recipe: Recipe) -> torch.optim.Optimizer:
    """Returns the optimizer: the backbone at its share of the learning rate, biases and normalisation without weight decay."""
    groups = []
    for module, ratio in ((network.backbone, recipe.backbone_learning_rate_ratio), (network.head, 1.0)):
        for parameter in module.parameters():
            parameter.requires_grad_(ratio > 0)
        for decays in (True, False):
            parameters = [p for p in module.parameters() if p.requires_grad and (p.ndim > 1) is decays]
            if parameters:
                decay = recipe.weight_decay if decays else 0.0
                groups.append({"params": parameters, "lr": recipe.learning_rate * ratio, "weight_decay": decay})
    match recipe.optimizer:
        case Optimizer.ADAMW:
            return torch.optim.AdamW(groups)
        case Optimizer.ADAM:
            return torch.optim.Adam(groups)
        case Optimizer.SGD:
            return torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=0.9, nesterov=True)


def seed_of(seed: int, epoch: int) -> int:
    """Returns the seed of an epoch's random choices; neighbouring seeds and epochs share none."""
    return (seed << 16) + epoch
