"""Looks at a dataset without training on it: what the audit of a training says, and the labels that look wrong in every split."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import torch

from eyasd.core.processors import cpu_count
from eyasd.core.spec import Preset, TrainSpec
from eyasd.core.tasks import InspectionOutcome, InspectionTask
from eyasd.training.data.audit import audit
from eyasd.training.data.cache import decode
from eyasd.training.data.dataset import discard, open_dataset
from eyasd.training.data.listing import SPLITS, TEST, VALIDATION
from eyasd.training.head.features import extract
from eyasd.training.head.start import build, key_of
from eyasd.training.head.suspects import examine
from eyasd.training.journal import Journal
from eyasd.training.network import input_format
from eyasd.training.recipe import DEFAULT_BACKBONE, DEFAULT_FRACTION, resolve

_FRACTIONS: Final = {VALIDATION: DEFAULT_FRACTION, TEST: DEFAULT_FRACTION}


def inspect(task: InspectionTask, folder: Path, journal: Journal) -> InspectionOutcome:
    """Inspects a dataset; one that a training would refuse is inspected as far as it goes, and the report says why.

    Args:
        task: what to do.
        folder: JOB_DIR; what an earlier attempt left there is used again.
        journal: hears of the progress.

    Raises:
        EyasError: there is no dataset, or no network to judge it; the message says what to do.
    """
    torch.set_num_threads(cpu_count())
    listing = open_dataset(task.dataset, folder, journal, task.sources)
    form = input_format(task.spec.backbone or DEFAULT_BACKBONE)
    recipe = resolve(
        TrainSpec(preset=Preset.FAST, backbone=task.spec.backbone, seed=task.spec.seed), len(listing.files), form.native_px
    )

    journal.stage("weights")
    network, source = build(recipe, form, len(listing.labels), task)

    journal.stage("decode")
    preprocess = form.preprocess(recipe.image_size_px)
    pictures = decode(listing.files, preprocess, folder, task.cache, journal)
    discard(folder, task.sources)  # from here on the cache is all that is read
    data = audit(listing, pictures, _FRACTIONS, recipe.seed, journal.check, strict=False)

    journal.stage("features")
    rows = np.sort(np.concatenate([data.rows[split] for split in SPLITS]))
    key = key_of(preprocess, pictures, listing, data, source, recipe)
    features = extract(network.body, pictures.images, rows, folder, key, journal)

    journal.stage("suspects")
    found = examine(features, rows, listing.files, data, recipe.seed, journal.check)
    return InspectionOutcome(dataset_report=replace(data.report, suspects=found))
