"""What a second process brings a training: `python bench/ranks.py`, on a machine with two cores that nobody else uses, 4 minutes.

The same training, of the handwritten digits of scikit-learn, three times one after the other: in one process on one core, in one
process on two, and in two processes of torchrun with a core each. What an epoch takes is the time from the first step to the end of
the last validation, over the number of epochs. All three should learn the same: the last columns are the figures of the validation
split after every epoch, and below the table is how far they are from those of one process on one core.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import machine
import torch
import train

from eyasd.core import document, jobdir
from eyasd.core.bundle import MANIFEST, read_manifest
from eyasd.core.evaluation import EpochMetrics
from eyasd.core.processors import cores
from eyasd.core.spec import TrainSpec
from eyasd.core.tasks import TrainingTask

TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=3, help="of each training (%(default)s)")
    parser.add_argument("--size", type=int, default=64, help="of the pictures, in pixels (%(default)s)")
    parser.add_argument("--rate", type=float, default=1e-4, help="of learning (%(default)s)")
    parser.add_argument("--backbone", default=train.BACKBONE, help="(%(default)s)")
    options = parser.parse_args()
    own = cores()[:2]
    if len(own) < 2:
        parser.error("This process may use one core only: two are wanted.")
    print(f"{machine.describe()}, torch {torch.__version__}, `python bench/ranks.py {' '.join(sys.argv[1:])}`\n", flush=True)
    print("| processes | threads of each | s an epoch | times as fast as one core | validation loss | accuracy |", flush=True)
    print("|---|---|---|---|---|---|", flush=True)
    ways: list[tuple[str, str, Sequence[int], Sequence[str]]] = [
        ("1", "1", own[:1], ()),
        ("1", "2", own, ()),
        ("2, of torchrun", "1", own, TORCHRUN),
    ]
    curves: list[Sequence[EpochMetrics]] = []
    first = 0.0
    with tempfile.TemporaryDirectory() as home:
        digits = train.write_digits(Path(home) / "digits")
        for number, (processes, threads, on, launcher) in enumerate(ways):
            folder = Path(home) / str(number)
            seconds, history = run(folder, digits, options, on, launcher)
            first = first or seconds
            curves.append(history)
            losses, accuracies = (" ".join(f"{value:.4f}" for value in values) for values in columns(history))
            print(f"| {processes} | {threads} | {seconds:.2f} | {first / seconds:.2f} | {losses} | {accuracies} |", flush=True)
    for (processes, threads, *_), history in list(zip(ways, curves, strict=True))[1:]:
        pairs = list(zip(curves[0], history, strict=True))
        loss = max(abs(other.loss - one.loss) / one.loss for one, other in pairs)
        learned = max(abs(other.train_loss - one.train_loss) / one.train_loss for one, other in pairs[1:])
        accuracy = max(abs(other.accuracy - one.accuracy) for one, other in pairs)
        print(
            f"\n{processes}, {threads} threads: validation loss within {loss:.1e}, training loss within {learned:.1e} of those of "
            f"one core, relative; accuracy within {accuracy:.1e}."
        )


def run(
    folder: Path, dataset: Path, options: argparse.Namespace, on: Sequence[int], launcher: Sequence[str]
) -> tuple[float, Sequence[EpochMetrics]]:
    """Trains on some cores; returns the seconds of an epoch, and the figures after each, those of the head alone first."""
    folder.mkdir()
    # Without chance: which units drop_path and dropout leave out depends on who draws. In steps so small that the last digits, in
    # which sums differ with their order, do not grow: at the recipe's own rate one thread and two are a tenth apart after an epoch.
    spec = TrainSpec(
        backbone=options.backbone,
        epochs=options.epochs,
        image_size_px=options.size,
        batch_size=32,
        learning_rate=options.rate,
        dropout=0.0,
        drop_path_rate=0.0,
    )
    task = TrainingTask(job="j", attempt=1, model="digits", dataset=str(dataset), spec=spec, hub=False)
    (folder / jobdir.TRAINING).write_text(document.dump(task))
    command = [sys.executable, *launcher, "-m", "eyasd.training", str(folder)]
    done = subprocess.run(command, preexec_fn=lambda: os.sched_setaffinity(0, on), capture_output=True, text=True, check=False)
    if done.returncode != jobdir.OK:
        told = folder / jobdir.ERROR
        sys.exit(told.read_text() if told.exists() else done.stderr)
    lines = [json.loads(line) for line in (folder / jobdir.PROGRESS).read_text().splitlines()]
    told = [(datetime.fromisoformat(line["time"]), line["progress"]["stage"]) for line in lines if line.get("progress")]
    begin = next(time for time, stage in told if stage == "fine-tune")
    end = next(time for time, stage in told if stage == "export")
    return (end - begin).total_seconds() / options.epochs, read_manifest((folder / jobdir.BUNDLE / MANIFEST).read_bytes()).history


def columns(history: Sequence[EpochMetrics]) -> tuple[list[float], list[float]]:
    return [epoch.loss for epoch in history], [epoch.accuracy for epoch in history]


if __name__ == "__main__":
    main()
