"""Fine-tuning: the whole network from the head's start, step by step, the best weights kept.

Knows steps, losses and time; not where pictures come from nor what becomes of the network. A training that was interrupted,
anywhere, ends as it would have ended. Each of several processes runs it, and all are at the same step: what the clock decides, the
first process decides, and it alone writes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from math import ceil, isfinite
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from eyasd.core import room
from eyasd.core.errors import TrainerFailed
from eyasd.core.evaluation import EpochMetrics
from eyasd.training.budget import Budget
from eyasd.training.data.audit import Audit
from eyasd.training.data.listing import TRAIN, VALIDATION
from eyasd.training.data.targets import as_flags
from eyasd.training.journal import Interrupted, Journal
from eyasd.training.losses import Criterion, class_weights
from eyasd.training.network import Network
from eyasd.training.outcome import ood
from eyasd.training.ranks import ALONE, Ranks
from eyasd.training.recipe import Recipe, learning_rate_factor
from eyasd.training.tuning import checkpoint
from eyasd.training.tuning.average import Candidate, State
from eyasd.training.tuning.batches import Batch, Batches
from eyasd.training.tuning.checkpoint import Standing
from eyasd.training.tuning.gradients import Gradients
from eyasd.training.tuning.kept import Weights
from eyasd.training.tuning.optimizer import build_optimizer
from eyasd.training.tuning.pace import Pace
from eyasd.training.tuning.validate import expect_end, logits_of, measure

_PLATEAU_VALIDATIONS: Final = 2
# Fewer pictures a step give statistics too wild to normalise by.
_MIN_BATCH_FOR_STATISTICS: Final = 16
_MEASURED_STEPS: Final = 5
# To read the loss is to wait for the device; a GPU is asked this seldom, and between two askings the steps queue up.
_UNREAD_STEPS: Final = 16
# What a process that is killed outright may lose; writing a large network's checkpoint may take a twentieth of the time.
_CHECKPOINT_SECONDS: Final = 60.0
_CHECKPOINT_SHARE: Final = 20


class FineTuning:
    """One fine-tuning, from the checkpoint of an earlier attempt where there is one.

    Attributes:
        pace: how long its steps take.
        logits: float32 [n, C], what the network as `run` leaves it answers on the validation split; None where it was an earlier
            attempt that saw it.
    """

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
        ranks: Ranks = ALONE,
        steps: int | None = None,
        *,
        micro_batches: int = 1,
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
            ranks: the processes that train together; the network is the same in all.
            steps: how many there are to be at most; None is as many as the recipe's samples take.
            micro_batches: in how many parts the batch of a step is taken at least.
        """
        self._ranks = ranks
        self._network, self._recipe, self._images, self._data = network, recipe, images, data
        self._folder, self._journal = folder, journal
        self._device = next(network.parameters()).device
        self._optimizer = build_optimizer(network, recipe)
        self._peaks = [group["lr"] for group in self._optimizer.param_groups]
        self._batches = Batches(recipe, images, data, self._device, ranks)
        counts = torch.from_numpy(as_flags(data.targets[data.rows[TRAIN]], len(data.labels)).sum(0))
        weights = class_weights(counts, recipe.class_weight_power)
        criterion = Criterion(recipe.loss, recipe.label_smoothing, weights).to(self._device)
        self._gradients = Gradients(network, criterion, recipe, ranks, journal, micro_batches)
        self._wanted = self._batches.length.steps if steps is None else steps
        self.pace = Pace(budget, self._batches.length.validation_steps)
        self._standing = Standing(key, self._wanted)
        self._weights = Weights(network)
        self.logits: NDArray[np.float32] | None = None
        self._stopped = self._missed = False
        self._unread, self._unread_pictures = torch.zeros((), dtype=torch.float64, device=self._device), 0
        self._read_interval = _UNREAD_STEPS if self._device.type == "cuda" else 1
        self._written, self._checkpoint_seconds = time.monotonic(), _CHECKPOINT_SECONDS

    def run(self, head: EpochMetrics, logits: NDArray[np.float32] | None = None) -> tuple[EpochMetrics, ...]:
        """Trains until the samples, the time or the hope is over.

        Args:
            head: figures of the network as it was given; its weights are kept if none better is found.
            logits: what it answers on the validation split, where that is known.

        Returns:
            The figures of every validation, which an epoch ends with, `head` first.

        Raises:
            Interrupted: the program was told to stop; a later attempt goes on at the step where this one was.
            TrainerFailed: the loss is no number any more.
        """
        self._weights.logits = logits
        for _ in self.epochs(head):
            pass
        if self._standing.steps < self._wanted and not self._stopped:
            self._journal.message(f"The time budget had room for {self._standing.step} of {self._wanted} steps of fine-tuning.")
        kept = self._weights.choose(self._standing.history, self._standing.best, self._score)
        self._network.load_state_dict(kept.state)
        figures, self.logits = kept.figures, kept.logits
        self._journal.measured(figures)
        self._journal.message(
            f"Kept the weights of {kept.name}: validation accuracy {figures.accuracy:.1%}, loss {figures.loss:.3f}."
        )
        return self._standing.history

    def epochs(self, head: EpochMetrics) -> Iterator[EpochMetrics]:
        """Trains as `run` does, but leaves the network with the weights of the last step; raises what `run` raises.

        Args:
            head: figures of the network as it was given.

        Yields:
            The figures of every validation after the head, also of those that an earlier attempt did.
        """
        if not self._resume():
            self._standing = replace(self._standing, history=(head,))
        if self._ranks.any(self._ranks.broadcast(self._standing) != self._standing):
            raise TrainerFailed("The processes found different checkpoints: the job's folder must be one that all machines share.")
        sampled = ood.examples(self._data)
        expect_end(self.pace, self._network, self._images, self._data, self._journal, self._ranks.world, sampled)
        self._plan()
        yield from self._standing.history[1:]
        while (self._standing.step < self._standing.steps or self._standing.epoch_step) and not self._stopped:
            try:
                self._round()
            except Interrupted:
                self._write_checkpoint()
                raise
            yield self._standing.history[-1]

    def _round(self) -> None:
        """Trains up to the next validation, and does it: an epoch, or a part of one that is long."""
        standing, length = self._standing, self._batches.length
        first = standing.step - standing.epoch_step
        epoch = first // length.epoch_steps + 1
        end = min(first + length.validation_steps, epoch * length.epoch_steps, standing.steps)
        self._journal.epoch(epoch, ceil(standing.steps / length.epoch_steps))
        self._set_training_mode()
        start, begun, pictures = time.monotonic(), self._standing.step, self._standing.epoch_pictures
        speed, interval = 0.0, self._read_interval
        cold = interval > 1 and not self.pace.step_seconds
        for batch in self._batches.between(standing.step, end):
            self._step(batch)
            standing = self._standing = replace(
                self._standing, step=self._standing.step + 1, epoch_step=self._standing.epoch_step + 1
            )
            self._weights.follow(standing.step, standing.steps)
            over = standing.step >= standing.steps
            if cold and not over:  # a GPU loads and plans in its first step, which says nothing of the others
                standing, cold = self._read_loss(), False
                start, begun, pictures = time.monotonic(), standing.step, standing.epoch_pictures
            done, late = standing.step - begun, False
            if over or (done and (done % interval == 0 or done == _MEASURED_STEPS)):
                standing = self._read_loss()
                elapsed = time.monotonic() - start
                self.pace.step_seconds, speed = elapsed / done, (standing.epoch_pictures - pictures) / elapsed
                late = time.monotonic() - self._written > self._checkpoint_seconds
                over, late = self._ranks.broadcast((over or self.pace.is_over, late))
                if done == _MEASURED_STEPS and len(standing.history) == 1:
                    self._plan()
            loss = standing.epoch_loss / standing.epoch_pictures if standing.epoch_pictures else None
            self._journal.stepped(standing.step, max(group["lr"] for group in self._optimizer.param_groups))
            self._journal.advance(standing.step / self._standing.steps, images_per_second=speed, loss=loss)
            if over or self._standing.step >= self._standing.steps:
                break
            if late:
                self._write_checkpoint()
        self._validate(epoch)

    def _step(self, batch: Batch) -> None:
        """Moves the weights once."""
        standing, recipe = self._standing, self._recipe
        factor = learning_rate_factor(recipe.schedule, standing.step, standing.steps, recipe.warmup_fraction, standing.drops)
        for group, peak in zip(self._optimizer.param_groups, self._peaks, strict=True):
            group["lr"] = peak * factor
        self._unread += self._gradients.of(batch).double() * batch.size
        self._unread_pictures += batch.size
        if recipe.max_gradient_norm:
            nn.utils.clip_grad_norm_(self._network.parameters(), recipe.max_gradient_norm)
        self._optimizer.step()

    def _read_loss(self) -> Standing:
        """Waits for the device, and notes the losses since the last time.

        Raises:
            TrainerFailed: one is no number; nothing that came of it was kept or written.
        """
        loss, standing = float(self._unread), self._standing
        if not isfinite(loss):
            raise TrainerFailed(
                f"The training diverged: its loss was {loss} by step {standing.step}. "
                f"Choose a learning_rate below {self._recipe.learning_rate:g}."
            )
        self._standing = replace(
            standing, epoch_loss=standing.epoch_loss + loss, epoch_pictures=standing.epoch_pictures + self._unread_pictures
        )
        self._unread.zero_()
        self._unread_pictures = 0
        return self._standing

    def _validate(self, epoch: int) -> None:
        """Measures the weights, keeps them if they are the best, writes the checkpoint, and decides whether to go on."""
        start = time.monotonic()
        self._read_loss()
        figures, logits = self._measure(epoch, self._standing.epoch_loss / self._standing.epoch_pictures)
        self._journal.measured(figures)
        self._standing = replace(
            self._standing, history=(*self._standing.history, figures), epoch_step=0, epoch_loss=0.0, epoch_pictures=0
        )
        best = self._standing.history[self._standing.best]
        better = figures.loss < best.loss
        if better:
            self._standing = replace(self._standing, best=len(self._standing.history) - 1)
        self._weights.validated(logits, better=better)
        waited = len(self._standing.history) - 1 - self._standing.best
        if waited and waited % _PLATEAU_VALIDATIONS == 0:
            self._standing = replace(self._standing, drops=self._standing.drops + 1)
        self.pace.validation_seconds = time.monotonic() - start
        self._plan()
        self._stopped = self._is_hopeless()
        if self._stopped:
            self._journal.message(f"Fine-tuning stopped early at epoch {epoch}: {waited} validations without a lower loss.")
        self._write_checkpoint()

    def _is_hopeless(self) -> bool:
        """Returns whether the losses say that going on is in vain.

        In the first half they do not: until the learning rate has fallen, an epoch may well be worse than the head it began with.
        """
        standing = self._standing
        waited = len(standing.history) - 1 - standing.best
        return waited >= self._recipe.early_stopping_patience and standing.steps / 2 <= standing.step < standing.steps

    def _score(self, name: str, state: State) -> Candidate | None:
        """Returns weights with what they score on the validation split; None where the time is needed for the export."""
        if not self._ranks.broadcast(self.pace.may_refine):
            return None
        self._network.load_state_dict(state)
        history = self._standing.history
        return Candidate(name, state, *self._measure(history[self._standing.best].epoch, history[-1].train_loss))

    def _measure(self, epoch: int, train_loss: float) -> tuple[EpochMetrics, NDArray[np.float32]]:
        """Returns what the network scores on the validation split, and its logits there, float32 [n, C]."""
        rows = self._data.rows[VALIDATION]
        logits = logits_of(self._network, self._images, rows, self._journal, self._ranks)
        return self._ranks.broadcast(measure(epoch, train_loss, logits, self._data.targets[rows], self._recipe.loss)), logits

    def _resume(self) -> bool:
        try:
            found = checkpoint.read(self._folder, self._standing.key, self._network, self._optimizer)
        except ValueError as error:
            self._journal.message(f"The checkpoint of an earlier attempt was not used: {error}.")
            return False
        if found is None:
            return False
        self._standing, *states = found
        self._weights.restore(*states, is_start=not self._standing.best)
        done = self._standing.history[-1].epoch
        self._stopped = self._is_hopeless()
        self._journal.message(f"Went on from the checkpoint of an earlier attempt, after epoch {done}, step {self._standing.step}.")
        self._journal.stepped(self._standing.step, max(group["lr"] for group in self._optimizer.param_groups))
        self._journal.measured(self._standing.history[-1])
        return True

    def _write_checkpoint(self) -> None:
        self._read_loss()
        start = time.monotonic()
        if self._ranks.first:
            self._try_checkpoint()
        self._ranks.wait()  # whoever is told to stop ends once it is written
        self._written = time.monotonic()
        self._checkpoint_seconds = max(_CHECKPOINT_SECONDS, _CHECKPOINT_SHARE * (self._written - start))

    def _try_checkpoint(self) -> None:
        """Writes the checkpoint; where the disk is full the one before stays, and the training goes on without another."""
        weights, missed = self._weights, self._missed
        try:
            checkpoint.write(self._folder, self._standing, self._network, weights.best, weights.average, self._optimizer)
            self._missed = False
        except OSError as error:
            if error.errno not in room.FULL:
                raise
            self._missed = True
            if not missed:
                self._journal.message(
                    f"The checkpoint could not be written: {room.told(error, self._folder)}. The training goes on, and writes it "
                    "when there is room: free some of the disk of data_dir."
                )
        if missed and not self._missed:
            self._journal.message("There is room again: the checkpoint is written.")

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

    def _plan(self) -> None:
        """Plans as many steps as the recipe wants and the time allows."""
        standing = self._standing
        steps = self._ranks.broadcast(self.pace.steps(standing.step, self._wanted, due=standing.epoch_step > 0))
        self._standing = replace(standing, steps=steps)
        if seconds := self.pace.seconds_of_step():
            self._journal.expect(self._standing.steps * seconds)
