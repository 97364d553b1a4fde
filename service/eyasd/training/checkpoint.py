"""Where a training stands after a step, in a file that a later attempt goes on from: tensors in safetensors, figures in JSON.

Nothing is pickled: a checkpoint cannot run code, and reads the same in every version of torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from eyasd.core import document
from eyasd.core.types import EpochMetrics
from eyasd.training import durable
from eyasd.training.average import State

CHECKPOINT: Final = "checkpoint.safetensors"
_NETWORK: Final = "network."
_BEST: Final = "best."
_AVERAGE: Final = "average."
_OPTIMIZER: Final = "optimizer."


@dataclass(frozen=True, slots=True)
class Standing:
    """The figures of a checkpoint.

    Attributes:
        key: names everything that decides the training; a checkpoint of another key is not gone on from.
        steps: number of steps planned.
        step: number of steps done.
        epoch_step: number of steps done of the epoch under way.
        epoch_loss: sum of the loss over the pictures of those steps.
        epoch_pictures: number of those pictures.
        history: figures of every epoch so far, from epoch 0.
        best_epoch: the one whose weights are kept.
        drops: how often the learning rate was divided because the validation loss stood still.
    """

    key: str
    steps: int
    step: int = 0
    epoch_step: int = 0
    epoch_loss: float = 0.0
    epoch_pictures: int = 0
    history: tuple[EpochMetrics, ...] = ()
    best_epoch: int = 0
    drops: int = 0


def write(
    folder: Path, standing: Standing, network: nn.Module, best: State, average: State, optimizer: torch.optim.Optimizer
) -> None:
    """Writes the checkpoint, in place of the one before."""
    tensors: State = {}
    for prefix, state in ((_NETWORK, network.state_dict()), (_BEST, best), (_AVERAGE, average)):
        tensors |= {prefix + name: value for name, value in state.items()}
    for index, values in optimizer.state_dict()["state"].items():
        tensors |= {f"{_OPTIMIZER}{index}.{name}": torch.as_tensor(value) for name, value in values.items() if value is not None}
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    durable.write(folder / CHECKPOINT, save(plain, {"standing": document.dump(standing)}))


def read(folder: Path, key: str, network: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[Standing, State, State] | None:
    """Takes up a checkpoint: the network and the optimizer are as they were when it was written.

    Returns:
        Its figures, the best weights so far and their moving average; None where there is no checkpoint of this key.

    Raises:
        ValueError: it is damaged; neither network nor optimizer was changed.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        return None
    try:
        with safe_open(path, "pt") as file:
            standing = document.load(Standing, (file.metadata() or {})["standing"])
            if standing.key != key:
                return None
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 -- it is no mapping
    except (SafetensorError, OSError, KeyError) as error:
        raise ValueError(f"{CHECKPOINT} is damaged: {error}") from error
    network.load_state_dict(_below(tensors, _NETWORK))
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in _below(tensors, _OPTIMIZER).items():
        index, field = name.split(".", 1)
        state.setdefault(int(index), {})[field] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    return standing, _below(tensors, _BEST), _below(tensors, _AVERAGE)


def _below(tensors: State, prefix: str) -> State:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
