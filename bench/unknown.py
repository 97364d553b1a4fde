"""How well scores tell pictures of labels that a training never saw: `python bench/unknown.py FOLDER --without hat,shoes`.

FOLDER has the splits train, validation and test, one folder a label in each. For each `--without`, which may be repeated, the
network is trained on the other labels alone: a head on the frozen backbone, and with `--seconds` a fine-tuning of that length from
there. Then every score judges the test pictures of the known labels and all pictures of the labels left out. Of each it prints

    AUROC    the chance that of a picture of a label left out and a known one the former has the larger score
    refused  the share of the pictures of the labels left out whose score exceeds that of 99 % of the known validation pictures

and of each `min_precision` which share of the known test pictures gets an answer, and how many of these are right.

Scores are of the logits, or of the features before the head, as unit vectors:
(1) Lee et al., 2018, with a shrunk shared covariance; (2) Ren et al., 2021; (3) Sun et al., 2022; (4) after Wang et al., 2022;
(5) Liu et al., 2020.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import machine
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from eyasd.core.errors import EyasError
from eyasd.core.findings import DatasetReport
from eyasd.core.processors import cpu_count
from eyasd.core.spec import Loss, TrainSpec
from eyasd.core.tasks import SharedCache, TrainingTask
from eyasd.training.budget import Budget
from eyasd.training.data.audit import Audit
from eyasd.training.data.cache import decode
from eyasd.training.data.listing import TEST, TRAIN, VALIDATION, Listing, list_files
from eyasd.training.head.features import extract
from eyasd.training.head.probe import Split, fit_head
from eyasd.training.head.start import build, prepare
from eyasd.training.journal import FINE_TUNE_SHARES, Journal
from eyasd.training.machine import restart_tuned
from eyasd.training.network import build_head, device_name, input_format
from eyasd.training.outcome import ood
from eyasd.training.outcome.calibrate import fit_temperature
from eyasd.training.outcome.confidence import confident_thresholds
from eyasd.training.outcome.ood import threshold
from eyasd.training.ranks import ALONE
from eyasd.training.recipe import DEFAULT_BACKBONE, resolve
from eyasd.training.together import fine_tune

Floats = NDArray[np.float64]
AXES, BANK = 64, 1000
PRECISIONS = (0.9, 0.95, 0.98, 0.99)


@dataclass(frozen=True)
class Seen:
    """What a network sees in some pictures: features [N, F], logits [N, C], and the class index of each, -1 where left out."""

    features: Floats
    logits: Floats
    targets: NDArray[np.int64]


Score = Callable[[Seen], Floats]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--without", action="append", required=True, help="labels, separated by commas; may be repeated")
    parser.add_argument("--seconds", type=float, default=0, help="of fine-tuning; 0 judges the frozen backbone alone")
    parser.add_argument("--backbone", default=DEFAULT_BACKBONE)
    parser.add_argument("--keep", type=Path, help="folder in which pictures and what the networks see in them are kept")
    options = parser.parse_args()
    restart_tuned()
    torch.set_num_threads(cpu_count())
    print(f"{machine.describe()}, torch {torch.__version__} on {device_name()}, {options.seconds:g} s of fine-tuning", flush=True)
    found: dict[str, list[tuple[float, float]]] = {}
    accepted: dict[float, list[tuple[float, ...]]] = {}
    with machine.scratch() as scratch:
        try:
            bench = Bench(list_files(options.folder.resolve()), options.backbone, Path(scratch), options.keep or Path(scratch))
            for without in options.without:
                splits = bench.look(without.split(","), options.seconds)
                for name, score in scores(splits).items():
                    found.setdefault(name, []).append(judge(score, splits))
                for precision in PRECISIONS:
                    accepted.setdefault(precision, []).append(relied_on(splits, precision))
        except (EyasError, OSError) as error:
            sys.exit(str(error))
    print("\n| score | " + " | ".join(f"without {without}" for without in options.without) + " | mean |")
    print("|---" * (len(options.without) + 2) + "|")
    for name, rows in found.items():
        cells = [*rows, tuple(np.mean(rows, 0))]
        print(f"| {name} | " + " | ".join(f"{auroc:.3f}, {refused:.0%}" for auroc, refused in cells) + " |")
    print("\n| min_precision | coverage | precision | coverage, by point estimates | precision, by them |\n|---|---|---|---|---|")
    for precision, rows in accepted.items():
        print(f"| {precision:g} | " + " | ".join(f"{value:.3f}" for value in np.mean(rows, 0)) + " |")


class Bench:
    """The pictures of a dataset, and the networks that are trained without some of its labels."""

    def __init__(self, listing: Listing, backbone: str, scratch: Path, kept: Path) -> None:
        self._listing, self._scratch, self._kept = listing, scratch, kept
        self._journal = Journal(scratch / "progress.jsonl", FINE_TUNE_SHARES)
        cache = SharedCache(str(kept / "pictures"), 2**32)
        self._task = TrainingTask(job="", attempt=1, model="", dataset="", spec=TrainSpec(backbone=backbone), cache=cache)
        form = input_format(backbone)
        self._recipe = resolve(self._task.spec, len(listing.files), form.native_px)
        self._network, _ = build(self._recipe, form, len(listing.labels), self._task)
        pictures = decode(listing.files, form.preprocess(form.native_px), scratch, cache, self._journal)
        self._rows = np.array([row for row, entry in enumerate(pictures.entries) if not entry.problem])
        self._images = pictures.images

    def look(self, without: Sequence[str], seconds: float) -> dict[str, Seen]:
        """Trains without some labels; returns what the network sees in train, validation, and test with all that was left out."""
        if missing := set(without) - set(self._listing.labels):
            sys.exit(f"There is no label {', '.join(sorted(missing))}: the labels are {', '.join(self._listing.labels)}.")
        files = [self._listing.files[row] for row in self._rows]
        labels = [label for label in self._listing.labels if label not in without]
        targets = np.array([-1 if file.label in without else labels.index(file.label) for file in files])
        places = np.array([TEST if target < 0 else file.split for file, target in zip(files, targets, strict=True)])
        split = {name: places == name for name in (TRAIN, VALIDATION, TEST)}
        kept = self._kept / f"{'_'.join(without)} {seconds:g}.npz"
        if not kept.exists():
            features, head = self._tuned(without, seconds) if seconds else self._frozen(targets, split)
            with torch.inference_mode():
                logits = head.cpu().eval()(torch.from_numpy(features)).numpy()
            temperature = fit_temperature(logits[split[VALIDATION]], targets[split[VALIDATION]], self._recipe.loss).temperature
            np.savez(kept, features=features, logits=logits / temperature)
        with np.load(kept) as arrays:
            features, logits = (arrays[name].astype(np.float64) for name in ("features", "logits"))
        return {name: Seen(features[rows], logits[rows], targets[rows]) for name, rows in split.items()}

    def _frozen(self, targets: NDArray[np.int64], split: Mapping[str, NDArray[np.bool_]]) -> tuple[NDArray[np.float32], nn.Module]:
        features = self._features(self._network.body, self._kept)
        head = build_head(features.shape[1], 0, 0.0, int(targets.max()) + 1)
        sides = [(features[split[name]], targets[split[name]]) for name in (TRAIN, VALIDATION)]
        train, validation = (Split(torch.from_numpy(seen), torch.from_numpy(true)) for seen, true in sides)
        fit_head(head, train, validation, self._recipe.loss, self._recipe.seed)
        return features, head

    def _tuned(self, without: Sequence[str], seconds: float) -> tuple[NDArray[np.float32], nn.Module]:
        known = replace(self._listing, files=tuple(file for file in self._listing.files if file.label not in without))
        folder = Path(tempfile.mkdtemp(dir=self._scratch))
        start = prepare(self._task, self._recipe.backbone, known, folder, self._journal)
        self._journal.stage("fine-tune")
        fine_tune(start, Budget(datetime.now(UTC) + timedelta(seconds=seconds)), folder, self._journal, ALONE)
        return self._features(start.network.body, Path(tempfile.mkdtemp(dir=self._scratch))), start.network.head

    def _features(self, body: nn.Module, folder: Path) -> NDArray[np.float32]:
        return extract(body, self._images, self._rows, folder, "", self._journal)


def judge(score: Score, splits: Mapping[str, Seen]) -> tuple[float, float]:
    """Returns the area under the ROC curve, and the share of the pictures left out that the threshold refuses."""
    validation, test = (score(splits[split]) for split in (VALIDATION, TEST))
    left_out = splits[TEST].targets < 0
    ranks = np.searchsorted(np.sort(test[~left_out]), test[left_out])
    return float(ranks.mean() / (~left_out).sum()), float((test[left_out] > threshold(validation.astype(np.float32))[0]).mean())


def relied_on(splits: Mapping[str, Seen], precision: float) -> tuple[float, ...]:
    """Returns coverage and precision of the known test pictures' answers from the thresholds on, and by mere point estimates."""
    validation, known = splits[VALIDATION], splits[TEST].targets >= 0
    logits, targets = splits[TEST].logits[known], splits[TEST].targets[known]
    chosen = confident_thresholds(validation.logits.astype(np.float32), 1.0, validation.targets, Loss.CROSS_ENTROPY, precision)
    said, sure = validation.logits.argmax(1), np.exp(validation.logits.max(1) - logsumexp(validation.logits))
    points = []
    for label in range(logits.shape[1]):
        order = np.argsort(-sure[said == label])
        right = (validation.targets == said)[said == label][order]
        reaching = np.flatnonzero(np.cumsum(right) / np.arange(1, len(right) + 1) >= precision)
        points.append(sure[said == label][order][reaching[-1]] if len(reaching) else np.inf)
    found: list[float] = []
    for thresholds in (chosen, points):
        kept = np.exp(logits.max(1) - logsumexp(logits)) >= np.array(thresholds)[logits.argmax(1)]
        found += [kept.mean(), (logits.argmax(1) == targets)[kept].mean() if kept.any() else np.nan]
    return tuple(found)


