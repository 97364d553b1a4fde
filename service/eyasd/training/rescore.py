"""Scores a version's own ONNX file on another dataset, without torch."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eyasd.core.bundle import MANIFEST, MODEL, Manifest, read_manifest, verified
from eyasd.core.errors import BadDataset
from eyasd.core.evaluation import Evaluation
from eyasd.core.findings import UnreadableFile
from eyasd.core.jobdir import BUNDLE
from eyasd.core.types import EvaluationTask
from eyasd.training.data.cache import read_picture
from eyasd.training.data.dataset import open_dataset
from eyasd.training.data.listing import TEST, File, Listing
from eyasd.training.data.targets import targets_of
from eyasd.training.journal import Journal
from eyasd.training.machine import cpu_count
from eyasd.training.outcome.evaluate import predict, score
from eyasd.training.outcome.session import open_session

_BATCH = 32


def rescore(task: EvaluationTask, folder: Path, journal: Journal) -> Evaluation:
    """Scores the version of JOB_DIR/bundle on every picture of a dataset, or on its test split where it has splits.

    Raises:
        BadDataset: it has labels that the model does not know, several a picture though the model knows one, no test split among
            its splits, or no readable picture.
        BrokenBundle: the version is damaged.
    """
    journal.stage("audit")
    bundle = folder / BUNDLE
    manifest = read_manifest((bundle / MANIFEST).read_bytes())
    verified(manifest, MODEL, (bundle / MODEL).read_bytes())
    listing = _scored(open_dataset(Path(task.dataset), folder, journal), manifest, task.model)
    for warning in listing.warnings:
        journal.message(warning)

    journal.stage("evaluate")
    readable: list[File] = []
    unreadable: list[UnreadableFile] = []

    def batches() -> Iterator[NDArray[np.uint8]]:
        """Yields the readable pictures, and notes what they show."""
        with ThreadPoolExecutor(cpu_count()) as pool:  # Pillow decodes without the interpreter's lock
            for start in range(0, len(listing.files), _BATCH):
                journal.advance(start / len(listing.files))
                chunk = listing.files[start : start + _BATCH]
                images = []
                for file, (entry, image) in zip(
                    chunk, pool.map(lambda f: read_picture(f, manifest.preprocess), chunk), strict=True
                ):
                    if image is None:
                        unreadable.append(UnreadableFile(file.name, entry.problem))
                    else:
                        images.append(image)
                        readable.append(file)
                if images:
                    yield np.stack(images)

    probabilities = predict(open_session(bundle / MODEL), batches())
    if not readable:
        raise BadDataset(
            f"None of the {len(listing.files)} files is a readable picture, such as {unreadable[0].path!r}: {unreadable[0].reason}"
        )
    # What a model of one label a picture is measured on is one label a picture; one of several takes one for a set of one.
    scored = Listing(tuple(readable), (), (), multi_label=manifest.thresholds is not None)
    targets = targets_of(scored, manifest.labels)
    return score(probabilities, targets, manifest.labels, tuple(unreadable), thresholds=manifest.thresholds)


def _scored(listing: Listing, manifest: Manifest, model: str) -> Listing:
    """Returns the files to score."""
    if listing.splits:
        if TEST not in listing.splits:
            raise BadDataset(
                f"The dataset has {' and '.join(listing.splits)} but no test split; name a dataset that has one, or none."
            )
        listing = listing.of_split(TEST)
    foreign = sorted(set(listing.labels) - set(manifest.labels))
    if foreign:
        raise BadDataset(
            f"The dataset has labels that {model} does not know: {', '.join(map(repr, foreign[:5]))}; "
            f"it knows {', '.join(map(repr, manifest.labels[:20]))}."
        )
    if manifest.thresholds is None and (file := next((file for file in listing.files if len(file.labels) != 1), None)):
        raise BadDataset(
            f"{file.name!r} has {len(file.labels)} labels, but {model} gives every picture one: "
            "name a dataset of one label a picture, or a model that was trained on several."
        )
    return listing
