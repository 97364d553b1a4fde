"""What retraining on captured pictures gains: `python bench/circle.py FOLDER --work DIR`.

FOLDER has the splits train, validation and test, one folder a label in each. A base version is trained on three fifths of train.
The rest of train is traffic that has shifted: darker, with a camera's noise, or out of focus. Of it the pictures that the base is
least sure of, those of the smallest margin between its two best labels, are captured and labelled, and the base is trained again
with them, as `eyas train --from clothing@production --add captured` does, once for each `--weight`. Then both are asked about the
test split as it is, and about the test split shifted in the same way, of which neither has seen anything. Prints the accuracies
with their 95 % intervals, those of the differences, and what the regression gate says.

What is done already lies in DIR and is not done again, so a run that was cut short goes on: the training at its checkpoint.
`--only base` or `--only dark` does a part.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path

import machine
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from eyasd.core import document, jobdir
from eyasd.core.bundle import MANIFEST, read_manifest
from eyasd.core.comparison import Pairs
from eyasd.core.frozen import LABELLED, FrozenList, FrozenPicture
from eyasd.core.names import ModelRef
from eyasd.core.spec import TrainSpec
from eyasd.core.tasks import SharedCache, TrainingTask
from eyasd.training.data.listing import File
from eyasd.training.journal import FINE_TUNE_SHARES, Journal
from eyasd.training.outcome.evaluate import wilson_interval
from eyasd.training.scoring.asking import Version, ask

LARGEST_PX = 400  # of what is made here, which the network sees at less
BASE = ModelRef("clothing", version=1)


def dark(picture: Image.Image, seed: int) -> Image.Image:
    """A fifth of the light, and noise of a standard deviation of 6 grey levels."""
    noise = np.random.default_rng(seed).normal(0, 6, (picture.height, picture.width, 3))
    return Image.fromarray((np.asarray(picture) * 0.2 + noise).clip(0, 255).astype(np.uint8))


def blur(picture: Image.Image, _: int) -> Image.Image:
    """Out of focus by a radius of a fortieth of the shorter side."""
    return picture.filter(ImageFilter.GaussianBlur(min(picture.size) / 40))


SHIFTS = {"dark": dark, "blur": blur}


@dataclass(frozen=True)
class Place:
    """Where everything lies.

    Attributes:
        data: the dataset.
        work: what is made of it.
        share: of the train split on which the base is trained.
    """

    data: Path
    work: Path
    share: float

    def files(self, split: str) -> list[Path]:
        """Returns the pictures of a split, in an order that follows from what they hold."""
        found = sorted((self.data / split).glob("*/*"))
        return sorted(found, key=lambda file: hashlib.sha256(file.read_bytes()).digest())

    def parts(self) -> tuple[list[Path], list[Path]]:
        """Returns the pictures of the train split that the base is trained on, and those that come later."""
        found = self.files("train")
        cut = round(self.share * len(found))
        return found[:cut], found[cut:]

    def shifted(self, shift: str, name: str, files: Sequence[Path]) -> list[File]:
        """Returns pictures as they are after a shift; made once."""
        made = []
        for number, file in enumerate(files):
            path = self.work / shift / name / file.parent.name / f"{file.stem}.jpg"
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                with Image.open(file) as opened:
                    picture = opened.convert("RGB")
                picture.thumbnail((LARGEST_PX, LARGEST_PX))
                encoded = BytesIO()
                SHIFTS[shift](picture, number).save(encoded, "JPEG", quality=92)
                path.write_bytes(encoded.getvalue())
            made.append(File(path, path.name, (file.parent.name,), None))
        return made


def train(folder: Path, place: Place, spec: TrainSpec, base: bool) -> Path:
    """Runs the training program in a folder unless it was done; returns the bundle."""
    if not (folder / jobdir.RESULT).exists():
        task = TrainingTask(
            job=folder.name,
            attempt=1,
            model=BASE.model,
            dataset=str(place.work / "base.csv"),
            spec=spec,
            hub=False,
            base_version=BASE if base else None,
            cache=SharedCache(str(place.work / "cache"), 10**10),
        )
        folder.mkdir(parents=True, exist_ok=True)
        (folder / jobdir.TRAINING).write_text(document.dump(task))
        subprocess.run([sys.executable, "-m", "eyasd.training", str(folder)], check=True)
    return folder / jobdir.BUNDLE


def train_base(place: Place, options: argparse.Namespace) -> Path:
    """Trains the base, on three fifths of the train split."""
    place.work.mkdir(parents=True, exist_ok=True)
    with (place.work / "base.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label", "split"])
        splits = {"train": place.parts()[0]} | {split: place.files(split) for split in ("validation", "test")}
        rows.writerows([str(one), one.parent.name, split] for split, files in splits.items() for one in files)
    spec = TrainSpec(epochs=options.epochs, image_size_px=options.px)
    return train(place.work / "base", place, spec, base=False)


def captured(place: Place, shift: str, version: Version, options: argparse.Namespace, journal: Journal) -> list[File]:
    """Returns the pictures of the traffic that are captured: those of the smallest margin."""
    noted = place.work / shift / "margins.npy"
    traffic = place.shifted(shift, "traffic", place.parts()[1][: options.traffic])
    if not noted.exists():
        best = np.sort(ask([version], traffic, journal).probabilities[0], axis=1)
        np.save(noted, best[:, -1] - best[:, -2])
    return [traffic[row] for row in np.argsort(np.load(noted), kind="stable")[: options.captured]]


def retrain(place: Place, shift: str, weight: float, files: Sequence[File], bundle: Path, options: argparse.Namespace) -> Path:
    """Trains the base again, with the captured pictures."""
    folder = place.work / shift / f"weight-{weight:g}-epochs-{options.retrain_epochs or 'preset'}-{len(files)}"
    for name, source in ((jobdir.BASE, bundle),):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if not (folder / name).exists():
            (folder / name).symlink_to(source)
    begun = datetime(2026, 1, 1, tzinfo=UTC)
    kept = folder / jobdir.CAPTURED
    kept.mkdir(exist_ok=True)
    pictures = []
    for number, file in enumerate(files):
        content = file.path.read_bytes()
        name = hashlib.sha256(content).hexdigest()[:24]
        (kept / name).write_bytes(content)
        pictures.append(FrozenPicture(name, file.labels, begun + timedelta(minutes=20 * number)))
    frozen = FrozenList(BASE.model, tuple(sorted(pictures, key=lambda one: one.id)))
    (kept / jobdir.CAPTURED_LIST).write_bytes(frozen.to_bytes())
    spec = TrainSpec(epochs=options.retrain_epochs, add_captured=LABELLED, captured_weight=weight)
    return train(folder, place, spec, base=True)


def right(version: Version, files: Sequence[File], journal: Journal) -> NDArray[np.bool_]:
    """Returns bool [N], whether a version is right about each of the files."""
    said = ask([version], files, journal).probabilities[0].argmax(1)
    return np.array([(version.manifest.labels[label],) == file.labels for label, file in zip(said, files, strict=True)])


def told(name: str, pairs: Pairs) -> str:
    """Returns a row of the table."""
    count, (before, after), (low, high) = pairs.count, pairs.accuracies, pairs.interval
    spans = [
        f"{share:.4f} ({least:.3f} to {most:.3f})"
        for share in (before, after)
        for least, most in [wilson_interval(round(share * count), count)]
    ]
    return f"| {name} | {count} | {spans[0]} | {spans[1]} | {after - before:+.4f} ({low:+.3f} to {high:+.3f}) |"


def main() -> None:
    """Does what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--only", choices=["base", *SHIFTS])
    parser.add_argument("--px", type=int, default=128)
    parser.add_argument("--share", type=float, default=0.6, help="of the train split, for the base")
    parser.add_argument("--epochs", type=int, default=6, help="of the base")
    parser.add_argument("--retrain-epochs", type=int, help="of the retraining [the preset's]")
    parser.add_argument("--traffic", type=int, help="how many pictures come [the rest of the split]")
    parser.add_argument("--captured", type=int, default=250)
    parser.add_argument("--weight", type=float, action="append")
    options = parser.parse_args()
    print(machine.describe())
    place = Place(options.folder.resolve(), options.work.resolve(), options.share)
    bundle = train_base(place, options)
    if options.only == "base":
        return
    journal = Journal(place.work / jobdir.PROGRESS, FINE_TUNE_SHARES)
    journal.stage("evaluate")
    before = Version.opened("base", bundle)
    print("| pictures | number | base | retrained | difference |\n|---|---|---|---|---|")
    for shift in [options.only] if options.only else SHIFTS:
        files = captured(place, shift, before, options, journal)
        test = place.shifted(shift, "test", place.files("test"))
        at_first = right(before, test, journal)
        for weight in options.weight or [4.0]:
            made = retrain(place, shift, weight, files, bundle, options)
            after = Version.opened("retrained", made)
            gate = read_manifest((made / MANIFEST).read_bytes()).gate
            if gate is None:
                sys.exit(f"{made} has no verdict.")
            name = f"{shift}, weight {weight:g}"
            print(told(f"{name}: test split, shifted", Pairs.of(at_first, right(after, test, journal))))
            print(told(f"{name}: captured, held out", gate.captured.pairs))
            print(told(f"{name}: test split, as it is", gate.test.pairs))
            print(f"Gate {'passed' if gate.passed else 'not passed'}: {'; '.join(f.sentence for f in gate.findings)}.", flush=True)


if __name__ == "__main__":
    main()