def scores(splits: Mapping[str, Seen]) -> dict[str, Score]:
    """Returns every score, larger = less like the training pictures."""
    train = splits[TRAIN]
    mean, axes = principal_axes(unit(train.features), AXES)
    of_features: dict[str, Score] = {
        "Mahalanobis distance to the nearest label (1)": mahalanobis(train, relative=False),
        "the same, relative to that of all labels (2)": mahalanobis(train, relative=True),
        f"cosine to the nearest of {BANK} training pictures (3)": neighbours(train),
        f"distance from the first {AXES} principal axes (4)": lambda seen: off_axes(unit(seen.features) - mean, axes),
        "cosine to the nearest label mean": label_means(train),
    }
    energy: Score = lambda seen: -logsumexp(seen.logits)  # noqa: E731 -- one of a list of such
    return {
        "1 - largest probability": lambda seen: -np.exp(seen.logits.max(1) - logsumexp(seen.logits)),
        "- largest logit": lambda seen: -seen.logits.max(1),
        "energy of the logits (5)": energy,
        **of_features,
        **{f"{name}, and energy": together(score, energy, splits[VALIDATION]) for name, score in of_features.items()},
        "what a version computes": as_served(splits),
    }


def together(one: Score, other: Score, known: Seen) -> Score:
    """Returns the sum of two scores, each in units of its spread over known pictures."""
    a, b = one(known), other(known)
    return lambda seen: (one(seen) - a.mean()) / a.std() + (other(seen) - b.mean()) / b.std()


