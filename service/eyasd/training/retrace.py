"""Goes the way of an earlier training up to its split, so that it can be told whether it would be the same way now."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from eyasd.core.answers import ANSWERS, KeptAnswers
from eyasd.core.bundle import MANIFEST, Lineage, Manifest, read_manifest
from eyasd.core.jobdir import BASE, CAPTURED
from eyasd.core.preprocess import Preprocess
from eyasd.core.tasks import InspectionOutcome, InspectionTask
from eyasd.training.conditions import conditions
from eyasd.training.data.audit import audit
from eyasd.training.data.cache import decode
from eyasd.training.data.captured import Held, with_captured
from eyasd.training.data.dataset import discard, open_dataset
from eyasd.training.data.listing import TEST, VALIDATION
from eyasd.training.head import weights
from eyasd.training.journal import Journal
from eyasd.training.network import input_format


def retrace(task: InspectionTask, folder: Path, journal: Journal) -> InspectionOutcome:
    """Reads and splits a dataset as the training of the version in JOB_DIR/base did it; no network is built.

    The pictures are decoded, or found in the shared cache: near copies decide the split, and are known by their pixels.

    Raises:
        EyasError: the dataset cannot be trained on any more; the message says why.
        BrokenBundle: the version's manifest is damaged.
    """
    manifest = read_manifest((folder / BASE / MANIFEST).read_bytes())
    lineage = manifest.lineage
    listing = open_dataset(task.dataset, folder, journal, task.sources)
    held = _held(lineage, folder)
    listing = with_captured(listing, folder / CAPTURED) if held else listing
    journal.stage("decode")
    pictures = decode(listing.files, _preprocess(manifest), folder, task.cache, journal)
    discard(folder, task.sources)
    fractions = {VALIDATION: float(lineage.recipe["validation_fraction"]), TEST: float(lineage.recipe["test_fraction"])}
    data = audit(listing, pictures, fractions, lineage.seed, journal.check, held=held)
    return InspectionOutcome(dataset_report=data.report, conditions=conditions(_weights_source(lineage, task)))


def _held(lineage: Lineage, folder: Path) -> Held | None:
    """Returns what held the split of a training that added captured pictures; None of another."""
    if lineage.spec is None or lineage.spec.add_captured is None:
        return None
    answers = KeptAnswers.from_bytes((folder / CAPTURED / ANSWERS).read_bytes())
    return Held(str(lineage.base_version), answers, whole=False, fraction=float(lineage.recipe["captured_test_fraction"]))


def _preprocess(manifest: Manifest) -> Preprocess:
    """Returns how the pictures looked that were split: of several backbones, to the quickest."""
    ranking, had = manifest.lineage.ranking, manifest.preprocess
    if not ranking:
        return had
    first = input_format(ranking[0].backbone).preprocess(ranking[0].image_size_px)
    return replace(first, oversampling=had.oversampling, resize=had.resize)  # which new trainings may have otherwise


def _weights_source(lineage: Lineage, task: InspectionTask) -> str | None:
    """Returns where the weights would come from now; see `Conditions`."""
    if lineage.base_version is not None:
        return None
    return weights.source(lineage.backbone, task.weights, task.hub) if lineage.weights_source else ""
