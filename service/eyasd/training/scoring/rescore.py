"""Scores the very ONNX files of versions on a dataset, and compares them on its pictures, without torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from eyasd.core.answers import Split, identity
from eyasd.core.comparison import Comparison, Cost, Pairs
from eyasd.core.errors import BadDataset, BrokenBundle
from eyasd.core.evaluation import Evaluation
from eyasd.core.jobdir import BUNDLE, OTHERS
from eyasd.core.names import ModelRef
from eyasd.core.tasks import EvaluationOutcome, EvaluationTask
from eyasd.core.wording import counted
from eyasd.training.data.dataset import open_dataset
from eyasd.training.data.listing import TEST, Listing
from eyasd.training.data.targets import Targets, targets_of
from eyasd.training.journal import Journal
from eyasd.training.machine import cpu_name
from eyasd.training.outcome.evaluate import accepted_by, answers_of, score
from eyasd.training.outcome.figures import differences
from eyasd.training.outcome.latency import Latency, measure
from eyasd.training.scoring.asking import BATCH, Answered, Version, ask
from eyasd.training.scoring.compare import Sheet, changed_pictures, label_changes
from eyasd.training.scoring.stored import stored_split

_COMPARED: Final = ("accuracy", "log_loss", "macro_f1")


def rescore(task: EvaluationTask, folder: Path, journal: Journal) -> EvaluationOutcome:
    """Scores the version of JOB_DIR/bundle on a split that it was made with, a dataset's test split, or all of a dataset.

    Those of JOB_DIR/others are scored on the same pictures, and compared with it.

    Raises:
        BadDataset: it has labels that a version does not know, several a picture though they know one, no test split among
            its splits, or no readable picture; or nothing is left to compare.
        BrokenBundle: a version is damaged.
    """
    journal.stage("audit")
    versions = [Version.opened(task.model, folder / BUNDLE)]
    versions += [Version.opened(str(other), folder / OTHERS / str(number)) for number, other in enumerate(task.others, 1)]
    listing, missing = _listed(task, versions[0], folder, journal)
    _check(listing, versions)
    for warning in listing.warnings:
        journal.message(warning)

    journal.stage("evaluate")
    answered = ask(versions, listing.files, journal)
    test_split = _test_split(task, versions[0], answered)
    evaluation = _evaluation(answered, 0, versions[0], task.split)
    evaluation = replace(evaluation, missing_examples=missing, test_split=test_split)
    if not task.others:
        return EvaluationOutcome(evaluation=evaluation)
    for version in versions:
        if version.kept is None:
            journal.message(f"Which pictures {version.name} was trained on is not known, so none is left out for its sake.")
    latencies = measure([version.session for version in versions], answered.samples)
    comparisons = tuple(
        _comparison(task, other, answered, versions, place, (latencies[0], latencies[place]), test_split)
        for place, other in enumerate(task.others, 1)
    )
    return EvaluationOutcome(evaluation=evaluation, comparisons=comparisons)


def _listed(task: EvaluationTask, version: Version, folder: Path, journal: Journal) -> tuple[Listing, int]:
    """Returns the files to score, and how many pictures of a stored split the dataset lacks."""
    listing = open_dataset(task.dataset, folder, journal, task.sources)
    if task.split is not None:
        if version.kept is None:
            raise BrokenBundle(f"{version.name} did not note its splits: name a dataset alone.")
        return stored_split(listing, version.kept, task.split, version.name, journal)
    if not listing.splits:
        return listing, 0
    if TEST not in listing.splits:
        raise BadDataset(f"The dataset has {' and '.join(listing.splits)} but no test split; name a dataset that has one, or none.")
    return listing.of_split(TEST), 0


def _check(listing: Listing, versions: list[Version]) -> None:
    """Raises BadDataset where a version cannot be scored on the files."""
    for version in versions:
        foreign = sorted(set(listing.labels) - set(version.manifest.labels))
        if foreign:
            raise BadDataset(
                f"The dataset has labels that {version.name} does not know: {', '.join(map(repr, foreign[:5]))}; "
                f"it knows {', '.join(map(repr, version.manifest.labels[:20]))}."
            )
    first = versions[0]
    if first.manifest.thresholds is None and (file := next((file for file in listing.files if len(file.labels) != 1), None)):
        raise BadDataset(
            f"{file.name!r} has {len(file.labels)} labels, but {first.name} gives every picture one: "
            "name a dataset of one label a picture, or a model that was trained on several."
        )


def _evaluation(answered: Answered, place: int, version: Version, split: Split | None) -> Evaluation:
    manifest = version.manifest
    probabilities, scores = answered.probabilities[place], answered.ood_scores[place]
    return score(
        probabilities,
        _targets(answered, version),
        manifest.labels,
        answered.unreadable,
        # Who asks for the training split knows that it was trained on.
        leaked=None if split in (Split.TRAIN, Split.VALIDATION) else version.made_with(answered.prints),
        thresholds=manifest.thresholds,
        accepted=accepted_by(manifest.unknown, probabilities, scores) if manifest.unknown else None,
    )


def _test_split(task: EvaluationTask, version: Version, answered: Answered) -> str:
    """Returns the digest of the test split that was looked at: of a stored one with the pictures that were not found."""
    match task.split:
        case None:
            return identity(answered.prints)
        case Split.TEST if version.kept is not None:
            return identity(version.kept.picture)
    return ""


def _targets(answered: Answered, version: Version) -> Targets:
    # What a model of one label a picture is measured on is one label a picture; one of several takes one for a set of one.
    shown = Listing(answered.files, (), (), multi_label=version.manifest.thresholds is not None)
    return targets_of(shown, version.manifest.labels)


def _comparison(
    task: EvaluationTask,
    other: ModelRef,
    answered: Answered,
    versions: list[Version],
    place: int,
    latencies: tuple[Latency, Latency],
    test_split: str,
) -> Comparison:
    """Returns how the version at a place did beside the first, on the pictures that neither alone was made with."""
    compared = (versions[0], versions[place])
    one_sided = np.logical_xor(*(version.made_with(answered.prints) for version in compared))
    if one_sided.all():
        raise BadDataset(
            f"Each of {counted(len(one_sided), 'picture')} was trained on by one of {compared[0].name} and {compared[1].name} "
            "alone, so nothing can be compared: name a dataset that neither has seen."
        )
    fair = answered.of(~one_sided)
    first, second = (
        Sheet(version.manifest.labels, answers_of(fair.probabilities[at], _targets(fair, version), version.manifest.thresholds))
        for at, version in zip((0, place), compared, strict=True)
    )
    count, changed = changed_pictures(first, second, fair.files)
    own, its = (
        Cost(version.manifest.model_bytes, latency.single, latency.batch)
        for version, latency in zip(compared, latencies, strict=True)
    )
    return Comparison(
        version=other,
        evaluation=replace(_evaluation(fair, place, versions[place], task.split), test_split=test_split),
        pairs=Pairs.of(first.answers.right, second.answers.right),
        differences=differences(first.answers, second.answers, _COMPARED),
        labels=label_changes(first, second),
        changed_count=count,
        changed=changed,
        costs=(own, its),
        device=cpu_name(),
        batch_size=min(BATCH, len(answered.samples[0])),
        left_out_count=int(one_sided.sum()),
    )