def as_served(splits: Mapping[str, Seen]) -> Score:
    """Returns the score of `outcome.ood`, of the sample of pictures that a training takes."""
    train, validation = splits[TRAIN], splits[VALIDATION]
    targets = np.concatenate([train.targets, validation.targets])
    rows, count = np.arange(len(targets)), len(train.targets)
    places = {TRAIN: rows[:count], VALIDATION: rows[count:]}
    none, labels = np.zeros(len(rows), np.bool_), tuple(map(str, np.unique(targets)))
    data = Audit(labels, places, targets, rows, none, DatasetReport((), (), (), ""))
    features = np.concatenate([train.features, validation.features]).astype(np.float32)
    chosen = ood.sample(data, places[TRAIN], rows, features, 0)
    known = torch.from_numpy(validation.logits[chosen.validation - count].astype(np.float32))
    score, _ = ood.fit(chosen, data, lambda _: known, 1.0)  # type: ignore[arg-type] # the head's answers are there already

    def served(seen: Seen) -> Floats:
        with torch.inference_mode():
            found = score(*(torch.from_numpy(values.astype(np.float32)) for values in (seen.features, seen.logits)))
        return found.numpy().astype(np.float64)

    return served


def logsumexp(logits: Floats) -> Floats:
    top = logits.max(1)
    return top + np.log(np.exp(logits - top[:, None]).sum(1))


def unit(features: Floats) -> Floats:
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def principal_axes(features: Floats, kept: int) -> tuple[Floats, Floats]:
    """Returns the mean [F] and the first principal axes [F, kept]."""
    mean = features.mean(0)
    return mean, np.linalg.eigh(np.cov(features - mean, rowvar=False))[1][:, ::-1][:, :kept]


def off_axes(centred: Floats, axes: Floats) -> Floats:
    return np.linalg.norm(centred - centred @ axes @ axes.T, axis=1)


def whitening(deviations: Floats) -> Floats:
    """Returns W [F, F] with W W^T the inverse of the covariance, shrunk towards a multiple of the identity (Ledoit, Wolf, 2004)."""
    n, size = deviations.shape
    covariance = deviations.T @ deviations / n
    scale = np.trace(covariance) / size
    spread = np.square(covariance - scale * np.eye(size)).sum() / size
    noise = (np.square(np.square(deviations).sum(1)).mean() - np.square(covariance).sum()) / n / size
    share = min(noise / spread, 1)
    values, vectors = np.linalg.eigh((1 - share) * covariance + share * scale * np.eye(size))
    return vectors / np.sqrt(values)


def means_of(train: Seen, features: Floats) -> Floats:
    return np.stack([features[train.targets == label].mean(0) for label in np.unique(train.targets)])


def mahalanobis(train: Seen, *, relative: bool) -> Score:
    features = unit(train.features)
    means, centre = means_of(train, features), features.mean(0)
    whiten, whole = whitening(features - means[train.targets]), whitening(features - centre)

    def score(seen: Seen) -> Floats:
        turned, centres = unit(seen.features) @ whiten, means @ whiten
        distances = (np.square(turned).sum(1)[:, None] - 2 * turned @ centres.T + np.square(centres).sum(1)).min(1)
        return distances - np.square((unit(seen.features) - centre) @ whole).sum(1) if relative else distances

    return score


def neighbours(train: Seen) -> Score:
    bank = unit(train.features[np.random.default_rng(0).permutation(len(train.features))[:BANK]])
    return lambda seen: -(unit(seen.features) @ bank.T).max(1)


def label_means(train: Seen) -> Score:
    means = unit(means_of(train, unit(train.features)))
    return lambda seen: -(unit(seen.features) @ means.T).max(1)


if __name__ == "__main__":
    main()
