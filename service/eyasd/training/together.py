"""A fine-tuning in one process or in several: the first prepares it and calls the others in, which do nothing before and after.

So all that is read, decided and written beside the steps is done once, by the program that a single process runs.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from eyasd.core.evaluation import EpochMetrics
from eyasd.core.processors import cpu_count
from eyasd.training.budget import Budget
from eyasd.training.data.audit import Audit
from eyasd.training.data.cache import open_pixels
from eyasd.training.device import tune
from eyasd.training.head.fold import fold
from eyasd.training.head.start import Start
from eyasd.training.journal import Journal
from eyasd.training.machine import local_rank
from eyasd.training.network import Network, input_format, pick_device
from eyasd.training.ranks import Ranks
from eyasd.training.recipe import Recipe
from eyasd.training.tuning.loop import FineTuning

_PIECE_BYTES: Final = 16 << 20
Tuned = tuple[tuple[EpochMetrics, ...], NDArray[np.float32] | None]


@dataclass(frozen=True, slots=True)
class Task:
    """What the other processes have to know.

    Attributes:
        recipe: of the fine-tuning.
        data: which pictures are for training, and what they show.
        budget: when it has to end.
        folder: of the checkpoint, the same in all processes, on a disk that they share or on one of each machine's own.
        key: names everything that decides the training.
        head: figures of the head on the frozen backbone.
        pixels: the file of the decoded pictures, on such a disk; a machine that has none gets one, see `reach`.
        shape: of these, [N, H, W, 3].
        names: of the network's parameters and buffers.
        micro_batches: see `TrainingTask`.
    """

    recipe: Recipe
    data: Audit
    budget: Budget
    folder: Path
    key: str
    head: EpochMetrics
    pixels: Path
    shape: tuple[int, ...]
    names: tuple[str, ...]
    micro_batches: int


def fine_tune(start: Start, budget: Budget, folder: Path, journal: Journal, ranks: Ranks) -> Tuned:
    """Fine-tunes a network in all processes; called by the first.

    Args:
        start: with the network, which ends with the best weights.
        budget: when it has to end.
        folder: of the checkpoint.
        journal: hears of the progress.
        ranks: the processes.

    Returns:
        The figures of every validation, those of the head first; and what the network now answers on the validation split, float32
        [n, C] logits, or None where it was an earlier attempt that saw it.

    Raises:
        Interrupted: one of the processes was told to stop.
        TrainerFailed: the loss is no number any more.
    """
    names = tuple(start.network.state_dict())
    task = Task(
        start.recipe,
        start.data,
        budget,
        folder,
        start.key,
        start.head,
        start.pixels,
        start.images.shape,
        names,
        start.micro_batches,
    )
    ranks.call(task)
    reach(task.pixels, task.shape, ranks, start.images)
    return _run(task, start.network, start.images, journal, ranks, start.logits)


def assist(journal: Journal, ranks: Ranks) -> None:
    """Takes part in every fine-tuning that the first process calls for, until it ends; raises as `fine_tune`."""
    while isinstance(task := ranks.called(journal.check), Task):
        network = Network(task.recipe, input_format(task.recipe.backbone), len(task.data.labels))
        if tuple(network.state_dict()) != task.names:
            fold(network.body, task.recipe.image_size_px)  # as that of the first process was
        reach(task.pixels, task.shape, ranks)
        _run(task, network.to(pick_device()), open_pixels(task.pixels, task.shape), journal, ranks)


def reach(path: Path, shape: tuple[int, ...], ranks: Ranks, images: NDArray[np.uint8] | None = None) -> None:
    """Has every machine see the decoded pictures; one that does not share the first process's disk gets a file of its own.

    Args:
        path: of the file, the same everywhere; its name tells its content.
        shape: of the pictures, [N, H, W, 3].
        ranks: the processes, each of which calls this.
        images: the pictures, uint8 of that shape; in the first process.

    Raises:
        OSError: the file cannot be written.
    """
    seen = path.is_file() and path.stat().st_size >= prod(shape)
    if not ranks.any(not seen):
        return
    rows = max(1, _PIECE_BYTES // prod(shape[1:]))
    draft = path.with_suffix(".coming")
    with ExitStack() as files:
        file = None
        if not seen and local_rank() == 0:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = files.enter_context(draft.open("wb"))
        for start in range(0, shape[0], rows):
            piece = ranks.broadcast(np.array(images[start : start + rows]) if images is not None else None)
            if file is not None and piece is not None:
                file.write(piece.data)
    if file is not None:
        draft.replace(path)
    ranks.wait()


def _run(
    task: Task,
    network: Network,
    images: NDArray[np.uint8],
    journal: Journal,
    ranks: Ranks,
    logits: NDArray[np.float32] | None = None,
) -> Tuned:
    torch.set_num_threads(max(1, cpu_count() // ranks.local_world))
    tune()
    ranks.copy(list(network.state_dict().values()))
    journal.agree = ranks.any
    tuning = FineTuning(
        network,
        task.recipe,
        images,
        task.data,
        task.budget,
        task.folder,
        task.key,
        journal,
        ranks,
        micro_batches=task.micro_batches,
    )
    history = tuning.run(task.head, logits)
    journal.agree = bool
    torch.set_num_threads(cpu_count())
    return history, tuning.logits
