"""What a fine-tuning starts from: a backbone with its weights, the dataset as it sees it, and a head that was fitted to it.

Can be made for each of several backbones; the split, once made, is the same for all.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from eyasd.core.answers import fingerprints
from eyasd.core.evaluation import EpochMetrics
from eyasd.core.preprocess import Preprocess
from eyasd.core.tasks import InspectionTask, TrainingTask
from eyasd.training.budget import Budget
from eyasd.training.data.audit import Audit, audit
from eyasd.training.data.cache import Pictures, decode
from eyasd.training.data.captured import Held
from eyasd.training.data.listing import TEST, TRAIN, VALIDATION, Listing
from eyasd.training.head import suspects, weights
from eyasd.training.head.afford import affordable
from eyasd.training.head.features import extract
from eyasd.training.head.fold import fold
from eyasd.training.head.probe import Split, fit_head
from eyasd.training.head.warm import Base
from eyasd.training.journal import Journal
from eyasd.training.network import InputFormat, Network, device_name, input_format, pick_device
from eyasd.training.outcome import ood
from eyasd.training.outcome.ood import Sample
from eyasd.training.recipe import Recipe, resolve
from eyasd.training.tuning.validate import measure


@dataclass(frozen=True, slots=True)
class Start:
    """What a fine-tuning starts from.

    Attributes:
        recipe: of the backbone.
        preprocess: how a picture becomes the input of the network.
        network: with the fitted head, on its device.
        source: where its weights came from; "" is none.
        images: uint8 [N, H, W, 3], a row a listed file.
        data: which of them are in which split, and what they show; its report has the labels that the features doubt.
        pixels: the file that the images are mapped from.
        key: names everything that decides the training.
        head: figures of the head on the frozen backbone, those of epoch 0.
        logits: float32 [n, C], what it answers on the validation split.
        prints: int64 [N], by which each listed file is known; see `core.answers`.
        seen: int64 [n], those of train, validation and the base version.
        sample: pictures that stand for the others, and what the frozen backbone sees in them.
        shorter_px: float64 [N], the shorter side of each listed file's picture; 0 where it is none.
        micro_batches: see `TrainingTask`.
    """

    recipe: Recipe
    preprocess: Preprocess
    network: Network
    source: str
    images: NDArray[np.uint8]
    data: Audit
    pixels: Path
    key: str
    head: EpochMetrics
    logits: NDArray[np.float32]
    prints: NDArray[np.int64]
    seen: NDArray[np.int64]
    sample: Sample
    shorter_px: NDArray[np.float64]
    micro_batches: int


def prepare(
    task: TrainingTask,
    backbone: str,
    listing: Listing,
    folder: Path,
    journal: Journal,
    *,
    base: Base | None = None,
    data: Audit | None = None,
) -> Start:
    """Takes a backbone through the stages `weights`, `decode` and `head`.

    Args:
        task: what to do.
        backbone: name of a network of timm.
        listing: the files of the dataset.
        folder: where the decoded pictures and the features are kept; what an earlier attempt left there is used again.
        journal: hears of the progress.
        base: the version whose weights to start from; None is the backbone's own.
        data: the splits of the same files, as another backbone saw them; None makes them, and looks for what is wrong with them.

    Raises:
        EyasError: the dataset, the request or the machine does not allow it; the message says what to do.
    """
    form = input_format(backbone)
    preprocess = form.preprocess(task.spec.image_size_px or form.native_px)
    offered = [file for file in listing.files if file.split in {None, TRAIN}]
    counts = Counter(label for file in offered for label in file.labels)
    imbalance = max(counts.values()) / min(counts.values())
    decided = partial(
        resolve,
        replace(task.spec, backbone=backbone),
        len(offered),
        form.native_px,
        imbalance=imbalance,
        multi_label=listing.multi_label,
    )
    recipe = decided()

    journal.stage("weights")  # before the decoding, which takes longer: who has no weights shall know at once
    labels = len(data.labels if data else listing.labels)
    network, source = build(recipe, form, labels, task, base)
    journal.message(f"{backbone} starts from {source or 'random weights'}, on {device_name()}.")

    journal.stage("decode")
    pictures = decode(listing.files, preprocess, folder, task.cache, journal)
    prints = fingerprints(entry.sha256 for entry in pictures.entries)
    known = data is not None
    journal.part("split")
    data = data or _audited(listing, pictures, recipe, base, task.dataset, journal)
    recipe = decided(training=len(data.rows[TRAIN]))

    journal.stage("head")
    key = key_of(preprocess, pictures, listing, data, source, recipe)
    budget = Budget(task.deadline, task.spec.variants)
    chosen = affordable(network, pictures.images, data, budget, recipe.seed, journal)
    rows, count = np.concatenate([chosen, data.rows[VALIDATION]]), len(chosen)
    features = extract(network.body, pictures.images, rows, folder, f"{key} {len(rows)}", journal)
    if not known:
        data = _with_suspects(data, features, rows, listing, recipe, journal)
    seen, targets = torch.from_numpy(features), torch.from_numpy(data.targets[rows])
    splits = Split(seen[:count], targets[:count]), Split(seen[count:], targets[count:])
    head = _fit_head(network.head.cpu(), recipe, *splits, data.labels, base, journal)
    with torch.inference_mode():
        logits = network.head(splits[1].features).numpy()
    network.head.to(pick_device())
    journal.measured(head)
    used = prints[np.concatenate([data.rows[TRAIN], data.rows[VALIDATION]])]
    used = np.union1d(used, base.seen) if base else np.unique(used)
    some = ood.sample(data, chosen, rows, features, recipe.seed)
    headers = [entry.header for entry in pictures.entries]
    return Start(
        recipe,
        preprocess,
        network,
        source,
        pictures.images,
        data,
        pictures.path,
        key,
        head,
        logits,
        prints,
        used,
        some,
        np.array([min(header.width_px, header.height_px) if header else 0 for header in headers], np.float64),
        task.micro_batches,
    )


def build(
    recipe: Recipe, form: InputFormat, labels: int, task: TrainingTask | InspectionTask, base: Base | None = None
) -> tuple[Network, str]:
    """Builds the network of a job, with the weights that it starts from.

    Args:
        recipe: of the job.
        form: of the backbone.
        labels: number of labels.
        task: knows where weights are.
        base: the version whose weights to take; None is the backbone's own.

    Returns:
        The network on its device, and where its weights came from; "" is none.

    Raises:
        WeightsNotFound: there are none.
        BrokenBundle: those of the version are not those of the backbone.
    """
    torch.manual_seed(recipe.seed)
    network = Network(recipe, form, labels)
    source = ""
    if base:
        if base.backbone.keys() != network.backbone.state_dict().keys():
            fold(network.body, recipe.image_size_px)  # as that of the version was
        source = base.give(network.backbone)
    elif recipe.pretrained:
        source = weights.load(network.backbone, recipe.backbone, task.weights, task.hub)
        fold(network.body, recipe.image_size_px)
    return network.to(pick_device()), source


def _audited(listing: Listing, pictures: Pictures, recipe: Recipe, base: Base | None, dataset: str, journal: Journal) -> Audit:
    """Returns the splits, and tells what is wrong with the files."""
    fractions = {VALIDATION: recipe.validation_fraction, TEST: recipe.test_fraction}
    held = None
    if base and base.answers is not None:
        whole = dataset == base.manifest.lineage.dataset
        held = Held(str(base.name), base.answers, whole, recipe.captured_test_fraction)
    data = audit(listing, pictures, fractions, recipe.seed, journal.check, held=held)
    data = base.with_leaks(data, fingerprints(entry.sha256 for entry in pictures.entries)) if base else data
    for warning in data.report.warnings:
        journal.message(warning)
    return data


def _with_suspects(
    data: Audit, features: NDArray[np.float32], rows: NDArray[np.int64], listing: Listing, recipe: Recipe, journal: Journal
) -> Audit:
    """Returns the same with the labels that the features float32 [n, F] of int64 [n] `rows` doubt in its report; tells of them."""
    doubtful = suspects.examine(features, rows, listing.files, data, recipe.seed, journal.check)
    if doubtful and doubtful.pictures:
        first = doubtful.pictures[0]
        journal.message(
            f"{doubtful.count} of {doubtful.examined} pictures bear a label that looks wrong, such as {first.path!r}: "
            f"{first.label!r}, rather {first.suggested_label!r}."
        )
    return replace(data, report=replace(data.report, suspects=doubtful))


def key_of(preprocess: Preprocess, pictures: Pictures, listing: Listing, data: Audit, source: str, recipe: Recipe) -> str:
    """Returns a name of everything that decides the features and the training, for what an earlier attempt left of them."""
    # What lies in which row counts, too: a renamed file moves it.
    rows = [(entry.sha256, file.label) for entry, file in zip(pictures.entries, listing.files, strict=True)]
    return hashlib.sha256(f"{preprocess} {rows} {data.report.digest} {source} {recipe}".encode()).hexdigest()


def _fit_head(
    head: nn.Sequential,
    recipe: Recipe,
    train: Split,
    validation: Split,
    labels: Sequence[str],
    base: Base | None,
    journal: Journal,
) -> EpochMetrics:
    """Fits the head on the frozen backbone, or takes that of the base version if it is better; returns its figures as of epoch 0.

    Args:
        head: fitted in place, and left in evaluation mode.
        recipe: of the backbone.
        train: what the backbone sees in the pictures to fit it to.
        validation: the same of those that judge it.
        labels: in order of class index.
        base: the version that the backbone is of, or None.
        journal: hears which head was taken.
    """
    train_loss = fit_head(head, train, validation, recipe.loss, recipe.seed)
    with torch.inference_mode():
        logits = head.eval()(validation.features).numpy()
    figures = measure(0, train_loss, logits, validation.targets.numpy(), recipe.loss)
    if base:
        figures, message = base.keep_better_head(head, figures, labels, recipe.loss, train, validation)
        journal.message(message)
    return figures
