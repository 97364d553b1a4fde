"""The rules of the race, the same for every contestant: what it is given, when its time is up, what it hands in.

Every contestant is a program of its own environment, `python with_NAME.py FOLDER BUDGET SEED OUT WEIGHTS`: it trains on
FOLDER/train and FOLDER/validation with the ImageNet weights of WEIGHTS, and once its network is ready it predicts FOLDER/test,
for which it has all the time in the world. The clock starts with the process, as a user feels it: imports count, and reading
the pictures counts. Needs the standard library alone, so that it runs in each environment.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

BACKBONE = "tf_efficientnet_lite0"
SIZE_PX = 224  # the size that its weights know


class Clock:
    """The wall-clock time of a contestant, from the start of its process."""

    def __init__(self, budget: float) -> None:
        """Finds out when the process began.

        Args:
            budget: seconds from then on.
        """
        # The 22nd field of the kernel's record, counted behind the name; it survives a restart by exec.
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        self._start = ticks / os.sysconf("SC_CLK_TCK")
        self._budget = budget

    def seconds(self) -> float:
        """Returns the time that has been taken, in seconds."""
        return time.clock_gettime(time.CLOCK_BOOTTIME) - self._start

    def left(self) -> float:
        """Returns the seconds until the budget is used up."""
        return self._budget - self.seconds()

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Stops the clock meanwhile: what a user knows from an earlier run, such as the time of an epoch, is found out for free."""
        before = self.seconds()
        yield
        self._start += self.seconds() - before


@dataclass(frozen=True)
class Task:
    """What a contestant is given.

    Attributes:
        folder: train/, validation/ and test/, a folder a label in each.
        seed: of every random choice.
        weights: of BACKBONE in timm's names, pytorch_model.bin with a config.json beside it.
        flip: whether a mirrored picture still shows its label.
        channels_last: whether to keep the channels last in memory, as Eyas does.
        out: where the answers go.
    """

    folder: Path
    clock: Clock
    seed: int
    weights: Path
    flip: bool
    channels_last: bool
    out: Path

    def files(self, split: str) -> list[Path]:
        """Returns the pictures of a split, in order."""
        return sorted(path for path in (self.folder / split).glob("*/*") if not path.name.startswith("."))

    def hand_in(
        self, seconds: float, labels: Sequence[str], probabilities: Sequence[Sequence[float]], note: str, packages: Sequence[str]
    ) -> None:
        """Writes the answers.

        Args:
            seconds: on the clock, when the network was ready.
            labels: in order of class index.
            probabilities: a row for each file of the test split.
            note: what was done in the time.
            packages: those that decide the result, for their versions.
        """
        answers = {
            "seconds": seconds,
            "labels": [*labels],
            "truth": [file.parent.name for file in self.files("test")],
            "probabilities": probabilities,
            "note": note,
            "versions": {package: version(package) for package in packages},
        }
        self.out.write_text(json.dumps(answers))


def task(doc: str) -> Task:
    """Returns what the command line says; `doc` explains the contestant."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("budget", type=float, help="seconds")
    parser.add_argument("seed", type=int)
    parser.add_argument("out", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--no-flip", action="store_true", help="a mirrored picture has another label, or none")
    parser.add_argument("--channels-last", action="store_true", help="keep the channels last in memory")
    given = parser.parse_args()
    return Task(given.folder, Clock(given.budget), given.seed, given.weights, not given.no_flip, given.channels_last, given.out)
