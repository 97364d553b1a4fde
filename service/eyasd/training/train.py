"""How a model is born, in order: audit, weights, decode, head, choices, fine-tuning, calibration, export, proof, test, bundle."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from eyasd.core import document
from eyasd.core.answers import ANSWERS, identity
from eyasd.core.bundle import EXPLAIN, FORMAT_VERSION, MODEL, WEIGHTS, Golden, Lineage, Manifest, Parity
from eyasd.core.evaluation import Evaluation
from eyasd.core.jobdir import BUNDLE, CAPTURED
from eyasd.core.processors import cpu_count
from eyasd.core.reference import Reference
from eyasd.core.tasks import TrainingOutcome, TrainingTask
from eyasd.core.unknown import ConfidenceRule, DistributionRule, UnknownRules
from eyasd.training import durable
from eyasd.training.budget import Budget
from eyasd.training.choice.ranking import candidates, rank
from eyasd.training.choice.search import search
from eyasd.training.conditions import conditions
from eyasd.training.data.audit import Audit
from eyasd.training.data.captured import with_captured
from eyasd.training.data.dataset import discard, open_dataset
from eyasd.training.data.listing import TEST, TRAIN, VALIDATION, Listing, check_labels
from eyasd.training.data.thumbnails import data_uri
from eyasd.training.gate import pass_gate
from eyasd.training.head import warm
from eyasd.training.head.start import Start
from eyasd.training.journal import Journal
from eyasd.training.machine import cpu_name
from eyasd.training.network import Servable
from eyasd.training.outcome.activation import activation_overlays, head_weights, map_sizes
from eyasd.training.outcome.bundling import write_bundle
from eyasd.training.outcome.calibrate import fit_temperature
from eyasd.training.outcome.confidence import decide
from eyasd.training.outcome.evaluate import accepted_by, answers_of, predict, score
from eyasd.training.outcome.export import PARITY_EXAMPLES, check_signature, prove_parity, to_onnx
from eyasd.training.outcome.figures import Answers
from eyasd.training.outcome.kept import keep
from eyasd.training.outcome.latency import of_one
from eyasd.training.outcome.ood import fit
from eyasd.training.outcome.reference import measure_reference
from eyasd.training.outcome.report.material import gather
from eyasd.training.outcome.session import open_session
from eyasd.training.outcome.variants import make_variants
from eyasd.training.ranks import Ranks
from eyasd.training.recipe import Recipe
from eyasd.training.together import fine_tune
from eyasd.training.tuning.augment import Augmentation
from eyasd.training.tuning.sheet import contact_sheet
from eyasd.training.tuning.validate import logits_of

_BATCH: Final = 32
_GOLDEN_EXAMPLES: Final = 8
_SHEET_ROWS: Final = 6
_FINALISTS: Final = 2  # backbones among which the trials of `best` decide


def train(task: TrainingTask, folder: Path, journal: Journal, ranks: Ranks) -> TrainingOutcome:
    """Trains a model and leaves its bundle in JOB_DIR.

    Args:
        task: what to do.
        folder: JOB_DIR; what an earlier attempt left there is used again.
        journal: hears of the progress.
        ranks: the processes that fine-tune together; this is the first.

    Raises:
        EyasError: the dataset, the request or the machine does not allow it; the message says what to do.
    """
    begun = time.monotonic()
    budget = Budget(task.deadline, task.spec.variants)
    wanted = task.spec
    if wanted.asked:
        wishes = ", ".join(f"{name} to {'+'.join(v) if isinstance(v, tuple) else v}" for name, v in wanted.asked.items())
        journal.message(f"You set {wishes}; all else is decided for you, and report.html shows it.")
    task, base = warm.take_up(task, folder)
    spec = task.spec
    torch.set_num_threads(cpu_count())

    listing = _listed(task, folder, journal)
    names, finalists = candidates(spec.backbone, task.weights), _FINALISTS if spec.searches else 1
    starts, ranked = rank(task, names, finalists, listing, folder, budget, journal, base)
    discard(folder, task.sources)  # from here on the caches are all that is read
    start, trials = search(spec, starts, folder, budget, journal) if spec.searches else (starts[0], ())
    recipe, network, images, data = start.recipe, start.network, start.images, start.data

    if recipe.samples:
        journal.stage("fine-tune")
    history, logits = fine_tune(start, budget, folder, journal, ranks) if recipe.samples else ((start.head,), start.logits)

    journal.stage("export")
    journal.part("calibrate")
    sample = start.sample.seen_by(network, images, journal)
    network.cpu()
    targets = data.targets[data.rows[VALIDATION]]
    if logits is None:
        logits = logits_of(network, images, data.rows[VALIDATION], journal)
    calibration = fit_temperature(logits, targets, recipe.loss)
    thresholds, confidence = decide(logits, calibration.temperature, targets, recipe.loss, data.labels, spec.min_precision, journal)
    ood_score, distribution = fit(sample, data, network.head, calibration.temperature)
    feature_map = map_sizes(network, recipe.image_size_px)
    servable = Servable(network, recipe.loss, calibration.temperature, feature_map, ood_score).eval()
    bundle = _emptied(folder / BUNDLE)
    durable.write(bundle / WEIGHTS, warm.dump(network, start.seen))
    if feature_map:
        durable.write(bundle / EXPLAIN, head_weights(network).to_bytes())
    metadata = {"eyas.labels": document.dump(data.labels), "eyas.preprocess": document.dump(start.preprocess)}
    metadata |= {"eyas.thresholds": document.dump(thresholds)} if thresholds else {}
    journal.part("write")
    parity = _export(servable, bundle / MODEL, images, data, metadata, journal)

    journal.stage("evaluate")
    evaluation, golden, answers, rules, reference = _evaluate(bundle / MODEL, start, thresholds, distribution, confidence, journal)
    gate = pass_gate(start, base, listing.files, bundle, thresholds, folder, journal) if base and spec.add_captured else None
    variants, golden = make_variants(
        spec.variants, bundle, images, data, thresholds, golden, recipe.seed, budget, journal, distribution.threshold
    )

    journal.stage("publish")
    found = conditions(start.source)
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        create_time=datetime.now(UTC),
        labels=data.labels,
        thresholds=thresholds,
        feature_map=feature_map,
        preprocess=start.preprocess,
        calibration=calibration,
        evaluation=evaluation,
        variants=variants,
        parity=parity,
        history=history,
        dataset_report=data.report,
        lineage=Lineage(
            job=task.job,
            attempt=task.attempt,
            dataset=task.dataset,
            code_version=found.code_version,
            seed=recipe.seed,
            backbone=recipe.backbone,
            weights_source=start.source,
            recipe=recipe.to_strings(),
            packages=found.packages,
            device=found.device,
            duration_seconds=round(time.monotonic() - begun, 1),
            base_version=task.base_version,
            ranking=ranked,
            trials=trials,
            asked=tuple(wanted.asked),
            spec=wanted,
        ),
        files={},
        model_bytes=0,
        latency=of_one(open_session(bundle / MODEL), images[data.rows[TEST][0]]),
        latency_device=cpu_name(),
        unknown=rules,
        reference=reference,
        gate=gate,
    )
    sheet, overlays = _contact_sheet(recipe, images, data), partial(activation_overlays, bundle / MODEL)
    material = gather(manifest, listing.files, images, data.rows[TEST], answers, sheet, overlays)
    write_bundle(bundle, task.model, manifest, golden, material)
    return TrainingOutcome(dataset_report=data.report, evaluation=evaluation, gate=gate)


def _listed(task: TrainingTask, folder: Path, journal: Journal) -> Listing:
    """Returns the files of the dataset, and the captured ones that are added to it."""
    listing = open_dataset(task.dataset, folder, journal, task.sources)
    check_labels(listing)
    return with_captured(listing, folder / CAPTURED) if task.spec.add_captured else listing


def _emptied(folder: Path) -> Path:
    """Returns the folder without what an earlier attempt left in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def _export(
    servable: Servable, path: Path, images: NDArray[np.uint8], data: Audit, metadata: Mapping[str, str], journal: Journal
) -> Parity:
    """Writes the ONNX file, and proves it on pictures of the validation split, then of the training split."""
    px = images.shape[1]
    to_onnx(servable, torch.zeros(1, px, px, 3, dtype=torch.uint8), path, list(servable.outputs), metadata)
    check_signature(path, px, servable.outputs)
    journal.advance(0.6)
    journal.part("prove")
    rows = np.concatenate([data.rows[VALIDATION], data.rows[TRAIN]])[:PARITY_EXAMPLES]
    return prove_parity(servable, path, images[rows])


