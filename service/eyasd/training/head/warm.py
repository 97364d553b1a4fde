"""A warm start: the weights of a version published before, as the beginning of the next one; and those that a version leaves.

Knows bundles and states, not how a head is fitted. Weights are kept as safetensors, so that reading them cannot run code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from eyasd.core.answers import ANSWERS, KeptAnswers
from eyasd.core.bundle import MANIFEST, WEIGHTS, Manifest, read_manifest, verified
from eyasd.core.errors import BrokenBundle
from eyasd.core.evaluation import EpochMetrics
from eyasd.core.jobdir import BASE
from eyasd.core.names import ModelRef
from eyasd.core.spec import Loss
from eyasd.core.tasks import TrainingTask
from eyasd.core.warmstart import inherited
from eyasd.training.data.audit import Audit
from eyasd.training.data.listing import TEST
from eyasd.training.head.probe import Split
from eyasd.training.losses import Criterion
from eyasd.training.network import Network
from eyasd.training.tuning.average import State, copy_of
from eyasd.training.tuning.validate import measure

_BACKBONE: Final = "backbone."
_HEAD: Final = "head."
_SEEN: Final = "seen"


@dataclass(frozen=True, slots=True)
class Base:
    """The version that a training starts from.

    Attributes:
        name: of the version.
        manifest: its own.
        backbone: its weights, by timm's names.
        head: its weights, by the names of `network.build_head`.
        seen: int64 [n], the pictures that it and the versions before it were trained on; see `core.answers`.
        answers: which pictures were in its splits, and what it said of the last; None where that is not needed.
    """

    name: ModelRef
    manifest: Manifest
    backbone: State
    head: State
    seen: NDArray[np.int64]
    answers: KeptAnswers | None = None

    @property
    def source(self) -> str:
        """Returns where the weights are from, for the lineage."""
        return f"{self.name} (SHA-256 {self.manifest.files[WEIGHTS]})"

    def give(self, backbone: nn.Module) -> str:
        """Gives its weights to a backbone, and returns where they are from.

        Raises:
            BrokenBundle: they are not those of the backbone.
        """
        try:
            backbone.load_state_dict(self.backbone)
        except RuntimeError as error:
            lineage = self.manifest.lineage
            raise BrokenBundle(
                f"{WEIGHTS} of {self.name} does not fit the {lineage.backbone} of timm {version('timm')}; it was trained with timm "
                f"{lineage.packages.get('timm', 'of another version')}: install that, or train without a base version."
            ) from error
        return self.source

    def with_leaks(self, data: Audit, files: NDArray[np.int64]) -> Audit:
        """Returns the audit, in which the test pictures that the version was trained on count as leaked.

        The split that Eyas makes goes by what the pictures hold, so few move to the test split when others come; but some do.

        Args:
            data: of the dataset.
            files: int64 [N], of each listed file; see `core.answers`.
        """
        rows = data.rows[TEST]
        seen = np.zeros(len(files), np.bool_)
        seen[rows] = np.isin(files[rows], self.seen)
        if not seen.any():
            return data
        warning = (
            f"{seen.sum()} of the {len(rows)} test pictures are among those that {self.name} was trained on; "
            "the figures flatter the model as far as they do."
        )
        report = replace(data.report, warnings=(*data.report.warnings, warning))
        return replace(data, leaked=data.leaked | seen, report=report)

    def keep_better_head(
        self, head: nn.Sequential, fitted: EpochMetrics, labels: Sequence[str], loss: Loss, train: Split, validation: Split
    ) -> tuple[EpochMetrics, str]:
        """Leaves a head as it was fitted, or gives it the version's own weights where these have a lower validation loss.

        Args:
            head: fitted to features of the version's backbone.
            fitted: its figures.
            labels: of the dataset, in order of class index.
            loss: of the recipe.
            train: the features that it was fitted to.
            validation: those that it is judged by.

        Returns:
            The figures of what it is now, and which head that is, for a person.
        """
        own = self._head_for(labels, loss)
        new = copy_of(head.state_dict())
        if own is None or {name: value.shape for name, value in own.items()} != {name: value.shape for name, value in new.items()}:
            return fitted, f"The head was fitted anew: that of {self.name} is not for these labels, or is built otherwise."
        head.load_state_dict(own)
        with torch.inference_mode():
            train_loss = float(Criterion(loss)(head(train.features), train.targets))
            logits = head(validation.features).numpy()
        kept = measure(0, train_loss, logits, validation.targets.numpy(), loss)
        losses = f"its validation loss is {kept.loss:.3f}, that of a new one {fitted.loss:.3f}"
        if kept.loss < fitted.loss:
            return kept, f"The head of {self.name} was kept: {losses}."
        head.load_state_dict(new)
        return fitted, f"The head of {self.name} was replaced: {losses}."

    def _head_for(self, labels: Sequence[str], loss: Loss) -> State | None:
        """Returns the version's head with a row for each label; None where it does not know them all, or means something else.

        A label that it knows and that is wanted no more is left out: what a softmax says of the others stays what it was.
        """
        rows = [self.manifest.labels.index(label) for label in labels if label in self.manifest.labels]
        its_loss = Loss(self.manifest.lineage.recipe["loss"])
        if len(rows) < len(labels) or (its_loss is Loss.BINARY_CROSS_ENTROPY) is not (loss is Loss.BINARY_CROSS_ENTROPY):
            return None
        last = max(name.partition(".")[0] for name in self.head)
        return {name: value[rows] if name.startswith(f"{last}.") else value for name, value in self.head.items()}


def take_up(task: TrainingTask, folder: Path) -> tuple[TrainingTask, Base | None]:
    """Reads the version that a training starts from.

    Args:
        task: as it was given.
        folder: JOB_DIR.

    Returns:
        The task with the version's backbone and image size, and the version; None where the task names none.

    Raises:
        BrokenBundle: its weights are damaged.
        InvalidArgument: the task contradicts it.
    """
    if task.base_version is None:
        return task, None
    manifest = read_manifest((folder / BASE / MANIFEST).read_bytes())
    spec = inherited(task.spec, manifest, str(task.base_version))
    try:
        state = load(verified(manifest, WEIGHTS, (folder / BASE / WEIGHTS).read_bytes()))
        base = Base(task.base_version, manifest, _below(state, _BACKBONE), _below(state, _HEAD), state[_SEEN].numpy())
        if task.spec.add_captured:
            answers = KeptAnswers.from_bytes(verified(manifest, ANSWERS, (folder / BASE / ANSWERS).read_bytes()))
            base = replace(base, answers=answers)
    except (SafetensorError, KeyError, TypeError) as error:  # TypeError: a kind of number that numpy has not
        raise BrokenBundle(f"{WEIGHTS} of {task.base_version} is damaged: {error}.") from error
    return replace(task, spec=spec), base


def dump(network: Network, seen: NDArray[np.int64]) -> bytes:
    """Returns the content of weights.safetensors; `seen` is int64 [n], the fingerprints of what the network was trained on."""
    states = ((_BACKBONE, network.backbone.state_dict()), (_HEAD, network.head.state_dict()))
    tensors = {prefix + name: value.cpu().contiguous() for prefix, state in states for name, value in state.items()}
    return save({**tensors, _SEEN: torch.from_numpy(seen)})


def _below(state: State, prefix: str) -> State:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
