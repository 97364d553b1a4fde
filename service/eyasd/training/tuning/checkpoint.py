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
from eyasd.core.evaluation import EpochMetrics
from eyasd.core.jobdir import CHECKPOINT
from eyasd.training import durable
from eyasd.training.tuning.average import State

_NETWORK: Final = "network."
_BEST: Final = "best."
_AVERAGE: Final = "average."
_OPTIMIZER: Final = "optimizer."
_GROUP: Final = "group."
# An optimizer's plain numbers become tensors of these; the scalars that it keeps as tensors are of float32.
_NUMBERS: Final = {torch.float64, torch.int64, torch.bool}


@dataclass(frozen=True, slots=True)
class Standing:
    """The figures of a checkpoint.

    Attributes:
        key: names everything that decides the training; a checkpoint of another key is not gone on from.
        steps: number of steps planned.
        step: number of steps done.
        epoch_step: number of steps done since the last validation, which an epoch ends with.
        epoch_loss: sum of the loss over the pictures of those steps.
        epoch_pictures: number of those pictures.
        history: figures of every validation so far, from epoch 0.
        best: the place in it of the one whose weights are kept.
        drops: how often the learning rate was divided because the validation loss stood still.
    """

    key: str
    steps: int
    step: int = 0
    epoch_step: int = 0
    epoch_loss: float = 0.0
    epoch_pictures: int = 0
    history: tuple[EpochMetrics, ...] = ()
    best: int = 0
    drops: int = 0


def write(
    folder: Path, standing: Standing, network: nn.Module, best: State, average: State, optimizer: torch.optim.Optimizer
) -> None:
    """Writes the checkpoint, in place of the one before."""
    tensors: State = {}
    for prefix, state in ((_NETWORK, network.state_dict()), (_BEST, best), (_AVERAGE, average)):
        tensors |= {prefix + name: value for name, value in state.items()}
    for index, values in optimizer.state_dict()["state"].items():
        tensors |= {f"{_OPTIMIZER}{index}.{name}": _tensor(value) for name, value in values.items() if value is not None}
    # Some count their steps here, not by parameter.
    tensors |= {f"{_GROUP}{i}.step": _tensor(group["step"]) for i, group in enumerate(optimizer.param_groups) if "step" in group}
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
    whole = optimizer.state_dict()
    whole["state"] = {}
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for name, value in _below(tensors, _OPTIMIZER).items():
        index, field = name.split(".", 1)
        parameter = parameters[int(index)]
        # Laid out in memory as it was: another layout is another order of summation, and another last digit.
        laid = torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape else _plain(value)
        whole["state"].setdefault(int(index), {})[field] = laid
    for name, value in _below(tensors, _GROUP).items():
        index, field = name.split(".", 1)
        whole["param_groups"][int(index)][field] = _plain(value)
    optimizer.load_state_dict(whole)
    return standing, _below(tensors, _BEST), _below(tensors, _AVERAGE)


def _below(tensors: State, prefix: str) -> State:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _tensor(value: Tensor | float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64) if isinstance(value, float) else torch.as_tensor(value)


def _plain(value: Tensor) -> Tensor | float:
    """Returns what `_tensor` was given."""
    return value.item() if value.ndim == 0 and value.dtype in _NUMBERS else value
