"""What calibration gains on pictures it was not fitted on: `python bench/calibration.py DATA_DIR/models/clothing/1 --data FOLDER`.

Asks model.onnx of each version for the test split of the dataset, and undoes its temperature: the probabilities without it are
those of the network as it was trained.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import machine
import numpy as np
from numpy.typing import NDArray

from eyasd.core.tasks import Sources
from eyasd.training.data.dataset import open_dataset
from eyasd.training.data.listing import TEST, Listing
from eyasd.training.data.targets import targets_of
from eyasd.training.journal import EVALUATION_SHARES, Journal
from eyasd.training.outcome.reliability import calibration_error
from eyasd.training.scoring.asking import Version, ask


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("versions", nargs="+", type=Path, help="folders of versions of one label a picture")
    parser.add_argument("--data", type=Path, required=True, help="a dataset with a test split")
    options = parser.parse_args()
    journal = Journal(Path(os.devnull), EVALUATION_SHARES)
    print(f"{machine.describe()}\n\n| version | temperature | pictures | error before | after | log loss before | after |")
    print("|---|---|---|---|---|---|---|")
    with machine.scratch() as folder:
        listing = open_dataset(str(options.data.resolve()), Path(folder), journal, Sources()).of_split(TEST)
        for place in options.versions:
            version = Version.opened(str(place), place)
            answered = ask([version], listing.files, journal)
            targets = targets_of(Listing(answered.files, (), ()), version.manifest.labels)
            temperature = version.manifest.calibration.temperature
            after = answered.probabilities[0].astype(np.float64)
            before = np.exp(temperature * np.log(np.maximum(after, 1e-30)))
            before /= before.sum(1, keepdims=True)
            errors = " | ".join(f"{error(p, targets):.3f}" for p in (before, after))
            losses = " | ".join(f"{-np.log(p[np.arange(len(p)), targets]).mean():.3f}" for p in (before, after))
            print(f"| {'/'.join(place.parts[-2:])} | {temperature:.2f} | {len(targets)} | {errors} | {losses} |")


def error(probabilities: NDArray[np.float64], targets: NDArray[np.int64]) -> float:
    return calibration_error(probabilities.max(1).astype(np.float32), probabilities.argmax(1) == targets)


if __name__ == "__main__":
    main()
