"""The gradients of one batch, whatever it is divided by: parts that fit the memory, processes with a device each.

Sums over the parts are summed over the processes, so the gradients are those of the mean over the whole batch. Torch's
DistributedDataParallel would hide some of the exchange behind the backward pass, at the price of equal shares, equal parts in all
processes and a wrapper about the network; an exchange of 100 MB between GPUs of one machine takes a millisecond.
"""

from __future__ import annotations

from math import ceil

import torch
from torch import Tensor, nn

from eyasd.training.device import layout, pays_to_compile
from eyasd.training.journal import Journal
from eyasd.training.losses import Criterion
from eyasd.training.network import Network
from eyasd.training.ranks import Ranks
from eyasd.training.recipe import Recipe
from eyasd.training.tuning.batches import Batch


class Gradients:
    """Fills in the gradients of a network, step by step."""

    def __init__(
        self, network: Network, criterion: Criterion, recipe: Recipe, ranks: Ranks, journal: Journal, micro_batches: int = 1
    ) -> None:
        """Begins with the batch in as many parts as are asked for.

        Args:
            network: in training mode when it is called.
            criterion: the mean loss of a batch.
            recipe: of the job.
            ranks: the processes that share each batch.
            journal: hears when the memory is too small.
            micro_batches: number of parts that each process takes its share of a batch in at first.
        """
        self._network, self._criterion, self._ranks, self._journal = network, criterion, ranks, journal
        self._device = next(network.parameters()).device
        self._trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self._micro_batch = ceil(recipe.batch_size / ranks.world / micro_batches)
        self._layout = layout(recipe.backbone, self._device)
        network.to(memory_format=self._layout)
        self._forward = torch.compile(network) if pays_to_compile(recipe.samples, self._device) else network

    def of(self, batch: Batch) -> Tensor:
        """Returns float32 [], the mean loss of the batch, on the device; the gradients are the same in every process."""
        loss = self._of_share(batch)
        if self._ranks.world > 1:
            for parameter in self._trained:
                if parameter.grad is None:  # a share without a picture
                    parameter.grad = torch.zeros_like(parameter)
            self._ranks.add([loss, *(parameter.grad for parameter in self._trained if parameter.grad is not None)])
            self._share_statistics(len(batch.targets) / batch.size)
        return loss

    def _of_share(self, batch: Batch) -> Tensor:
        """Does this process's share, in as many parts as fit the memory; returns its part of the mean loss."""
        while True:
            self._network.zero_grad()
            parts = zip(*(torch.split(tensor, self._micro_batch) for tensor in (batch.pixels, batch.targets)), strict=True)
            nothing = torch.zeros((), device=self._device)
            try:
                return sum((self._of_part(pixels, targets, batch.size) for pixels, targets in parts if len(targets)), nothing)
            except torch.OutOfMemoryError:
                if self._micro_batch == 1:
                    raise
                self._micro_batch = ceil(self._micro_batch / 2)
            # Outside the handler: the exception holds on to the tensors of the failed pass.
            torch.cuda.empty_cache()
            self._journal.message(f"The memory was too small: each step now takes {self._micro_batch} pictures at a time.")

    def _of_part(self, pixels: Tensor, targets: Tensor, size: int) -> Tensor:
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._device.type == "cuda"):
            logits = self._forward(pixels.contiguous(memory_format=self._layout))
        loss: Tensor = self._criterion(logits.float(), targets) * (len(targets) / size)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _share_statistics(self, weight: float) -> None:
        """Replaces the running statistics of a batch normalisation in training by their mean over the processes.

        Each process has normalised by the statistics of its own pictures, so here several processes differ from one.
        """
        norms = [module for module in self._network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
        statistics = [
            buffer for norm in norms if norm.training for buffer in (norm.running_mean, norm.running_var) if buffer is not None
        ]
        if statistics:
            for buffer in statistics:
                buffer.mul_(weight)
            self._ranks.add(statistics)