def _evaluate(
    path: Path,
    start: Start,
    thresholds: tuple[float, ...] | None,
    distribution: DistributionRule,
    confidence: ConfidenceRule | None,
    journal: Journal,
) -> tuple[Evaluation, Golden, Answers, UnknownRules, Reference]:
    """Scores the file on the test split and keeps its answers; a few of the pictures become the golden examples.

    The rules by which pictures are unknown learn which share of the test pictures they refuse. Drift is seen against the reference.
    """
    images, data = start.images, start.data
    rows = data.rows[TEST]

    def batches() -> Iterator[NDArray[np.uint8]]:
        for first in range(0, len(rows), _BATCH):
            journal.advance(first / len(rows))
            yield images[rows[first : first + _BATCH]]

    probabilities, ood_scores = predict(open_session(path), batches())
    targets = data.targets[rows]
    # The first picture of each label, or set of labels, so that the golden examples are not all alike.
    chosen = np.unique(targets, axis=0, return_index=True)[1][:_GOLDEN_EXAMPLES]
    like = accepted_by(UnknownRules(distribution), probabilities, ood_scores)
    rules = UnknownRules(replace(distribution, refused=1 - float(like.mean())), confidence)
    accepted = accepted_by(rules, probabilities, ood_scores)
    scored = score(probabilities, targets, data.labels, leaked=data.leaked[rows], thresholds=thresholds, accepted=accepted)
    scored = replace(scored, test_split=identity(start.prints[rows]))
    answers = answers_of(probabilities, targets, thresholds)
    durable.write(path.parent / ANSWERS, keep(answers, data.rows, start.prints, start.seen).to_bytes())
    reference = measure_reference(path, (probabilities, ood_scores), images, data, start.shorter_px, rules, journal)
    return scored, Golden(images[rows[chosen]], probabilities[chosen]), answers, rules, reference


def _contact_sheet(recipe: Recipe, images: NDArray[np.uint8], data: Audit) -> str:
    """Returns the data URI of a sheet with one training picture of each of the first labels; "" where none was changed."""
    if not recipe.samples:
        return ""
    rows = data.rows[TRAIN]
    chosen = np.unique(data.targets[rows], axis=0, return_index=True)[1][:_SHEET_ROWS]
    return data_uri(contact_sheet(images[rows[chosen]], Augmentation.of(recipe), recipe.horizontal_flip, recipe.seed))
