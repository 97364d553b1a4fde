"""How a model is born, in order: audit, weights, decode, head, fine-tuning, calibration, export, proof, test, bundle."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from eyasd.core import document
from eyasd.core.bundle import FORMAT_VERSION, LOGITS, MODEL, PROBABILITIES, Golden, Lineage, Manifest, Parity
from eyasd.core.findings import Suspects
from eyasd.core.jobdir import BUNDLE
from eyasd.core.preprocess import Preprocess
from eyasd.core.types import EpochMetrics, Evaluation, TrainingOutcome, TrainingTask
from eyasd.training import archive, suspects, weights
from eyasd.training.audit import Audit, audit
from eyasd.training.augment import Augmentation
from eyasd.training.budget import Budget
from eyasd.training.bundling import write_bundle
from eyasd.training.cache import decode
from eyasd.training.calibrate import fit_temperature
from eyasd.training.dataset import open_dataset
from eyasd.training.evaluate import predict, score
from eyasd.training.export import PARITY_EXAMPLES, check_signature, prove_parity, to_onnx
from eyasd.training.features import extract
from eyasd.training.journal import Journal
from eyasd.training.listing import TEST, TRAIN, VALIDATION, File, check_labels
from eyasd.training.loop import FineTuning
from eyasd.training.machine import cpu_count
from eyasd.training.network import InputFormat, Network, Servable, input_format, pick_device
from eyasd.training.probe import Split, fit_head
from eyasd.training.recipe import DEFAULT_BACKBONE, Recipe, resolve
from eyasd.training.session import open_session
from eyasd.training.sheet import contact_sheet
from eyasd.training.thumbnails import data_uri, thumbnails
from eyasd.training.validate import logits_of, measure

# They decide the numbers; the others only carry them.
_PACKAGES: Final = ("numpy", "onnx", "onnxruntime", "onnxscript", "pillow", "timm", "torch")
_BATCH: Final = 32
_GOLDEN_EXAMPLES: Final = 8
_SHEET_ROWS: Final = 6


def train(task: TrainingTask, folder: Path, journal: Journal) -> TrainingOutcome:
    """Trains a model and leaves its bundle in JOB_DIR.

    Args:
        task: what to do.
        folder: JOB_DIR; what an earlier attempt left there is used again.
        journal: hears of the progress.

    Raises:
        EyasError: the dataset, the request or the machine does not allow it; the message says what to do.
    """
    start = time.monotonic()
    budget = Budget(task.deadline)
    spec = task.spec
    torch.set_num_threads(cpu_count())

    journal.stage("audit")
    listing = open_dataset(Path(task.dataset), folder, journal)
    check_labels(listing.files, listing.splits)
    form = input_format(spec.backbone or DEFAULT_BACKBONE)
    preprocess = form.preprocess(spec.image_size_px or form.native_px)
    counts = Counter(file.label for file in listing.files if file.split in {None, TRAIN})
    imbalance = max(counts.values()) / min(counts.values())
    recipe = resolve(spec, counts.total(), form.native_px, imbalance=imbalance)

    journal.stage("weights")  # before the decoding, which takes longer: who has no weights shall know at once
    network, source = _build(recipe, form, len({file.label for file in listing.files}), task)
    journal.message(f"Training starts from {source or 'random weights'}, on {_device_name()}.")

    journal.stage("decode")
    pictures = decode(listing.files, preprocess, folder, journal)
    archive.discard(folder)  # from here on the cache is all that is read
    fractions = {VALIDATION: recipe.validation_fraction, TEST: recipe.test_fraction}
    data = audit(listing, pictures, fractions, recipe.seed, journal.check)
    for warning in data.report.warnings:
        journal.message(warning)

    journal.stage("head")
    # What lies in which row counts, too: a renamed file moves it.
    rows = [(entry.sha256, file.label) for entry, file in zip(pictures.entries, listing.files, strict=True)]
    key = hashlib.sha256(f"{preprocess} {rows} {data.report.digest} {source} {recipe}".encode()).hexdigest()
    head, doubtful = _fit_head(network, recipe, pictures.images, listing.files, data, folder, key, journal)
    report = replace(data.report, suspects=doubtful)
    journal.measured(head)

    history: tuple[EpochMetrics, ...] = (head,)
    if recipe.epochs:
        journal.stage("fine-tune")
        history = FineTuning(network, recipe, pictures.images, data, budget, folder, key, journal).run(head)

    journal.stage("export")
    network.cpu()
    validation_targets = data.class_indices[data.rows[VALIDATION]]
    calibration = fit_temperature(
        logits_of(network, pictures.images, data.rows[VALIDATION], journal), validation_targets, recipe.loss
    )
    servable = Servable(network, recipe.loss, calibration.temperature).eval()
    bundle = folder / BUNDLE
    shutil.rmtree(bundle, ignore_errors=True)
    bundle.mkdir()
    parity = _export(servable, bundle / MODEL, pictures.images, data, preprocess, journal)

    journal.stage("evaluate")
    evaluation, golden = _evaluate(bundle / MODEL, pictures.images, data, journal)

    journal.stage("publish")
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        create_time=datetime.now(UTC),
        labels=data.labels,
        preprocess=preprocess,
        calibration=calibration,
        evaluation=evaluation,
        parity=parity,
        history=history,
        dataset_report=report,
        lineage=Lineage(
            job=task.job,
            attempt=task.attempt,
            dataset=task.dataset,
            code_version=version("eyas"),
            seed=recipe.seed,
            backbone=recipe.backbone,
            weights_source=source,
            recipe=recipe.to_strings(),
            packages={package: version(package) for package in _PACKAGES},
            device=_device_name(),
            duration_seconds=round(time.monotonic() - start, 1),
        ),
        files={},
        model_bytes=0,
    )
    sheet = _contact_sheet(recipe, pictures.images, data) if recipe.epochs else ""
    write_bundle(bundle, task.model, manifest, golden, thumbnails(report, listing.files, pictures.images), sheet)
    return TrainingOutcome(dataset_report=report, evaluation=evaluation)


def _build(recipe: Recipe, form: InputFormat, labels: int, task: TrainingTask) -> tuple[Network, str]:
    """Returns the network on its device, and where its weights came from."""
    torch.manual_seed(recipe.seed)
    network = Network(recipe, form, labels)
    source = weights.load(network.backbone, recipe.backbone, task.weights, task.hub) if recipe.pretrained else ""
    return network.to(pick_device()), source


def _fit_head(
    network: Network,
    recipe: Recipe,
    images: NDArray[np.uint8],
    files: Sequence[File],
    data: Audit,
    folder: Path,
    key: str,
    journal: Journal,
) -> tuple[EpochMetrics, Suspects | None]:
    """Fits the head on the frozen backbone; returns its figures as those of epoch 0, and the labels that the features doubt."""
    rows = np.concatenate([data.rows[TRAIN], data.rows[VALIDATION]])
    seen = extract(network.body, images, rows, folder, key, journal)
    doubtful = suspects.examine(seen, rows, files, data, recipe.seed, journal.check)
    if doubtful and doubtful.pictures:
        first = doubtful.pictures[0]
        journal.message(
            f"{doubtful.count} of {doubtful.examined} pictures bear a label that looks wrong, such as {first.path!r}: "
            f"{first.label!r}, rather {first.suggested_label!r}."
        )
    features = torch.from_numpy(seen)
    targets = torch.from_numpy(data.class_indices[rows])
    count = len(data.rows[TRAIN])
    train, validation = Split(features[:count], targets[:count]), Split(features[count:], targets[count:])
    head = network.head.cpu()
    train_loss = fit_head(head, train, validation, recipe.loss, recipe.seed)
    with torch.inference_mode():
        logits = head.eval()(validation.features).numpy()
    network.head.to(pick_device())
    return measure(0, train_loss, logits, validation.targets.numpy(), recipe.loss), doubtful


def _export(
    servable: Servable, path: Path, images: NDArray[np.uint8], data: Audit, preprocess: Preprocess, journal: Journal
) -> Parity:
    """Writes the ONNX file, and proves it on pictures of the validation split, then of the training split."""
    px = preprocess.crop_px
    metadata = {"eyas.labels": document.dump(data.labels), "eyas.preprocess": document.dump(preprocess)}
    to_onnx(servable, torch.zeros(1, px, px, 3, dtype=torch.uint8), path, [PROBABILITIES, LOGITS], metadata)
    check_signature(path, px, len(data.labels))
    journal.advance(0.6)
    rows = np.concatenate([data.rows[VALIDATION], data.rows[TRAIN]])[:PARITY_EXAMPLES]
    return prove_parity(servable, path, images[rows])


def _evaluate(path: Path, images: NDArray[np.uint8], data: Audit, journal: Journal) -> tuple[Evaluation, Golden]:
    """Scores the file on the test split; a few of its pictures become the golden examples."""
    rows = data.rows[TEST]

    def batches() -> Iterator[NDArray[np.uint8]]:
        for start in range(0, len(rows), _BATCH):
            journal.advance(start / len(rows))
            yield images[rows[start : start + _BATCH]]

    probabilities = predict(open_session(path), batches())
    targets = data.class_indices[rows]
    # The first picture of each label, so that the golden examples are not all alike.
    chosen = np.unique(targets, return_index=True)[1][:_GOLDEN_EXAMPLES]
    return score(probabilities, targets, data.labels, leaked=data.leaked[rows]), Golden(images[rows[chosen]], probabilities[chosen])


def _contact_sheet(recipe: Recipe, images: NDArray[np.uint8], data: Audit) -> str:
    """Returns the data URI of a sheet with one training picture of each of the first labels."""
    rows = data.rows[TRAIN]
    chosen = np.unique(data.class_indices[rows], return_index=True)[1][:_SHEET_ROWS]
    return data_uri(contact_sheet(images[rows[chosen]], Augmentation.of(recipe), recipe.horizontal_flip, recipe.seed))


def _device_name() -> str:
    device = pick_device()
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"the CPU ({cpu_count()} threads)"
