"""The checkpoint of a training, with tiny tensors. Torch is imported once, before the forks."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from faults.crash.scenario import Ack, Scenario

_KEY = "training"


class Checkpoint(Scenario[Path]):
    """A second checkpoint in place of a first."""

    in_trainer = True

    def load(self) -> None:
        importlib.import_module("eyasd.training.tuning.checkpoint")
        self._training(0)  # the first step of an optimizer imports the other half of torch

    def lay(self, root: Path) -> None:
        self._write(root, 1)

    def open(self, root: Path) -> Path:
        return root

    def act(self, opened: Path, ack: Ack) -> None:
        self._write(opened, 2)
        ack("step 2")

    def check(self, root: Path, acked: list[str]) -> Iterator[str]:
        from eyasd.training.tuning import checkpoint

        network, optimizer = self._training(0)
        found = checkpoint.read(root, _KEY, network, optimizer)
        if found is None or found[0].step not in (1, 2) or ("step 2" in acked and found[0].step != 2):
            yield f"the checkpoint is {found and found[0]}"
        elif not (network.weight == found[0].step).all():
            yield "the weights are of another step"

    def settled(self, root: Path) -> Iterator[str]:
        yield from self.check(root, ["step 2"])
        files = {path.name for path in root.iterdir() if path.is_file()}
        if files != {"checkpoint.safetensors"}:
            yield f"there are {sorted(files)}"

    def _write(self, root: Path, step: int) -> None:
        from eyasd.training.tuning import checkpoint

        network, optimizer = self._training(step)
        state = network.state_dict()
        checkpoint.write(root, checkpoint.Standing(_KEY, 10, step), network, state, state, optimizer)

    def _training(self, step: int) -> Any:
        import torch

        network = torch.nn.Linear(2, 2)
        optimizer = torch.optim.AdamW(network.parameters(), lr=0.0, weight_decay=0.0)
        for parameter in network.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        torch.nn.init.constant_(network.weight, float(step))
        return network, optimizer
